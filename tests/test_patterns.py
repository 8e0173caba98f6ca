"""No regular expression of the package takes long for a long text, however the text was made to suit it."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import math
import re
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import pytest

import aiowery
from aiowery._core.messages import mentions

parser: Any = importlib.import_module("re._parser")

HOME = Path(aiowery.__file__).parent
LONGEST = 256 * 1024
ALLOWED = 0.05
ALWAYS = ("search", "match", "fullmatch")
HINTS = ("import re", "from re", "regex", ".sub", ".findall", ".finditer")
REPEATED = frozenset({"sub", "subn", "findall", "finditer", "split"})
# How long the texts are that are tried, and how many of the slowest go on to the next length.
STAGES = ((256, 20), (1024, 10), (4096, 8), (16_384, 5), (65_536, 3), (LONGEST, 0))
FRAGMENTS = 12
Form = Callable[[str, str, int], str]
FORMS: tuple[Form, ...] = (
    lambda one, other, size: one + other * (size // len(other)),
    lambda one, other, size: other * (size // len(other)) + one,
    lambda one, other, size: (one + other) * (size // len(one + other)),
    lambda one, other, size: one * (size // 2 // len(one)) + other * (size // 2 // len(other)),
    lambda one, other, size: (one + other * (math.isqrt(size) // len(other))) * math.isqrt(size),
)
"""How a text is made of two fragments: a run with an odd end, runs in turn, runs one after the other."""
SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda char: not char.isspace(),
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_NOT_DIGIT": lambda char: not char.isdecimal(),
    "CATEGORY_WORD": lambda char: char.isalnum() or char == "_",
    "CATEGORY_NOT_WORD": lambda char: not (char.isalnum() or char == "_"),
}
CANDIDATES = " a1-_.`~\n"


@attrs.frozen
class Named:
    """A pattern of the package, its place, and the methods that it is used with besides those that are always tried."""

    where: str
    pattern: re.Pattern[Any]
    methods: tuple[str, ...] = ()


@functools.cache
def trees() -> list[tuple[str, ast.Module]]:
    """Return the name and the syntax tree of each module of the package that could use a regular expression."""
    found = []
    for path in sorted(HOME.rglob("*.py")):
        text = path.read_text("utf-8")
        if any(hint in text for hint in HINTS):
            name = ".".join(("aiowery", *path.relative_to(HOME).with_suffix("").parts)).removesuffix(".__init__")
            found.append((name, ast.parse(text, str(path))))
    return found


def assigned(tree: ast.Module) -> Iterator[tuple[str, list[ast.Call]]]:
    """Yield the global names of patterns, and the expressions `re.compile(...)` that make these."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        expressions = list(compiled_in(value))
        if expressions and isinstance(targets[0], ast.Name):
            yield targets[0].id, expressions


def compiled_in(value: ast.expr) -> Iterator[ast.Call]:
    """Yield the expressions `re.compile(...)` in a value: it is one, or contains them."""
    if isinstance(value, ast.Call):
        if ast.unparse(value.func) == "re.compile":
            yield value
    elif isinstance(value, (ast.Tuple, ast.List, ast.Set)):
        for part in value.elts:
            yield from compiled_in(part)
    elif isinstance(value, ast.Dict):
        for part in (*filter(None, value.keys), *value.values):
            yield from compiled_in(part)


def flattened(value: Any) -> Iterator[re.Pattern[Any]]:
    """Yield the patterns in a value."""
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from flattened([*value.keys(), *value.values()])
    elif isinstance(value, (tuple, list, set, frozenset)):
        for part in value:
            yield from flattened(part)


def methods_of(tree: ast.Module, name: str) -> tuple[str, ...]:
    """Return the methods of a global pattern that go through a whole text."""
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }
    return tuple(sorted(used & REPEATED))


def all_patterns() -> Iterator[Named]:
    """Yield every pattern of the package. The next test proves that there are no others."""
    for module, tree in trees():
        for name, expressions in assigned(tree):
            found = list(flattened(getattr(importlib.import_module(module), name)))
            assert len(found) == len(expressions)
            for number, pattern in enumerate(found):
                where = f"{module}.{name}" + (f"[{number}]" if len(found) > 1 else "")
                yield Named(where, pattern, methods_of(tree, name))


PATTERNS = list(all_patterns())


