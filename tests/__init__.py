"""Tests of aiowery."""
