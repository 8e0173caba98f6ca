"""Tests of jobs from their acceptance to their end."""
