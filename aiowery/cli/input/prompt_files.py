"""Prompt files: text in, numbered items out. Only `read_text` does I/O.

A .txt file holds one prompt per line. A .csv or .tsv file has a heading that names `prompt` or `type`. A .jsonl file
holds one request object of any type per line. Local files are relative to the current directory. A wrong line becomes
an item with a fault. A wrong file raises ConfigurationError.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import attrs

from aiowery import Request
from aiowery.cli.input.requests import RequestDefaults, column_name, from_cells, from_object
from aiowery.errors import ConfigurationError

Form = Literal["txt", "csv", "tsv", "jsonl"]

STDIN: Final = "-"
_FORMS: Final[Mapping[str, Form]] = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_EXCERPT: Final = 200

Row = tuple[int, Mapping[str, Any] | str]
"""A line number, with the values of the line or its fault."""


@attrs.frozen(kw_only=True)
class InputItem:
    """An entry of the input: its index (from 1), its line number, and its request or its fault.

    `other_columns` holds the cells of a table row in columns that name no field of the request.
    """

    index: int
    line: int
    request: Request[Any] | None = None
    other_columns: Mapping[str, str] = attrs.field(factory=dict)
    fault: str | None = None


def read_text(source: str) -> tuple[str, Form]:
    """Return the text and format of a file, or of standard input for `-`. Raises ConfigurationError."""
    if source == STDIN:
        text = decode(sys.stdin.buffer.read(), "standard input")
        return text, "jsonl" if text.lstrip().startswith("{") else "txt"
    path = Path(source)
    form = _FORMS.get(path.suffix.lower())
    try:
        content = path.read_bytes()
    except OSError as fault:
        reason = fault.strerror or fault
        raise ConfigurationError(
            f"cannot read {source}: {reason}; nothing was sent: name a prompt file that can be read"
        ) from fault
    if form is None:
        raise ConfigurationError(
            f"{source} is of an unknown kind; nothing was sent: the name must end in one of {', '.join(_FORMS)}"
        )
    return decode(content, source), form


def parse(text: str, form: Form, defaults: RequestDefaults) -> Iterator[InputItem]:
    """Yield an item for each entry, in order. Raises ConfigurationError for a wrong heading, before the first."""
    rows = _ROWS[form](text)
    build = _from_table if form in {"csv", "tsv"} else _from_object
    for index, (line, row) in enumerate(rows, 1):
        try:
            request, other_columns = _refuse(row) if isinstance(row, str) else build(row, defaults)
        except ConfigurationError as fault:
            yield InputItem(index=index, line=line, fault=str(fault))
        else:
            yield InputItem(index=index, line=line, request=request, other_columns=other_columns)


def decode(content: bytes, name: str) -> str:
    """Return the UTF-8 text of these bytes, with newlines normalized. Raises ConfigurationError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise ConfigurationError(f"{name} is not UTF-8 (line {line}); nothing was sent: save it as UTF-8") from fault
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refuse(fault: str) -> NoReturn:
    raise ConfigurationError(fault)


def _from_object(row: Mapping[str, Any], defaults: RequestDefaults) -> tuple[Request[Any], dict[str, str]]:
    return from_object(row, defaults), {}


def _from_table(row: Mapping[str, Any], defaults: RequestDefaults) -> tuple[Request[Any], dict[str, str]]:
    return from_cells(row, defaults)


def _txt_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _jsonl_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, json_object(line)


def json_object(line: str) -> Mapping[str, Any] | str:
    """Return the JSON object in a text, or its fault."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
        # A lone surrogate is valid JSON, but it can be neither sent nor saved.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "holds an invalid character (a lone surrogate)"
    except RecursionError:
        return "is nested too deeply"
    except json.JSONDecodeError as fault:
        line = f"line {fault.lineno}, " if fault.lineno > 1 else ""
        return f"is not JSON ({fault.msg} at {line}column {fault.colno})"
    except ValueError as fault:
        return f"is not JSON ({fault})"
    return value if isinstance(value, dict) else f"is not a JSON object: {line.strip()[:_EXCERPT]}"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _csv_rows(text: str) -> Iterator[Row]:
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    return _table_rows(_csv_cells(text, delimiter))


def _tsv_rows(text: str) -> Iterator[Row]:
    lines = enumerate(text.split("\n"), 1)
    return _table_rows((number, [_unquoted(cell) for cell in line.split("\t")]) for number, line in lines)


def _csv_cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its first line: a quoted cell may hold line breaks."""
    # The limit is global. It is never lowered, because other code in the process may rely on it.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def _unquoted(cell: str) -> str:
    """Remove the quotes that a spreadsheet puts around a cell, and keep the quotes of the prompt."""
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _table_rows(rows: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    filled = ((line, cells) for line, cells in rows if any(cell.strip() for cell in cells))
    _, heading = next(filled, (0, []))
    if heading:
        _check_heading(heading)
    return ((line, _row(heading, cells)) for line, cells in filled)


def _check_heading(heading: list[str]) -> None:
    names = [column_name(column) for column in heading if column.strip()]
    if "prompt" not in names and "type" not in names:
        raise ConfigurationError(
            f"no column is named prompt (or type); the first line must name the columns, got: {', '.join(heading)}"
        )
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ConfigurationError(f"the first line names the column {duplicates[0]} twice; rename one of the two")


def _row(heading: list[str], cells: list[str]) -> Mapping[str, str] | str:
    """Return the row's cells by heading, or its fault. Cells without a heading must be empty."""
    if any(cell.strip() for cell in cells[len(heading) :]):
        return f"has {len(cells)} cells for {len(heading)} columns; put quotes around a text that holds the separator"
    return {column: cell for column, cell in zip(heading, cells, strict=False) if column.strip()}


_ROWS: Final = {"txt": _txt_rows, "csv": _csv_rows, "tsv": _tsv_rows, "jsonl": _jsonl_rows}
