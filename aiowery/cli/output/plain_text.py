"""Texts from anywhere, so that a terminal only shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiowery.cli.output.tables import print_table

# What a terminal obeys or turns around instead of showing it; JSON writes those below the blank by itself.
_ODD: Final = r"\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_ODD_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_ODD}]")
_ODD_IN_JSON: Final = re.compile(rf"[{_ODD}]")
_MOST: Final = 50


def print_columns(columns: Mapping[str, Sequence[str]]) -> None:
    """Print a table; a column that says nothing of anything is left out."""
    told = {name: cells for name, cells in columns.items() if any(cells)}
    print_plain_table(tuple(told), list(zip(*told.values(), strict=True)))


def print_plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose cells come from anywhere."""
    print_table(columns, (tuple(map(cell, row)) for row in rows))


def cell(text: str) -> str:
    """Return a text as one line that a terminal only shows."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return a text without what a terminal obeys; its lines stay."""
    return _ODD_IN_TEXT.sub("\ufffd", "\n".join(text.splitlines()) if "\r" in text else text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return JSON that is as harmless on a terminal as it is whole."""
    told = json.dumps(value, ensure_ascii=False, indent=indent)
    return _ODD_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", told)


def short(text: str) -> str:
    """Return the beginning of a text, as one line."""
    words = " ".join(text.split())
    return words if len(words) <= _MOST else words[: _MOST - 3] + "..."


def number(value: float | None) -> str:
    """Return a number as people write it, nothing for None."""
    return "" if value is None else f"{value:.12g}"


def utc(at: float | None) -> str:
    """Return a moment in UTC, nothing for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def local(at: float | None) -> str:
    """Return a moment by the clock here, nothing for None."""
    return "" if at is None else f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
