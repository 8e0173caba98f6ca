"""Tests of the journal: records, budgets and prices."""
