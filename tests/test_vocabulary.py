"""The retired words of docs/glossary.md do not come back."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

HOME: Final = Path(__file__).parents[1]
GLOSSARY: Final = HOME / "docs" / "glossary.md"

# The glossary lists the words, and measured results quote other projects.
_EXEMPT: Final = frozenset({"docs/glossary.md", "benchmarks/RESULTS.md", "benchmarks/results.json"})
_NO_TEXT: Final = frozenset({".gif", ".ico", ".jpg", ".mp4", ".png", ".svg", ".wav", ".webp"})
_SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "build", "dist", "node_modules", "out", "venv"})

ALLOWED_NAMES: Final = {
    "call_soon": "asyncio's event loop",
    "call_later": "asyncio's event loop",
    "call_at": "asyncio's event loop",
    "__call__": "Python's protocol of callables",
    "direct_calls": "public: requests that are answered without a task",
    "for_direct_calls": "limits of such requests",
    "command_line": "the user's shell command",
    "under_way": "public: a count in the statistics",
    "ScriptLine": "public: a line of a podcast's script",
    "StatusWords": "public: a fault of the sandbox",
}
"""Names that may keep a word of list B, each with its reason; with leading underscores and in capitals too."""

ALLOWED_IN: Final = {
    "aiowery/_queue/": {"turn": "the cross-process turn"},
    "aiowery/cli/": {
        "line": "lines of input and output",
        "note": "what an input holds besides the fields of requests",
        "page": "the gallery's page, and pages of results",
        "word": "words of a text",
    },
    "aiowery/ledger/": {"mark": "the verb of a transition, as in mark_sending", "page": "pages of results"},
    "aiowery/sandbox/": {"line": "lines of a podcast's script", "word": "words of a text"},
    "aiowery/testing/": {"mark": "the verb of a transition, as in mark_sending"},
    "aiowery/weryai/": {"line": "lines of a podcast's script", "page": "pages of results"},
}
"""Words of list B that a room may use in the sense that stays, each with its reason."""

ALLOWED_PHRASES: Final = {
    r"command lines?": "the user's shell command",
    r"lines? of (?:text|a file|standard input)": "lines of text",
    r"pages? of (?:results|entries)": "pages of results",
    r"^call ": "Python's sense: call a function",
    r"under way": "in progress",
    r"ways?\b(?= (?:to|of|in which|out)\b)": "a method or manner",
}
"""Phrases that may keep a word of list B in a first docstring line, each with its reason."""


def _retired(heading: str) -> tuple[str, ...]:
    """Return the words in the first column of the table below a heading of the glossary."""
    section = GLOSSARY.read_text("utf-8").partition(f"\n### {heading}")[2].partition("\n#")[0]
    cells = re.findall(r"^\|([^|]+)\|", section, re.MULTILINE)
    return tuple(word for cell in cells for word in re.findall(r"`([^`]+)`", cell))


EVERYWHERE: Final = _retired("A.")
AS_NAMES: Final = _retired("B.")


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern for whole words and their plurals. Underscores separate words."""
    spelled = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)
    return re.compile(rf"(?<![a-z0-9])(?:{spelled})s?(?![a-z0-9])", re.IGNORECASE)


_EVERYWHERE: Final = _pattern(EVERYWHERE)
_ALLOWED_NAMES: Final = frozenset(name.lstrip("_").lower() for name in ALLOWED_NAMES)
_ALLOWED_PHRASES: Final = re.compile("|".join(ALLOWED_PHRASES), re.IGNORECASE)


