"""Prompt files: the items in them, and the faults of wrong lines and files."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.cli.input.prompt_files import Form, InputItem, decode, parse, read_text
from aiowery.cli.input.requests import near_fields, read_object, with_options
from aiowery.cli.providers import request_types
from aiowery.errors import ConfigurationError
from aiowery.weryai import ImageToVideo, TextToImage, to_dict

_PROMPTS = st.builds(
    "{}{}".format,
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=40),
    st.sampled_from("aß7?"),  # a text of marks only is refused
)
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


@given(st.text(), st.sampled_from(["txt", "csv", "tsv", "jsonl", "json"]))
def test_parse_any_text_yields_items_or_configuration_error(text: str, form: Form) -> None:
    """Any text yields items with either a request or a fault, or raises ConfigurationError."""
    try:
        items = _items(text, form)
    except ConfigurationError:
        return
    assert all((item.request is None) == (item.fault is not None) for item in items)


@given(st.lists(_JSON), st.sampled_from([None, 2]))
def test_parse_any_json_array_yields_one_item_per_member(values: list[object], indent: int | None) -> None:
    """Each member of an array yields one item with the number of its line, in .json and in .jsonl, also if indented."""
    text = json.dumps(values, indent=indent)
    items = _items(text, "json")
    assert len(items) == len(values)
    assert items == _items(text, "jsonl")
    lines = [1] * len(values)
    if indent is not None:
        sizes = [json.dumps(value, indent=indent).count("\n") + 1 for value in values]
        lines = [2 + sum(sizes[:position]) for position in range(len(values))]
    assert [item.line for item in items] == lines


@given(st.lists(_JSON.filter(lambda value: not isinstance(value, list))))
def test_parse_any_json_line_yields_one_item(values: list[object]) -> None:
    """Each line of JSON yields one item, for any value in it. Only a list at the beginning is an array."""
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
        ('{"prompt": "a cat", "model": "X", "prompt": "a dog"}', "prompt is named twice"),
        ('[{"prompt": "a cat", "extra": {"x": 1, "x": 2}}]', "x is named twice"),
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


_CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x1a\ufeff"), min_size=1, max_size=20)


@given(st.lists(st.tuples(_PROMPTS, _CELLS)), st.sampled_from(",;\t"), st.booleans(), st.sampled_from(["csv", "tsv"]))
def test_parse_table_of_any_cells_reads_them_unchanged(
    rows: list[tuple[str, str]], separator: str, with_separator_line: bool, form: Form
) -> None:
    """Line breaks, quotes and separators in quoted cells are kept, with any separator, named by `sep=` or not."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("prompt", "mood"), *rows])
    items = _items(f"sep={separator}\n" * with_separator_line + file.getvalue(), form)
    assert _prompts(items) == [prompt for prompt, _ in rows]
    assert [item.other_columns for item in items] == [
        {"mood": mood.strip()} if mood.strip() else {} for _, mood in rows
    ]
    breaks = [prompt.count("\n") + mood.count("\n") for prompt, mood in rows]
    first = 2 + with_separator_line
    assert [item.line for item in items] == [first + row + sum(breaks[:row]) for row in range(len(rows))]


def test_parse_tsv_of_a_spreadsheet_keeps_cells_with_line_breaks_whole() -> None:
    """A cell with a line break is one prompt, and quotes inside a cell that does not begin with one are text."""
    items = _items('Prompt\tMood\n"a cat\non a mat"\tcalm\n"say ""hi"", twice"\t\na 5" pipe\tx\n', "tsv")
    assert _prompts(items) == ["a cat\non a mat", 'say "hi", twice', 'a 5" pipe']
    assert [item.line for item in items] == [2, 4, 5]


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('prompt\na cat\n"a dog\na bird\n', "line 3: a quote opens a cell and is never closed"),
        ('prompt\na cat\n"', "line 3: a quote opens a cell and is never closed"),
        ('prompt\na cat\n"a ""dog""\na bird', "line 3: a quote opens a cell and is never closed"),
        ('prompt\n"Hi" on a wall\na cat\n', "line 2: text follows the quote that closes a cell"),
        ('prompt\n"a dog\na "bird"\na cat\n', "line 3: text follows the quote that closes a cell"),
        ('prompt\n "a dog" x\n', "line 2: text follows the quote that closes a cell"),
    ],
)
def test_parse_table_with_a_quote_out_of_place_raises(form: Form, text: str, message: str) -> None:
    """Where rows begin is not certain then, so none becomes a prompt; the line is named."""
    with pytest.raises(ConfigurationError, match=message):
        _items(text, form)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("prompt\tmood\na cat, sitting\tcalm; gay", "csv"),
        ("prompt;mood\na cat, sitting;calm", "tsv"),
        ("sep=;\nprompt;mood\na cat, sitting;calm", "csv"),
        ('"sep=\t"\nprompt\tmood\na cat, sitting\tcalm', "csv"),
        ('prompt, mood\n "a cat, sitting", calm', "csv"),
    ],
)
def test_parse_table_finds_its_separator(text: str, form: Form) -> None:
    """The heading, or a first line such as sep=;, decides about the separator, not the name of the file."""
    (item,) = _items(text, form)
    assert _prompts([item]) == ["a cat, sitting"]
    assert [name.strip() for name in item.other_columns] == ["mood"]


