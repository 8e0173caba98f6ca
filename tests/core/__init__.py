"""Tests of values, policies and contracts, which do no I/O."""
