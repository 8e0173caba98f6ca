"""Rows of CSV and TSV files. A quoted cell may hold separators, line breaks and doubled quotes.

A quote in a wrong place raises ConfigurationError: after it, a reader can only guess where rows begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aiowery.errors import ConfigurationError

_CHOICE: Final = "sep="
_SEPARATORS: Final = ",;\t"
_QUOTE: Final = '"'
_REMEDY: Final = "put quotes around the whole cell, and write each quote inside it twice"

Row = tuple[int, list[str]]
"""The number of a row's first line, and its cells."""


def read_table(text: str, separator: str, is_heading: Callable[[list[str]], bool]) -> Iterator[Row]:
    """Yield the rows that are not blank, the heading first.

    The separator is that of a first line such as `sep=;`, or the one that makes the first row a heading with most
    columns, or else this one. Raises ConfigurationError.
    """
    line, _, rest = text.partition("\n")
    chosen = chosen_separator(line)
    if chosen is not None:
        # The line stays as a blank one, so that the lines after it keep their numbers.
        return _filled(_rows(f"\n{rest}", chosen))
    return _filled(_rows(text, _separator_of(text, separator, is_heading)))


def chosen_separator(line: str) -> str | None:
    """Return the separator that a line such as `sep=;` chooses, None for any other line."""
    words = line.strip(" ").strip(_QUOTE)
    is_choice = len(words) == len(_CHOICE) + 1 and words.lower().startswith(_CHOICE)
    return words[-1] if is_choice else None


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line. Raises ConfigurationError."""
    return next(_rows(line, separator), (1, []))[1]


def _separator_of(text: str, default: str, is_heading: Callable[[list[str]], bool]) -> str:
    found, most = default, 0
    for separator in (default, *_SEPARATORS):
        cells = _heading(text, separator)
        if is_heading(cells) and len(cells) > most:
            found, most = separator, len(cells)
    return found


def _heading(text: str, separator: str) -> list[str]:
    """Return the cells of the first row, none if it is no row with this separator."""
    try:
        return next(_filled(_rows(text, separator)), (0, []))[1]
    except ConfigurationError:
        return []


def _filled(rows: Iterable[Row]) -> Iterator[Row]:
    return ((line, cells) for line, cells in rows if any(cell.strip() for cell in cells))


def _rows(text: str, separator: str) -> Iterator[Row]:
    at, line, line_end = 0, 1, -1
    while at < len(text):
        first, cells, ended = line, [], False
        while not ended:
            if at > line_end:
                line_end = _find(text, "\n", at, len(text))
            opening = _opening_quote(text, at)
            if opening is None:
                end = _find(text, separator, at, line_end)
                cells.append(text[at:end])
            else:
                closing = _closing_quote(text, opening, line)
                cells.append(text[opening + 1 : closing].replace(_QUOTE * 2, _QUOTE))
                line += text.count("\n", opening, closing)
                end = _end_of_quoted(text, closing, separator, line)
            at = end + 1
            ended = text[end : end + 1] != separator
        yield first, cells
        line += 1


def _find(text: str, part: str, start: int, end: int) -> int:
    """Return where a part begins between two positions, the second one if it is not there."""
    found = text.find(part, start, end)
    return end if found < 0 else found


def _after_spaces(text: str, at: int) -> int:
    while text[at : at + 1] == " ":
        at += 1
    return at


def _opening_quote(text: str, at: int) -> int | None:
    """Return the position of the quote that opens a cell, perhaps after spaces, None if there is none."""
    start = _after_spaces(text, at)
    return start if text[start : start + 1] == _QUOTE else None


def _closing_quote(text: str, opening: int, line: int) -> int:
    """Return the position of the quote that closes a cell. Raises ConfigurationError if there is none."""
    at = opening + 1
    while True:
        found = text.find(_QUOTE, at)
        if found < 0:
            raise ConfigurationError(f"line {line}: a quote opens a cell and is never closed; close it, or {_REMEDY}")
        if text[found + 1 : found + 2] != _QUOTE:
            return found
        at = found + 2


def _end_of_quoted(text: str, closing: int, separator: str, line: int) -> int:
    """Return where a quoted cell ends, after spaces. Raises ConfigurationError for text there."""
    end = _after_spaces(text, closing + 1)
    if text[end : end + 1] not in {"", "\n", separator}:
        raise ConfigurationError(f"line {line}: text follows the quote that closes a cell; {_REMEDY}")
    return end