@pytest.mark.parametrize(
    ("text", "line"),
    [('[\n{"prompt": "a"},\n', 3), ('[{"prompt": "a"}\n{"prompt": "b"}]', 2), ('["a"]\n"b"', 2), ("[[stuck]]", 1),
     ('[{"prompt": NaN}]', 1), ('["a",]', 1), ('{"prompt": "a"} x', 1), ("[" * 100_000, 1)],
)  # fmt: skip
def test_parse_broken_json_raises(text: str, line: int) -> None:
    """Of an array that is no JSON, no part becomes a prompt; the line of the fault is named."""
    with pytest.raises(ConfigurationError, match=f"line {line}: "):
        _items(text, "json")


def test_parse_json_with_texts_and_one_object() -> None:
    """A text in an array is a prompt, one object is one request, and other members are faults of their lines."""
    items = _items('["a cat",\n {"prompt": "a dog"},\n 7, [], null]', "json")
    assert _prompts(items) == ["a cat", "a dog", None, None, None]
    assert all("is neither a JSON object nor a text" in str(item.fault) for item in items[2:])
    assert _prompts(_items('{\n "prompt": "a fox"\n}\n', "json")) == ["a fox"]


def test_parse_with_defaults_fills_missing_fields() -> None:
    """A default fills a field that a line leaves out or sets to null, and no other."""
    items = _items('{"prompt": "a"}\n{"prompt": "b", "model": "M"}\n{"prompt": "c", "model": null}', "jsonl", model="D")
    assert [getattr(item.request, "model", None) for item in items] == ["D", "M", "D"]


def test_parse_with_a_null_ratio_leaves_it_out() -> None:
    """A null leaves out the aspect ratio, which has a default in the library, unless an option sets it."""
    line = '{"type": "text-to-video", "prompt": "a", "aspect_ratio": null}'
    assert [getattr(item.request, "aspect_ratio", "") for item in _items(line, "jsonl")] == [None]
    assert [getattr(item.request, "aspect_ratio", "") for item in _items(line, "jsonl", aspect_ratio="1:1")] == ["1:1"]


_NEAR = [
    ("Aspect-Ratio", "aspect_ratio"), ("aspectRatio", "aspect_ratio"), ("ASPECT RATIO", "aspect_ratio"),
    ("aspect", "aspect_ratio"), ("Aspect", "aspect_ratio"), ("aspect_ration", "aspect_ratio"),
    ("promt", "prompt"), ("prmopt", "prompt"), ("prompts", "prompt"), ("Prompt", "prompt"), ("modle", "model"),
    ("mode", "model"), ("negative", "negative_prompt"), ("Type", "type"), ("extras", "extra"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "field"), _NEAR)
def test_parse_with_nearly_a_field_yields_a_fault(name: str, field: str) -> None:
    """Such a name is no note: a request without the field would be paid for. Lines and arrays have the same rule."""
    values = {"prompt": "a kite", name: "16:9"}
    for text, form in ((json.dumps(values), "jsonl"), (json.dumps([values], indent=1), "json")):
        (item,) = _items(text, form)  # type: ignore[arg-type]  # of two literals
        assert f"text-to-image has no field {name!r}: did you mean {field}" in str(item.fault)
        assert f'"note.{name}"' in str(item.fault)


@pytest.mark.parametrize(("separator", "form"), [(",", "csv"), ("\t", "tsv")])
@pytest.mark.parametrize("column", ["aspect", "aspectratio", "aspect ration", "negative", "modle"])
def test_parse_table_with_nearly_a_field_yields_a_fault(column: str, separator: str, form: Form) -> None:
    """A column that nearly names a field is a fault of the rows that fill it, and of no others."""
    faulty, valid = _items(f"prompt{separator}{column}\na kite{separator}16:9\na fox{separator}", form)
    assert f"text-to-image has no field {column!r}: did you mean " in str(faulty.fault)
    assert valid.fault is None


def test_near_fields_knows_names_of_the_http_request() -> None:
    """A field that the HTTP request names otherwise is recognized by that name."""
    assert near_fields(ImageToVideo, "image") == ["image_url"]
    assert near_fields(TextToImage, "note") == []


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('{"prompt": "a kite", "client": "ACME", "note.aspect": "16:9", "extra": {"seed": 7}}', "jsonl"),
        ('[{"prompt": "a kite", "client": "ACME", "note.aspect": "16:9", "extra": {"seed": 7}}]', "json"),
        ('prompt,client,note.aspect,extra\na kite,ACME,16:9,"{""seed"": 7}"', "csv"),
        ('prompt\tclient\tnote.aspect\textra\na kite\tACME\t16:9\t"{""seed"": 7}"', "tsv"),
    ],
)
def test_parse_with_unknown_names_keeps_them_as_notes(text: str, form: Form) -> None:
    """In all formats unknown names are notes, `note.KEY` always is, and only `extra` is sent besides the fields."""
    (item,) = _items(text, form)
    assert item.other_columns == {"client": "ACME", "aspect": "16:9"}
    assert item.request == TextToImage(prompt="a kite", extra={"seed": 7})


