"""Prompt files: text in, numbered items out. No I/O but in `read_text`.

.txt is a prompt a line, .csv and .tsv have a heading that names `prompt` or `type`, .jsonl is a request object a line,
of any type. Local files are named relative to the current directory. What is wrong with one line is an item with a
fault; what is wrong with the whole file is a ConfigurationError.
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
from aiowery.cli.input.requests import column_name, from_cells, from_object
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
"""A line's number, and what stands there or what is wrong with it."""


@attrs.frozen(kw_only=True)
class InputItem:
    """One entry of the input: its place (from 1), its line, and its request, or else the fault that forbids one."""

    index: int
    line: int
    request: Request[Any] | None = None
    notes: Mapping[str, str] = attrs.field(factory=dict)
    fault: str | None = None


def read_text(source: str) -> tuple[str, Form]:
    """Read a file (or standard input, for `-`) to its end; raises ConfigurationError for what cannot be read."""
    if source == STDIN:
        text = decode(sys.stdin.buffer.read(), "standard input")
        return text, "jsonl" if text.lstrip().startswith("{") else "txt"
    path = Path(source)
    form = _FORMS.get(path.suffix.lower())
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise ConfigurationError(f"cannot read {source}: {fault.strerror or fault}") from fault
    if form is None:
        raise ConfigurationError(f"{source}: unknown kind of file; the name must end in one of {', '.join(_FORMS)}")
    return decode(content, source), form


def parse(text: str, form: Form, defaults: Mapping[str, Any]) -> Iterator[InputItem]:
    """Yield an item for each entry, in order; raises ConfigurationError before the first for a wrong heading."""
    rows = _ROWS[form](text)
    build = _from_table if form in {"csv", "tsv"} else _from_object
    for index, (line, row) in enumerate(rows, 1):
        try:
            request, notes = _refuse(row) if isinstance(row, str) else build(row, defaults)
        except ConfigurationError as fault:
            yield InputItem(index=index, line=line, fault=str(fault))
        else:
            yield InputItem(index=index, line=line, request=request, notes=notes)


def decode(content: bytes, name: str) -> str:
    """Return the text that these bytes are, with line ends as they are here; raises ConfigurationError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise ConfigurationError(f"{name} is not UTF-8 (line {line}); save it as UTF-8") from fault
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refuse(fault: str) -> NoReturn:
    raise ConfigurationError(fault)


def _from_object(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
    return from_object(row, defaults), {}


def _from_table(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> tuple[Request[Any], dict[str, str]]:
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
    """Return the object that a text holds, or what is wrong with it."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
        # A lone half of a surrogate pair is valid JSON and can be neither sent nor saved.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return "holds a character that is no character (a lone surrogate)"
    except RecursionError:
        return "is nested too deeply"
    except json.JSONDecodeError as fault:
        line = f"line {fault.lineno}, " if fault.lineno > 1 else ""
        return f"is not JSON ({fault.msg} at {line}column {fault.colno})"
    except ValueError as fault:
        return f"is not JSON ({fault})"
    return value if isinstance(value, dict) else f"is not a JSON object: {line.strip()[:_EXCERPT]}"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _csv_rows(text: str) -> Iterator[Row]:
    first = text.lstrip("\n").partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    return _table_rows(_csv_cells(text, delimiter))


def _tsv_rows(text: str) -> Iterator[Row]:
    lines = enumerate(text.split("\n"), 1)
    return _table_rows((number, [_unquoted(cell) for cell in line.split("\t")]) for number, line in lines)


def _csv_cells(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the number of its first line: a quoted cell may hold line breaks."""
    # One limit for the whole process: it may rise, for other readers count on what they have.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def _unquoted(cell: str) -> str:
    """Take off the quotes that a spreadsheet puts around a cell; quotes of the prompt's own stay."""
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
            "no column is named prompt (or type); the first line must name the columns, and it says:"
            f" {', '.join(heading)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"the first line names the column {twice[0]} twice")


def _row(heading: list[str], cells: list[str]) -> Mapping[str, str] | str:
    """Return the row's cells by their headings; cells without a heading must be empty."""
    if any(cell.strip() for cell in cells[len(heading) :]):
        return f"has {len(cells)} cells for {len(heading)} columns; put quotes around a text that holds the separator"
    return {column: cell for column, cell in zip(heading, cells, strict=False) if column.strip()}


_ROWS: Final = {"txt": _txt_rows, "csv": _csv_rows, "tsv": _tsv_rows, "jsonl": _jsonl_rows}