def _spaced(text: str) -> str:
    """Return the text with CamelCase separated. Every character keeps its line."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)


def retired_words(text: str) -> list[str]:
    """Return what stands in a text although list A retires it, as "line number: word"."""
    spaced = _spaced(text)
    return [f"{spaced.count(chr(10), 0, hit.start()) + 1}: {hit.group()}" for hit in _EVERYWHERE.finditer(spaced)]


def retired_names(source: str, name_of_file: str = "") -> list[str]:
    """Return the names and first docstring lines of a module that hold a word of list B."""
    found = []
    kept = {word for room, words in ALLOWED_IN.items() if name_of_file.startswith(room) for word in words}
    pattern = _pattern(tuple(word for word in AS_NAMES if word not in kept))
    for node in ast.walk(ast.parse(source)):
        for name, position in _names(node):
            if name.lstrip("_").lower() not in _ALLOWED_NAMES and pattern.search(_spaced(_without_verb(name, node))):
                found.append(f"{position}: {name}")
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            if hit := pattern.search(_ALLOWED_PHRASES.sub("", line)):
                found.append(f"{getattr(node, 'lineno', 1)}: docstring: {hit.group()}")
    return found


def _names(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each name that a node defines, and its line number."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node.lineno
        case ast.arg():
            yield node.arg, node.lineno
        case ast.Name(ctx=ast.Store()):
            yield node.id, node.lineno
        case ast.Attribute(ctx=ast.Store()):
            yield node.attr, node.lineno
        case (
            ast.ExceptHandler(name=str() as name) | ast.MatchAs(name=str() as name) | ast.MatchStar(name=str() as name)
        ):
            yield name, node.lineno
        case ast.alias(asname=str() as name):
            yield name, node.lineno
        case _:
            pass


def _without_verb(name: str, node: ast.AST) -> str:
    """Return the name, without "mark" where that is the verb of a function: it writes a ledger transition."""
    return name.removeprefix("mark_") if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else name


@cache
def _tracked() -> tuple[str, ...]:
    """Return the project's text files, relative to its root: those that git does not ignore, else all."""
    if (HOME / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        run = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=True)
        names = [name for name in run.stdout.split("\0") if name and (HOME / name).is_file()]
    else:
        found = (path.relative_to(HOME) for path in HOME.rglob("*") if path.is_file())
        names = [path.as_posix() for path in found if not _is_skipped(path)]
    return tuple(name for name in sorted(names) if name not in _EXEMPT and Path(name).suffix not in _NO_TEXT)


def _is_skipped(path: Path) -> bool:
    return any(
        part in _SKIPPED_FOLDERS or (part.startswith(".") and part not in {".ci", ".github"})
        for part in path.parts[:-1]
    )


def test_vocabulary_project_has_no_retired_word() -> None:
    """No text file of the project contains a word of list A."""
    hits = [f"{name}:{hit}" for name in _tracked() for hit in retired_words((HOME / name).read_text("utf-8"))]
    assert not hits, "retired words, see docs/glossary.md:\n" + "\n".join(hits)


def test_vocabulary_package_has_no_retired_name() -> None:
    """No name and no first docstring line of the package contains a word of list B."""
    modules = [name for name in _tracked() if name.startswith("aiowery/") and name.endswith(".py")]
    assert len(modules) > 200
    hits = [f"{name}:{hit}" for name in modules for hit in retired_names((HOME / name).read_text("utf-8"), name)]
    assert not hits, "retired names, see docs/glossary.md:\n" + "\n".join(hits)


def test_vocabulary_glossary_lists_are_read() -> None:
    """The checks above have words to search for."""
    assert len(EVERYWHERE) > 20
    assert any(" " in word for word in EVERYWHERE)
    assert {"look", "call", "told"} <= set(AS_NAMES)
    assert not set(EVERYWHERE) & set(AS_NAMES)


@pytest.mark.parametrize("word", EVERYWHERE)
def test_vocabulary_word_of_list_a_is_found_in_each_spelling(word: str) -> None:
    """A retired word is found in prose, in its plural, at a line break, in snake_case and in CamelCase."""
    camel = "".join(part.capitalize() for part in re.split(r"[ _]", word))
    for text in (f"Wait for {word}.", f"{word}s", f"x = new_{word}_of(y)", word.replace(" ", "\n").upper()):
        assert retired_words(text), text
    if word.isalpha():
        assert retired_words(f"class My{camel}Thing:")
        assert not retired_words(f"un{word}ly")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def first_look(): ...", True),
        ("def poll(call): ...", True),
        ("def poll(): outlook = 1", False),
        ("class PageOfMine: ...", True),
        ("self.told = 1", True),
        ("def mark_sending(): ...", False),
        ("self.mark = 1", True),
        ("def __call__(self): ...", False),
        ("keyword = underline = readline = sort_key = 1", False),
        ('def poll():\n    """Ask about the job."""', True),
        ('def parse():\n    """Parse the command line.\n\n    Ask for help.\n    """', False),
        ("loop.call_soon(poll)", False),
        ("_under_way = 1", False),
    ],
)
def test_vocabulary_word_of_list_b_is_found_in_names(source: str, found: bool) -> None:
    """A word of list B is found as a part of a defined name or in a first docstring line, and nowhere else."""
    assert bool(retired_names(source)) is found
