"""Tables on terminals of any width."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from aiowery.cli import terminal
from aiowery.cli.output import tables
from aiowery.cli.terminal import print_message
from tests.cli.conftest import Command


def _set_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Let standard output be a terminal of this width, of which only the width is known."""
    for module in (tables, terminal):
        monkeypatch.setattr(module, "output_width", lambda: width)


_ROWS = [("WERYAI_IMAGE_2_0", "16:9, 9:16, 1:1, 4:3", "1 to 4"), ("GPT", "", "1")]


@pytest.mark.parametrize("width", [40, 60])
def test_print_table_on_a_narrow_terminal_prints_a_list(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that does not fit becomes a heading for each row, with a line for each cell that is filled."""
    _set_width(monkeypatch, width)
    tables.print_table(("model", "shapes", "outputs at the most"), _ROWS, title="text-to-image")
    assert capsys.readouterr().out.splitlines() == [
        "text-to-image",
        "",
        "model WERYAI_IMAGE_2_0",
        "  shapes: 16:9, 9:16, 1:1, 4:3",
        "  outputs at the most: 1 to 4",
        "model GPT",
        "  outputs at the most: 1",
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_print_table_elsewhere_prints_a_table(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is room, all cells of a row are in one line; a narrow table is one on a narrow terminal, too."""
    _set_width(monkeypatch, width)
    tables.print_table(("model", "shapes", "outputs"), _ROWS)
    _set_width(monkeypatch, 40)
    tables.print_table(("a", "b"), [("1", "2")])
    printed = capsys.readouterr().out
    assert re.search(r"WERYAI_IMAGE_2_0 +16:9, 9:16, 1:1, 4:3 +1 to 4", printed)
    assert re.search(r" a +b", printed)


@pytest.mark.parametrize("width", [40, 60])
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("run", "--list"), "type text-to-image"),
        (("run", "text-to-image", "--fields"), "field aspect_ratio"),
        (("models", "--sandbox", "--kind", "image"), "model WERYAI_IMAGE_2_0"),
        (("batch", "--help"), "--price-per-credit"),
        (("--help",), "batch-status"),
        (("batch", "p.txt", "--sandbox", "--speed", "200", "--out", "out"), "2/2 0 failed"),
    ],
)
def test_commands_on_a_narrow_terminal_are_readable(
    aiowery_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    arguments: tuple[str, ...],
    shown: str,
) -> None:
    """No line is wider than the terminal, so that it breaks no word; options stand whole in one line."""
    monkeypatch.setattr("aiowery.cli.terminal._is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", str(width))
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    ended = aiowery_command(*arguments)
    assert ended.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ended.stdout + ended.stderr)
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", text)]
    assert any(shown in line for line in lines), lines
    prose = ("Results and manifest", "2 of 2 done")  # which a terminal wraps
    assert [line for line in lines if cell_len(line) > width and not line.startswith(prose)] == []


@pytest.mark.parametrize("width", [40, 60])
@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("batch",),
        ("generate", "a cat", "--out", "out", "--sandbox", "--modle", "X"),
        ("run", "txt-to-video"),
        ("run", "text-to-video", "--set", "promt=a cat"),
        ("batch", "p.csv", "--out", "out", "--sandbox", "--strict"),
        ("status", "task_1", "--sandbox"),
        ("webhook", "--check", "not-a-url"),
    ],
)
def test_messages_on_a_narrow_terminal_break_no_word(
    aiowery_command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    width: int,
    arguments: tuple[str, ...],
) -> None:
    """What is wrong, and what to do, stands in lines that fit."""
    monkeypatch.setattr("aiowery.cli.terminal._is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", str(width))
    (tmp_path / "p.csv").write_text("prompt,aspect\na cat,16:9\n")
    ended = aiowery_command(*arguments)
    assert ended.returncode != 0
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("aiowery: ")
    assert [line for line in lines if cell_len(line) > width] == []


def test_print_message_on_a_narrow_terminal_keeps_a_url_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A URL that is longer than a line can still be copied."""
    monkeypatch.setattr("aiowery.cli.terminal._is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "40")
    url = f"https://cdn.example/{'x' * 60}.png"
    print_message(f"It is at {url} for a day")
    assert capsys.readouterr().err.splitlines() == ["It is at", url, "for a day"]
