"""Tables for people, aligned on a terminal and in whole lines elsewhere; JSON lines for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 200
_LEFT_OUT: Final = frozenset({"raw"})


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print rows under the names of their columns; texts are shown as they are, without markup."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold", header_style="dim")
    table.title = None if title is None else Text(title)
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=not place, style="cyan" if not place else None)
    for row in rows:
        table.add_row(*map(Text, row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE).print(table)


def print_json(values: Iterable[Any], **more: Any) -> None:
    """Print values of attrs classes, a JSON object a line; `more` stands where a value does not say so itself."""
    for value in values:
        facts = attrs.asdict(value, filter=lambda field, _: field.name not in _LEFT_OUT)
        print(json.dumps({**more, **facts}, ensure_ascii=False))
