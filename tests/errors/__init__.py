"""Tests of the exception tree."""