def faults_of(tree: ast.Module) -> Iterator[str]:
    """Yield each use of regular expressions in a module that the collection of patterns would miss."""
    known = {id(expression.func) for _, expressions in assigned(tree) for expression in expressions}
    names = {name for name, _ in assigned(tree)}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    owned = {id(node.value) for node in attributes}
    for node in ast.walk(tree):
        place = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in {"re", "regex"}:
            yield f"{place}: import re itself"
        if isinstance(node, ast.Import) and any(alias.name == "re" and alias.asname for alias in node.names):
            yield f"{place}: import re by its own name"
        if isinstance(node, ast.Import) and any(alias.name == "regex" for alias in node.names):
            yield f"{place}: use re"
        if isinstance(node, ast.Name) and node.id == "re" and id(node) not in owned:
            yield f"{place}: `re` is handed around"
    for node in attributes:
        place = f"line {node.lineno}"
        if isinstance(node.value, ast.Name) and node.value.id == "re":
            harmless = node.attr.isupper() or node.attr in {"Pattern", "Match"}
            if not harmless and id(node) not in known:
                yield f"{place}: re.{node.attr}; a pattern is compiled once, for a global name"
        elif node.attr in REPEATED - {"split"} and not (isinstance(node.value, ast.Name) and node.value.id in names):
            yield f"{place}: .{node.attr} of what is not a global pattern of this module"


def test_patterns_are_global_and_complete() -> None:
    """No pattern is compiled or searched in passing, so all patterns are measured."""
    faults = [f"{module}, {fault}" for module, tree in trees() for fault in faults_of(tree)]
    assert faults == []
    assert len(PATTERNS) > 40


@pytest.mark.parametrize(
    "code",
    [
        "def f(text):\n    return re.sub('a', 'b', text)",
        "def f():\n    return re.compile('a')",
        "X = make(re.compile('a'))",
        "X = [re.compile(text) for text in 'ab']",
        "from re import compile",
        "import re as regular",
        "import regex",
        "find = getattr(re, 'search')",
        "def f(pattern, text):\n    return pattern.findall(text)",
    ],
)
def test_faults_of_pattern_in_passing_is_found(code: str) -> None:
    """The check above finds each kind of pattern that is not global."""
    assert list(faults_of(ast.parse(code)))


def test_patterns_of_api_errors_are_used_by_mentions_only() -> None:
    """Both providers' patterns for texts of refusals are used as arguments of `mentions` only."""
    modules = [(module, tree) for module, tree in trees() if module.endswith("._api_errors")]
    assert len(modules) == 2
    for module, tree in modules:
        names = {name for name, _ in assigned(tree)}
        given = {
            id(argument)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "mentions"
            for argument in node.args[1:]
        }
        loads = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
        uses = [node for node in loads if node.id in names]
        assert len(uses) >= len(names) > 0
        assert all(id(node) in given for node in uses), module


def test_mentions_searches_the_first_300_characters() -> None:
    """The first 300 characters are searched, however long the text is."""
    pattern = re.compile("end")
    assert mentions("x" * 297 + "end", pattern)
    assert not mentions("x" * 298 + "end", pattern)


