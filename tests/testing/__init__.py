"""Tests of aiowery.testing."""