def test_read_object_keeps_a_note_of_any_value() -> None:
    """A note is any JSON value, unchanged."""
    note = {"a": [1, None]}
    _, notes = read_object({"prompt": "a", "client": note}, with_options(request_types(), "text-to-image", {}))
    assert notes == {"client": note}


_UNUSABLE = [("a\0c", "NUL"), ("\x1a", "Ctrl-Z"), ("a cat\x1a", "Ctrl-Z"), ("\u200b\u200d", "cannot be seen"),
             ("\u3164 \u2060", "cannot be seen"), ("\u0301", "cannot be seen")]  # fmt: skip


@pytest.mark.parametrize(("prompt", "message"), _UNUSABLE)
def test_parse_with_an_unusable_text_yields_a_fault(prompt: str, message: str) -> None:
    """Texts of NULs, with Ctrl-Z, or without a character that can be seen are not paid for, in any format."""
    texts: list[tuple[str, Form]] = [
        (f"a cat\n{prompt}", "txt"),
        (f'{{"prompt": "a cat"}}\n{json.dumps({"prompt": prompt})}', "jsonl"),
        (f"prompt\n{prompt}", "csv"),
    ]
    for text, form in texts:
        item = _items(text, form)[-1]
        assert message in str(item.fault)
        assert item.line == 2


def test_parse_with_a_byte_order_mark_inside_takes_it_out() -> None:
    """Files that were joined have a mark at the beginning of a line, and JSON may spell it."""
    assert _prompts(_items(decode("a cat\n\ufeffa dog\n".encode(), "x"), "txt")) == ["a cat", "a dog"]
    assert _prompts(_items(r'{"prompt": "a \ufeffcat"}', "jsonl")) == ["a cat"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a cat\n".encode("utf-16-le"), r"NUL characters \(line 1\), as UTF-16 does"),
        ("a cat\n".encode("utf-16"), "is UTF-16"),
        (b"a cat\na\0dog\n", r"NUL characters \(line 2\)"),
    ],
)
def test_decode_of_utf_16_raises(content: bytes, message: str) -> None:
    """UTF-16 is named with what to do, with its mark and without."""
    with pytest.raises(ConfigurationError, match=f"{message}.*nothing was sent: save it as UTF-8"):
        decode(content, "p.txt")


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("p.json", '["a"]', "json"), ("p.jsonl", "[", "jsonl"), ("p.ndjson", "", "jsonl"), ("p.tab", "", "tsv"),
        ("p.txt", "[[stuck]]\n", "txt"), ("p.txt", "a cat, prompt\n", None), ("p.txt", "prompt\na cat\n", None),
        ("p.txt", '"prompt";"model"\na;b\n', None), ("p.txt", "sep=;\na;b\n", None),
        ("p.txt", "text\tgender\nHi\tm\n", None), ("p.txt", '[\n {"prompt": "a"}\n]', None),
        ("p.txt", '["a"]', None), ("p.txt", "a prompt, nearly\n", "txt"), ("p.txt", '"a "b" c\n', "txt"),
        ("p.txt", "Prompts\na cat\n", None), ("p.txt", "promt;aspect\na cat;16:9\n", None),
        ("p.txt", '{"prompt": "a cat"}\n', None), ("p.txt", "{\n  'prompt': 'a'\n}", None),
        ("p.txt", "{red|blue} cat\n", "txt"), ("p.txt", "prompt 1\n", "txt"), ("p.txt", "image, red\n", "txt"),
    ],
)  # fmt: skip
def test_read_text_recognizes_tables_and_arrays(tmp_path: Path, name: str, text: str, form: Form | None) -> None:
    """A .txt file that holds a table or an array is refused: its heading, or its brackets, would be paid prompts."""
    path = tmp_path / name
    path.write_text(text)
    if form is None:
        with pytest.raises(
            ConfigurationError, match=r"nothing was sent: read it with --format (csv|jsonl?),.*--format txt"
        ):
            read_text(str(path))
    else:
        assert read_text(str(path)) == (text, form)
    assert read_text(str(path), "txt") == (text, "txt")


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


@pytest.mark.parametrize("text", ["," * 300_000, "a," * 300_000, "prompt," * 300_000, '"' * 300_001, " " * 300_000])
def test_parse_of_one_long_line_ends(tmp_path: Path, text: str) -> None:
    """A line of very many cells is read or refused in time that grows with its length."""
    (tmp_path / "p.txt").write_text(text)
    with contextlib.suppress(ConfigurationError):
        read_text(str(tmp_path / "p.txt"))
    with contextlib.suppress(ConfigurationError):
        _items(text, "csv")
