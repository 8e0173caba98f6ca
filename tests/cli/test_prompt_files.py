"""Prompt files: the items in them, and the faults of wrong lines and files."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.input.prompt_files import Form, InputItem, parse, read_text
from aiowery.cli.input.requests import from_object, with_options
from aiowery.cli.providers import request_types
from aiowery.errors import ConfigurationError
from aiowery.weryai import TextToImage, to_dict

_PROMPTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=40)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _PROMPTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PROMPTS, inner, max_size=3),
    max_leaves=6,
)
_REQUESTS = st.builds(
    TextToImage,
    prompt=_PROMPTS,
    model=_PROMPTS,
    aspect_ratio=_PROMPTS,
    negative_prompt=st.none() | _PROMPTS,
    image_number=st.none() | st.integers(1, 9),
    use_web_search=st.none() | st.booleans(),
    extra=st.dictionaries(_PROMPTS.map("x_{}".format), _JSON, max_size=3),
)


def _prompts(items: list[InputItem]) -> list[str | None]:
    return [getattr(item.request, "prompt", None) for item in items]


def _items(text: str, form: Form, **defaults: object) -> list[InputItem]:
    return list(parse(text, form, with_options(request_types(), "text-to-image", defaults)))


@given(st.lists(_PROMPTS))
def test_parse_txt_with_blank_lines_yields_one_prompt_per_line(prompts: list[str]) -> None:
    """Each line of a text file that is not blank becomes a prompt with its own line number."""
    items = _items("\n\n".join(prompts), "txt")
    assert _prompts(items) == prompts
    assert [item.line for item in items] == [1 + 2 * position for position in range(len(prompts))]
    assert [item.index for item in items] == [position + 1 for position in range(len(prompts))]


@given(st.lists(st.tuples(_PROMPTS, _PROMPTS)))
def test_parse_csv_with_separators_and_quotes_reads_them_unchanged(rows: list[tuple[str, str]]) -> None:
    """Prompts with separators and quotes are read unchanged, and columns that name no field are kept."""
    file = io.StringIO()
    csv.writer(file).writerows([("Mood", "PROMPT"), *((mood, prompt) for prompt, mood in rows)])
    items = _items(file.getvalue().replace("\r\n", "\n"), "csv")
    assert _prompts(items) == [prompt for prompt, _ in rows]
    assert [item.other_columns for item in items] == [{"Mood": mood} for _, mood in rows]


@given(_REQUESTS)
def test_parse_jsonl_of_a_manifest_reads_equal_requests(request_: TextToImage) -> None:
    """A request as stored in the manifest is read as an equal request."""
    line = json.dumps(to_dict(request_), ensure_ascii=False)
    (item,) = _items(line, "jsonl")
    assert item.request == request_


@given(st.text(), st.sampled_from(["txt", "csv", "tsv", "jsonl"]))
def test_parse_any_text_yields_items_or_configuration_error(text: str, form: Form) -> None:
    """Any text yields items with either a request or a fault, or raises ConfigurationError."""
    try:
        items = _items(text, form)
    except ConfigurationError:
        return
    assert all((item.request is None) == (item.fault is not None) for item in items)


@given(st.lists(_JSON))
def test_parse_any_json_line_yields_one_item(values: list[object]) -> None:
    """Each line of JSON yields one item, for any value in it."""
    items = _items("\n".join(json.dumps(value) for value in values), "jsonl")
    assert len(items) == len(values)


@pytest.mark.parametrize(
    ("column", "cell", "field", "value"),
    [
        ("Image Number", "3", "image_number", 3),
        ("image-number", " 2 ", "image_number", 2),
        ("ASPECT_RATIO", "16:9", "aspect_ratio", "16:9"),
        ("Use Web Search", "Yes", "use_web_search", True),
        ("extra", '{"seed": 7}', "extra", {"seed": 7}),
        ("model", "", "model", "WERYAI_IMAGE_2_0"),
    ],
)
def test_parse_table_with_a_field_column_fills_the_field(column: str, cell: str, field: str, value: object) -> None:
    """A column fills the field that it names, converted to the field's type. An empty cell means the default."""
    (item,) = _items(f"prompt\t{column}\na cat\t{cell}", "tsv")
    assert getattr(item.request, field) == value
    assert item.other_columns == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "is not JSON"),
        ("[1]", "is not a JSON object"),
        ('{"prompt": 5}', "prompt must be a string, got 5"),
        ('{"model": "m"}', "requires the field prompt"),
        ('{"type": "song", "prompt": "p"}', "known types are: text-to-image"),
        ('{"prompt": "p", "extra": 5}', "extra must be an object, got 5"),
        ('{"prompt": "p", "seed": NaN}', "NaN is no JSON number"),
        ('{"prompt": "p", "seed": 1e999}', "is not JSON"),
        (r'{"prompt": "\ud800"}', "lone surrogate"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_parse_with_a_broken_line_yields_a_fault(line: str, message: str) -> None:
    """A wrong JSONL line becomes an item with a fault and its line number, between two valid requests."""
    items = _items(f'{{"prompt": "a"}}\n{line}\n{{"prompt": "b"}}', "jsonl")
    assert _prompts(items) == ["a", None, "b"]
    assert items[1].line == 2
    assert message in str(items[1].fault)


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("title\tmood\na\tb", "tsv", "no column is named prompt"),
        ("a cat\na dog", "csv", "no column is named prompt"),
        ("prompt,Prompt\na,b", "csv", "twice"),
    ],
)
def test_parse_with_a_wrong_heading_raises(text: str, form: Form, message: str) -> None:
    """A table without a prompt or type column, or with a column twice, raises ConfigurationError."""
    with pytest.raises(ConfigurationError, match=message):
        _items(text, form)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a cat, sitting,calm", "3 cells for 2 columns"),
        ("a cat,two", "image_number must be a whole number, got 'two'"),
        (",2", "requires the field prompt"),
    ],
)
def test_parse_with_a_wrong_row_yields_a_fault(row: str, message: str) -> None:
    """A row that does not fit its heading becomes an item with a fault and its line number."""
    valid, faulty = _items(f"prompt,image_number\na dog,1\n{row}", "csv")
    assert valid.fault is None
    assert message in str(faulty.fault)
    assert faulty.line == 3


