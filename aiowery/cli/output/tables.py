"""Tables, aligned on a terminal and in whole lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 200


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows below their column names. Markup in texts is not interpreted."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold", header_style="dim")
    table.title = None if title is None else Text(title)
    for position, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=not position, style="cyan" if not position else None)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE).print(table)
