"""Untrusted texts, made safe to print on a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import attrs

from aiowery.cli.output.tables import print_table

# Control and direction characters, which a terminal interprets. JSON escapes those below U+0020 by itself.
_UNSAFE: Final = r"\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSAFE}]")
_UNSAFE_IN_JSON: Final = re.compile(rf"[{_UNSAFE}]")
_MAX_LENGTH: Final = 50


def print_columns(columns: Mapping[str, Sequence[str]], *, title: str | None = None) -> None:
    """Print a table without its empty columns."""
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    print_plain_table(tuple(filled), list(zip(*filled.values(), strict=True)), title=title)


def print_plain_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table with untrusted cells."""
    print_table(tuple(map(cell, columns)), (tuple(map(cell, row)) for row in rows), title=title)


def print_json(values: Iterable[Any]) -> None:
    """Print attrs values as JSON, one object per line, without what the provider sent besides."""
    for value in values:
        print(as_json(attrs.asdict(value, filter=lambda field, _: field.name != "raw")))


def cell(text: str) -> str:
    """Return a text as one line without control characters."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return a text without control characters other than newlines."""
    return _UNSAFE_IN_TEXT.sub("\ufffd", "\n".join(text.splitlines()) if "\r" in text else text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return complete JSON, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
