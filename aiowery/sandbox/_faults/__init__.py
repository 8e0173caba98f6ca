"""Faults that a test can inject, and when they apply."""
