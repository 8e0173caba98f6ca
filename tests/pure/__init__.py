"""Tests of values and functions that do no I/O."""
