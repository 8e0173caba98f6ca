"""Tests of the lowest room: snapshots, background tasks, file locks."""
