"""Tests of an open client."""