def repeats_in(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the most times and the body of each repetition in a parsed pattern."""
    for operator, argument in tree:
        if str(operator) in REPEATS:
            yield argument[1], argument[2]
        for part in parts_of(operator, argument):
            yield from repeats_in(part)


def parts_of(operator: Any, argument: Any) -> list[Any]:
    """Return the parsed patterns within an element of one."""
    match str(operator):
        case "BRANCH":
            return list(argument[1])
        case "SUBPATTERN":
            return [argument[3]]
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [argument[2]]
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
    return []


def is_tame(pattern: str | bytes, flags: int = 0) -> bool:
    """Return True if only single characters are repeated, so that the time for a text cannot double by each of them."""
    repeats = repeats_in(parser.parse(pattern, flags))
    return all(most in {0, 1} or (len(body) == 1 and str(body[0][0]) in SINGLE) for most, body in repeats)


def fits(char: str, items: Any) -> bool:
    """Return True if a character is one of a set's."""
    inside, negated = False, False
    for operator, argument in items:
        match str(operator):
            case "NEGATE":
                negated = True
            case "LITERAL":
                inside |= ord(char) == argument
            case "RANGE":
                inside |= argument[0] <= ord(char) <= argument[1]
            case "CATEGORY":
                inside |= CATEGORIES[str(argument)](char)
    return inside != negated


def chars_of(items: Any) -> list[str]:
    """Return some characters of a set."""
    named = [chr(argument) for operator, argument in items if str(operator) == "LITERAL"]
    named += [chr(argument[0]) for operator, argument in items if str(operator) == "RANGE"]
    return [char for char in (*named, *CANDIDATES) if fits(char, items)][:3]


def texts_of(tree: Any) -> list[str]:
    """Return texts that suit a parsed pattern: each alternative is in one of them."""
    choices = [wording(operator, argument) for operator, argument in tree]
    usual = [choice[0] for choice in choices]
    varied = (
        "".join((*usual[:place], text, *usual[place + 1 :])) for place, choice in enumerate(choices) for text in choice
    )
    return list(dict.fromkeys(("".join(usual), *varied)))


def wording(operator: Any, argument: Any) -> list[str]:
    """Return the texts of one element."""
    match str(operator):
        case "LITERAL":
            return [chr(argument)]
        case "NOT_LITERAL":
            return [next(char for char in CANDIDATES if ord(char) != argument)]
        case "ANY":
            return [" ", "a"]
        case "IN":
            return chars_of(argument)
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return [""]
    found = [text for part in parts_of(operator, argument) for text in texts_of(part)]
    return [text * max(argument[0], 1) for text in found] if str(operator) in REPEATS else found


def runs_of(tree: Any) -> Iterator[str]:
    """Yield the literals of a parsed pattern, and characters of its sets."""
    run = ""
    for operator, argument in tree:
        if str(operator) == "LITERAL":
            run += chr(argument)
            continue
        yield run
        run = ""
        if str(operator) == "IN":
            yield from chars_of(argument)
        for part in parts_of(operator, argument):
            yield from runs_of(part)
    yield run


def fragments_of(pattern: re.Pattern[Any]) -> list[str]:
    """Return the parts of the texts for a pattern: its literals, fitting texts and almost fitting ones."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    whole = [*runs_of(tree), *texts_of(tree)]
    almost = [text[:-1] for text in whole] + [text[1:] for text in whole]
    return [text for text in dict.fromkeys((" ", "a", "\n", *whole, *almost)) if text]


def pairs_of(fragments: list[str]) -> Iterator[tuple[str, str]]:
    """Yield two fragments of which a text is made: all with the short ones, for characters are what is repeated."""
    units = [text for text in fragments if len(text) == 1]
    return product(fragments, dict.fromkeys((*units, *fragments[:FRAGMENTS])))


def slowest(named: Named) -> tuple[float, str]:
    """Return the seconds for the slowest text that is found, and a description of it.

    Many short texts are tried, and the slowest of them again in longer form. The search ends once a text takes too
    long.
    """
    binary = isinstance(named.pattern.pattern, bytes)
    pairs = pairs_of(fragments_of(named.pattern))
    waiting = list(product((*ALWAYS, *named.methods), FORMS, pairs))
    times: list[tuple[float, int]] = []
    for size, kept in STAGES:
        times = []
        for number, (method, form, (one, other)) in enumerate(waiting):
            text = form(one, other, size)[:size]
            seconds = measured(named.pattern, method, text.encode("latin-1") if binary else text)
            times.append((seconds, number))
            if seconds > ALLOWED:
                return seconds, f"{method} of {len(text)} characters: {text[:40]!r}...{text[-20:]!r}"
        times.sort(reverse=True)
        if kept:
            waiting = [waiting[number] for _, number in times[:kept]]
    return times[0][0], ""


def measured(pattern: re.Pattern[Any], method: str, text: str | bytes) -> float:
    """Return the CPU seconds of one search. A search that takes too long is repeated, unless a repeat cannot help."""
    arguments = (text[:0], text) if method in {"sub", "subn"} else (text,)
    seconds = math.inf
    for _ in range(3):
        began = time.thread_time()
        getattr(pattern, method)(*arguments)
        seconds = min(seconds, time.thread_time() - began)
        if not ALLOWED < seconds < 3 * ALLOWED:
            break
    return seconds


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Keep the garbage collector from being measured."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("named", PATTERNS, ids=lambda named: named.where.removeprefix("aiowery."))
def test_pattern_on_its_worst_text_is_fast(named: Named) -> None:
    """256 kB of its own literals, in the worst form that is found, take less than 50 ms of CPU."""
    assert is_tame(named.pattern.pattern, named.pattern.flags), f"{named.where}: what is repeated is not one character"
    seconds, what = slowest(named)
    assert seconds <= ALLOWED, f"{named.where} takes {seconds * 1000:.0f} ms for {what}"


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "pattern",
    [
        r"(?i)\b(task|batch)\b.*\bnot exist",
        r"\d+x\d+",
        r"\s+$",
        r":?\s*`POST [^`]*`",
    ],
)
def test_slowest_finds_slow_patterns(pattern: str) -> None:
    """Texts that are slow for a pattern are found by its own literals alone."""
    seconds, what = slowest(Named("here", re.compile(pattern)))
    assert seconds > ALLOWED
    assert what


@pytest.mark.parametrize("pattern", [r"(a+)+b", r"(a|a)*b", r"(\w+\s?)*$", r"(ab)+", r"(a{0,9}){0,9}b"])
def test_is_tame_repeated_repetition_is_false(pattern: str) -> None:
    """A pattern whose time could double with each character is refused without being run."""
    assert not is_tame(pattern)
