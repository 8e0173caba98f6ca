"""Tests of the ground floor: snapshots, tasks in the background, file locks."""
