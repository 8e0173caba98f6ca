"""Texts for cells and lines: one line each, short, with times and numbers for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from aiowery.cli.terminal import printable

_MAX_LENGTH: Final = 50


def cell(text: str) -> str:
    """Return a text as one line without control characters."""
    return printable(" ".join(text.split()))


def short(text: str) -> str:
    """Return the start of a text as one line."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _MAX_LENGTH else one_line[: _MAX_LENGTH - 3] + "..."


def number(value: float | None) -> str:
    """Return a number as text, empty for None."""
    return "" if value is None else f"{value:.12g}"


def utc(at: float | None) -> str:
    """Return a time in UTC, empty for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def local(at: float | None) -> str:
    """Return a time in the local time zone, empty for None."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
