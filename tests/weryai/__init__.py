"""Tests of the provider WeryAI."""