def test_parse_csv_does_not_lower_the_global_cell_limit() -> None:
    """Reading a short file does not lower the csv module's cell limit, which is global."""
    before = csv.field_size_limit()
    assert _prompts(_items("prompt\na cat\n", "csv")) == ["a cat"]
    assert csv.field_size_limit() >= before


def test_parse_csv_with_a_line_break_numbers_rows_by_their_first_line() -> None:
    """After a quoted cell with a line break, the following rows still have their own line numbers."""
    items = _items('prompt;mood\n"two\nlines";x\nb;y', "csv")
    assert [(item.line, item.other_columns["mood"]) for item in items] == [(2, "x"), (4, "y")]


def test_parse_tsv_with_quotes_keeps_those_of_the_prompt() -> None:
    """The quotes of a prompt stay, and the quotes that a spreadsheet puts around a cell are removed."""
    items = _items('Prompt\n"Hi" on a wall\n"say ""hi"", twice"\n"', "tsv")
    assert _prompts(items) == ['"Hi" on a wall', 'say "hi", twice', '"']


def test_parse_with_defaults_fills_missing_fields() -> None:
    """A default fills a field that a line leaves out or sets to null, and no other."""
    items = _items('{"prompt": "a"}\n{"prompt": "b", "model": "M"}\n{"prompt": "c", "model": null}', "jsonl", model="D")
    assert [getattr(item.request, "model", None) for item in items] == ["D", "M", "D"]


def test_parse_with_a_null_ratio_leaves_it_out() -> None:
    """A null leaves out the aspect ratio, which has a default in the library, unless an option sets it."""
    line = '{"type": "text-to-video", "prompt": "a", "aspect_ratio": null}'
    assert [getattr(item.request, "aspect_ratio", "") for item in _items(line, "jsonl")] == [None]
    assert [getattr(item.request, "aspect_ratio", "") for item in _items(line, "jsonl", aspect_ratio="1:1")] == ["1:1"]


def test_from_object_with_unknown_fields_puts_them_into_extra() -> None:
    """Fields that the request type lacks become members of `extra`."""
    request = from_object(
        {"prompt": "a", "seed": 7, "extra": {"steps": 4}}, with_options(request_types(), "text-to-image", {})
    )
    assert dict(request.extra) == {"seed": 7, "steps": 4}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_read_text_with_bom_and_any_newline_succeeds(tmp_path: Path, newline: str) -> None:
    """A byte order mark and the newlines of any system are not part of a prompt."""
    path = tmp_path / "p.TXT"
    path.write_bytes(b"\xef\xbb\xbf" + newline.join(["a cat", "", "zwölf Möwen"]).encode())
    text, form = read_text(str(path))
    assert _prompts(_items(text, form)) == ["a cat", "zwölf Möwen"]


def test_read_text_in_another_encoding_names_the_line(tmp_path: Path) -> None:
    """A text that is not UTF-8 raises ConfigurationError with the number of the line."""
    path = tmp_path / "p.txt"
    path.write_bytes("a cat\nzwölf Möwen\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"not UTF-8 \(line 2\)"):
        read_text(str(path))


def test_read_text_with_an_unknown_suffix_raises(tmp_path: Path) -> None:
    """A file with an unknown suffix, such as that of a spreadsheet, raises ConfigurationError."""
    path = tmp_path / "p.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(ConfigurationError, match="must end in one of"):
        read_text(str(path))
