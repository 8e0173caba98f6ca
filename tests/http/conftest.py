"""Fixtures of the tests of the HTTP layer."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def leaves_nothing_open(nothing_left_open: None) -> None:
    """Fail each test of this folder that leaves something open."""
