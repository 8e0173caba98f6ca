"""The generated tables are those that the code and the facts of the contract give."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from tests import tables
from tests.weryai.facts import ENTRIES


def test_readme_table_has_a_row_for_each_entry_and_a_tick_in_each_cell() -> None:
    """README's table is exactly the generated one, and no entry of the contract lacks a part."""
    source = tables.README.read_text("utf-8")
    assert tables.readme_source(source) == source, "run: python -m tests.tables --write"
    written = source.partition(tables.BEGIN)[2].partition(tables.END)[0]
    assert written.count("\n") == 2 + len(ENTRIES)
    assert "| - |" not in written


@pytest.mark.parametrize("package", tables.PACKAGES)
def test_package_exports_are_those_of_its_tables(package: str) -> None:
    """The imports for type checkers and `__all__` are exactly the generated ones."""
    path = tables.ROOT.joinpath(*package.split("."), "__init__.py")
    source = path.read_text("utf-8")
    assert tables.package_source(package, source) == source, "run: python -m tests.tables --write"


def test_command_outdated_file_prints_the_difference_and_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `--write` an outdated file is left alone and the exit code is 1. With it the file is written."""
    source = tables.ROOT.joinpath("aiowery", "weryai", "__init__.py").read_text("utf-8")
    outdated = re.sub(r'^    "Chat",\n', "", source, flags=re.MULTILINE)
    path = tmp_path / "__init__.py"
    path.write_text(outdated, "utf-8")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    files = [(path, partial(tables.package_source, "aiowery.weryai"))]
    monkeypatch.setattr(tables, "generated_files", lambda: files)
    assert tables.main([]) == 1
    assert '+    "Chat",' in capsys.readouterr().out
    assert path.read_text("utf-8") == outdated
    assert tables.main(["--write"]) == 0
    assert path.read_text("utf-8") == source
    assert tables.main([]) == 0
