"""Tables, aligned on a terminal and in whole lines elsewhere.

On a terminal that is too narrow for its columns, a table becomes a list: each row is a heading with lines below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap
from typing import Any, Final

import attrs
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from aiowery.cli.output.plain_text import cell
from aiowery.cli.terminal import NARROW, output_width, print_prose, print_rendered, print_text

_GAP: Final = 3


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows below their column names. Markup in texts is not interpreted."""
    columns = tuple(map(cell, columns))
    cells = [tuple(map(cell, row)) for row in rows]
    width = output_width()
    if width < NARROW and _natural_width(columns, cells) > width:
        _print_list(columns, cells, title)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold", header_style="dim")
    table.title = None if title is None else Text(cell(title))
    for position, column in enumerate(columns):
        table.add_column(Text(column), overflow="fold", no_wrap=not position, style="cyan" if not position else None)
    for row in cells:
        table.add_row(*map(Text, row))
    print_rendered(table)


def print_columns(columns: Mapping[str, Sequence[str]], *, title: str | None = None) -> None:
    """Print a table without its empty columns."""
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    print_table(tuple(filled), list(zip(*filled.values(), strict=True)), title=title)


def object_of(value: Any) -> dict[str, Any]:
    """Return an attrs value as a JSON object, without what the provider sent besides."""
    return attrs.asdict(value, filter=lambda field, _: field.name != "raw")


def _natural_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how many characters the table needs for rows of one line each."""
    widths = [max(map(cell_len, texts)) for texts in zip(columns, *rows, strict=True)]
    return sum(widths) + _GAP * len(widths)


def _print_list(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None) -> None:
    """Print each row as a heading, its first cell, with a line for each other cell that is filled."""
    if title is not None:
        print_text(cell(title), "")
    for heading, *rest in rows:
        filled = [(name, text) for name, text in zip(columns[1:], rest, strict=True) if text]
        print_prose(f"{columns[0]} {heading}", *starmap("  {}: {}".format, filled))
