"""Prompt files: text in, numbered items out. Only `read_text` and `read_input` do I/O.

A .txt file holds one prompt per line. A .csv or .tsv file has a heading that names `prompt` or `type`. A .jsonl file
holds one request object of any type per line, a .json file an array of them. Local files are relative to the current
directory. A wrong line becomes an item with a fault. A wrong file raises ConfigurationError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import attrs

from aiowery import Request
from aiowery._base.text import bounded
from aiowery.cli.input.json_rows import array_rows, line_rows
from aiowery.cli.input.requests import RequestDefaults, column_name, near_fields, read_cells, read_object
from aiowery.cli.input.table_rows import cells_of, chosen_separator, read_table
from aiowery.cli.input.user_terms import in_user_terms
from aiowery.cli.providers import request_types
from aiowery.cli.terminal import read_bytes
from aiowery.errors import ConfigurationError

Form = Literal["txt", "csv", "tsv", "jsonl", "json"]

STDIN: Final = "-"
_INPUT_NAME: Final = "standard input"
_FORMS: Final[Mapping[str, Form]] = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
_SEPARATORS: Final[Mapping[str, str]] = {"csv": ",", "tsv": "\t"}
_PROMPT: Final = "prompt"
_MAX_HEADING: Final = 300
_BOM: Final = "\ufeff"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[int, Mapping[str, Any] | str]
"""A line number, with the values of the line or its fault."""


@attrs.frozen(kw_only=True)
class InputItem:
    """An entry of the input: its index (from 1), its line number, and its request or its fault.

    `other_columns` holds the values that belong to no field of the request: they are notes, and are not sent.
    """

    index: int
    line: int
    request: Request[Any] | None = None
    other_columns: Mapping[str, Any] = attrs.field(factory=dict)
    fault: str | None = None


def read_text(source: str, form: Form | None = None) -> tuple[str, Form]:
    """Return the text and format of a file, or of standard input for `-`; `form` is that which the user has named.

    Raises ConfigurationError.
    """
    if source == STDIN:
        text = read_input()
        return text, form or _form_of_input(text)
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as fault:
        reason = fault.strerror or fault
        raise ConfigurationError(
            f"cannot read {source}: {reason}; nothing was sent: name a prompt file that can be read"
        ) from fault
    by_name = _FORMS.get(path.suffix.lower())
    if form is None and by_name is None:
        raise ConfigurationError(
            f"{source} is of an unknown kind; nothing was sent: the name must end in one of {', '.join(_FORMS)}, or"
            " --format must name its format"
        )
    text = decode(content, source)
    if form is None and by_name == "txt":
        _refuse_other_form(text, source)
    return text, form or by_name or "txt"


def read_input() -> str:
    """Return the text of standard input. Raises ConfigurationError."""
    try:
        content = read_bytes()
    except OSError as fault:
        raise ConfigurationError(
            f"cannot read {_INPUT_NAME}: {fault.strerror or fault}; nothing was sent: name a file, or pipe a text into"
            " the command"
        ) from fault
    return decode(content, _INPUT_NAME)


def parse(text: str, form: Form, defaults: RequestDefaults) -> Iterator[InputItem]:
    """Yield an item for each entry, in order.

    Raises ConfigurationError, before the first, for a wrong heading or for text whose rows cannot be told apart.
    """
    build = read_cells if form in _SEPARATORS else read_object
    for index, (line, row) in enumerate(list(_rows_of(text, form)), 1):
        try:
            request, other_columns = _refuse(row) if isinstance(row, str) else build(row, defaults)
        except ConfigurationError as fault:
            yield InputItem(index=index, line=line, fault=in_user_terms(str(fault)))
        else:
            yield InputItem(index=index, line=line, request=request, other_columns=other_columns)


def decode(content: bytes, name: str) -> str:
    """Return the UTF-8 text of these bytes, with newlines normalized. Raises ConfigurationError."""
    if content.startswith(_UTF_16):
        raise ConfigurationError(f"{name} is UTF-16; nothing was sent: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise ConfigurationError(f"{name} is not UTF-8 (line {line}); nothing was sent: save it as UTF-8") from fault
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace(_BOM, "")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigurationError(
            f"{name} holds NUL characters (line {line}), as UTF-16 does; nothing was sent: save it as UTF-8"
        )
    return text


def _form_of_input(text: str) -> Form:
    if text.lstrip().startswith("["):
        return "json"
    if text.lstrip().startswith("{"):
        return "jsonl"
    return "csv" if _begins_as_table(text) else "txt"


def _refuse_other_form(text: str, source: str) -> None:
    """Raise ConfigurationError for a text file that holds a table or JSON: its lines are no prompts."""
    forms = {
        "a JSON array: json": _begins_as_json(text, "[", '"{]'),
        "a JSON object: jsonl": _begins_as_json(text, "{", '"}'),
        "a table: csv": _begins_as_table(text),
    }
    found = next((name for name, is_found in forms.items() if is_found), None)
    if found is not None:
        what, _, form = found.partition(": ")
        raise ConfigurationError(
            f"{source} begins like {what}; nothing was sent: read it with --format {form}, or send each line as a"
            " prompt with --format txt"
        )


def _begins_as_json(text: str, bracket: str, following: str) -> bool:
    """Return True if the text begins with a bracket alone in its line, or with the bracket and what may follow it."""
    first, rest = text.lstrip()[:1], text.lstrip()[1:]
    is_alone = not rest.partition("\n")[0].strip()
    return first == bracket and (is_alone or rest.lstrip()[0] in following)


def _begins_as_table(text: str) -> bool:
    """Return True if the first line is the heading of a table: it names `prompt` or `type`, or nearly fields only."""
    line = text.lstrip("\n").partition("\n")[0]
    if chosen_separator(line) is not None:
        return True
    return any(map(_is_any_heading, _readings_of(line)))


def _readings_of(line: str) -> Iterator[list[str]]:
    """Yield the cells of a line for each separator; quotes in a wrong place mean that it is no row."""
    for separator in ",;\t":
        try:
            yield cells_of(line, separator)
        except ConfigurationError:
            continue


def _is_any_heading(cells: list[str]) -> bool:
    """Return True for a heading, also for one with mistyped names: a heading that passes as prompts is paid for."""
    if _is_heading(cells):
        return True
    if len(cells) == 1:
        return cells[0].isalpha() and _PROMPT in _fields_near(cells[0])
    return bool(cells) and all(map(_fields_near, cells))


def _fields_near(name: str) -> set[str]:
    """Return the fields of all request types that a name is nearly the name of."""
    return {field for cls in request_types().requests.values() for field in near_fields(cls, name)}


def _is_heading(cells: list[str]) -> bool:
    return not {_PROMPT, "type"}.isdisjoint(map(column_name, cells))


def _refuse(fault: str) -> NoReturn:
    raise ConfigurationError(fault)


def _rows_of(text: str, form: Form) -> Iterator[Row]:
    match form:
        case "txt":
            return _txt_rows(text)
        case "jsonl":
            return line_rows(text)
        case "json":
            return array_rows(text)
    return _table_rows(text, _SEPARATORS[form])


def _txt_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, {_PROMPT: line.strip()}


def _table_rows(text: str, separator: str) -> Iterator[Row]:
    rows = read_table(text, separator, _is_heading)
    _, heading = next(rows, (0, []))
    if heading:
        _check_heading(heading)
    return ((line, _row(heading, cells)) for line, cells in rows)


def _check_heading(heading: list[str]) -> None:
    if not _is_heading(heading):
        raise ConfigurationError(
            "no column is named prompt (or type); the first line must name the columns, got:"
            f" {bounded(', '.join(heading), _MAX_HEADING)}; correct it, or send each line as a prompt with --format txt"
        )
    counts = Counter(column_name(column) for column in heading if column.strip())
    duplicates = sorted(name for name, count in counts.items() if count > 1)
    if duplicates:
        raise ConfigurationError(f"the first line names the column {duplicates[0]} twice; rename one of the two")


def _row(heading: list[str], cells: list[str]) -> Mapping[str, str] | str:
    """Return the row's cells by heading, or its fault. Cells without a heading must be empty."""
    if any(cell.strip() for cell in cells[len(heading) :]):
        return f"has {len(cells)} cells for {len(heading)} columns; put quotes around a text that holds the separator"
    return {column: cell for column, cell in zip(heading, cells, strict=False) if column.strip() and cell.strip()}
