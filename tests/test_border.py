"""One border for texts from outside: what is reported passes `safe_text`, and no code goes around it.

The command line has a border of its own for what it prints, and the sandbox is a server: both are left out.
"""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import pytest

import aiowery
from aiowery import AioweryError, Asset, Snapshot, TaskState, errors
from aiowery._core.events import Event
from aiowery._core.labels import Labels
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Accepted
from aiowery._journal.serialization import dump_error
from aiowery.errors import APIError, ConfigurationError, UnexpectedResponse
from aiowery.transport._excerpt import clean_excerpt
from aiowery.weryai import TextToImage

HOME: Final = Path(aiowery.__file__).parent
OUTSIDE: Final = ("cli/", "sandbox/", "testing/", "__main__.py")
HOSTILE: Final = "begins\nERROR forged\r\x1b[31m\x9b\x85\u202e\u2028\ud800\x00" + "x" * 100_000 + " ends"

VALUES: Final[tuple[type[Any], ...]] = (Snapshot, Accepted, *get_args(Event))
CONTENT: Final = {
    "Snapshot.task_id": "sent in the next status check",
    "Snapshot.text": "the output itself",
    "Accepted.provider_batch_id": "sent in the next status check",
}
"""Texts that stay as they came, each with its reason."""
SAMPLES: Final[dict[Any, Any]] = {
    str: "x",
    int: 1,
    float: 1.0,
    Snapshot: Snapshot("t1", TaskState.RUNNING),
    TaskState: TaskState.RUNNING,
    Asset: Asset("https://x.example/1.png"),
    AioweryError: AioweryError("x"),
}


def is_safe(text: str | None) -> bool:
    """Return True for one printable line of limited length."""
    return text is not None and text.isprintable() and 0 < len(text) <= 2_000


def kinds(annotation: Any) -> tuple[Any, ...]:
    """Return the types of an annotation: those of a union, or the one that it is."""
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def sample(annotation: Any) -> Any:
    """Return a value of a required field."""
    first = kinds(annotation)[0]
    return () if get_origin(first) is tuple else SAMPLES[first]


def text_fields() -> Iterator[tuple[type[Any], str]]:
    """Yield each value class with the name of each field that holds a text from outside."""
    for cls in VALUES:
        hints = get_type_hints(cls)
        for field in attrs.fields(cls):
            if str in kinds(hints[field.name]) and f"{cls.__name__}.{field.name}" not in CONTENT:
                yield cls, field.name


@pytest.mark.parametrize(("cls", "name"), list(text_fields()), ids=lambda one: getattr(one, "__name__", one))
def test_value_text_from_outside_is_a_short_printable_line(cls: type[Any], name: str) -> None:
    """Each text of a snapshot, an acceptance and an event is cleaned where the value is made."""
    hints = get_type_hints(cls)
    required = {field.name: sample(hints[field.name]) for field in attrs.fields(cls) if field.default is attrs.NOTHING}
    assert is_safe(getattr(cls(**{**required, name: HOSTILE}), name))


@pytest.mark.parametrize("name", errors.__all__)
def test_error_message_from_outside_is_a_short_printable_line(name: str) -> None:
    """Each error cleans its message; that of a ConfigurationError may be long and have several lines."""
    cls: type[AioweryError] = getattr(errors, name)
    error = cls(HOSTILE)
    if cls is ConfigurationError:
        assert str(error).replace("\n", "").isprintable()
    else:
        assert is_safe(str(error))
        assert str(error).endswith(" ends")
    assert str(error.with_message(f"again {HOSTILE}")).replace("\n", "").isprintable()
    assert str(cls(str(error))) == str(error)


def test_error_attributes_from_outside_are_short_printable_lines() -> None:
    """Request ids, codes and faults are cleaned as messages are."""
    refusal = APIError("no", code=HOSTILE, request_id=HOSTILE)
    odd = UnexpectedResponse("odd", faults=(HOSTILE,))
    assert all(map(is_safe, (str(refusal.code), refusal.request_id, *odd.faults)))


def test_texts_of_a_response_are_printable() -> None:
    """So are the excerpts of bodies, ids in headers and bodies, the reasons in the ledger, and labels."""
    response = HttpResponse(500, {"x-request-id": HOSTILE}, HOSTILE.encode("utf-8", "surrogatepass"))
    request_id = response.request_id_in({"request_id": HOSTILE})
    label = Labels(with_prompts=True).of(TextToImage(prompt=HOSTILE[:500]), HOSTILE)
    assert all(map(is_safe, (response.excerpt, response.request_id, request_id, label)))
    assert clean_excerpt(response.body).replace("\n", "").isprintable()
    assert dump_error(ValueError(HOSTILE)).isprintable()


@functools.cache
def library() -> tuple[tuple[str, ast.Module], ...]:
    """Return the place and the syntax tree of each module of the library."""
    places = ((path.relative_to(HOME).as_posix(), path) for path in sorted(HOME.rglob("*.py")))
    return tuple((place, ast.parse(path.read_text("utf-8"))) for place, path in places if not place.startswith(OUTSIDE))


Rule = Callable[[str, ast.Module], Iterator[str]]
MAY_CHECK: Final = {
    "_http/api_key.py": "refuses a key",
    "_core/codec.py": "leaves ids out",
}
"""Modules that ask whether a text is printable, and change none."""
MAY_CHANGE: Final = {"redact_fault": "takes the key out of causes", "filter": "cleans log records"}
"""Functions that change the arguments of an exception or of a record."""
CLEANS: Final = "_base/text.py"
LOGS: Final = "_core/safe_log.py"
LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
RAW: Final = frozenset({"body", "content", "headers", "json", "prompt", "raw"})
"""Attributes that hold what was sent or received, which no log record quotes."""


def cleans_by_itself(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield each place where another module than the one of `safe_text` takes characters out of texts."""
    if place == CLEANS:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="isprintable") if place not in MAY_CHECK:
                yield f"line {node.lineno}: isprintable"
            case ast.Import(names=[ast.alias(name="unicodedata")]):
                yield f"line {node.lineno}: unicodedata"
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.Call(func=ast.Attribute(attr="split"), args=[])]):
                yield f"line {node.lineno}: joins what was split at white space"
            case ast.Call(func=ast.Attribute(attr="compile"), args=[ast.Constant(value=str(pattern)), *_]):
                if any(control in pattern for control in (r"\x0", r"\x1", r"\x7f", r"\u20")):
                    yield f"line {node.lineno}: a pattern of control characters"
            case _:
                pass


def goes_around_the_errors(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield each error class that makes its own message, and each change of the message of an error."""
    names = set(errors.__all__)
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    allowed = {id(part) for one in functions if one.name in MAY_CHANGE for part in ast.walk(one)}
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef() if place != "errors.py":
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
                if bases & names and methods & {"__init__", "__new__", "__str__", "_clean"}:
                    yield f"line {node.lineno}: {node.name} makes its own message"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="Exception"), attr="__init__" | "__new__")):
                yield f"line {node.lineno}: calls the constructor of Exception"
            case ast.Assign() | ast.AugAssign() | ast.AnnAssign() if id(node) not in allowed:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in (part for one in targets for part in ast.walk(one)):
                    if isinstance(target, ast.Attribute) and target.attr in {"args", "__dict__"}:
                        yield f"line {node.lineno}: sets {target.attr}"
            case _:
                pass


def log_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call that logs, with its level."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level)) if level in LEVELS:
                yield level, node
            case _:
                pass


def logs_what_is_raw(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield each log call whose message is no constant, or that quotes a body, headers or a prompt."""
    if place == LOGS:
        return
    for level, call in log_calls(tree):
        message = call.args[1 if level == "log" else 0]
        if not (isinstance(message, ast.Constant) and isinstance(message.value, str)):
            yield f"line {call.lineno}: the message is no constant"
        sizes = {id(part) for one in ast.walk(call) if is_size(one) for part in ast.walk(one)}
        for node in ast.walk(call):
            if not isinstance(node, ast.Attribute) or id(node) in sizes:
                continue
            is_prompt = node.attr == "label" and ast.unparse(node.value).split(".")[-1] == "request"
            if node.attr in RAW or (is_prompt and level != "debug"):
                yield f"line {call.lineno}: quotes {ast.unparse(node)}"


def is_size(node: ast.AST) -> bool:
    """Return True for an expression that counts something."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def logs_elsewhere(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield each use of another logger than the one whose handlers cannot break the work, and each print."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logging"), attr=name)) if place != LOGS:
                if name in {*LEVELS, "getLogger"}:
                    yield f"line {node.lineno}: logging.{name}"
            case ast.Call(func=ast.Name(id="print")):
                yield f"line {node.lineno}: prints"
            case ast.Attribute(value=ast.Name(id="sys"), attr="stderr" | "stdout"):
                yield f"line {node.lineno}: writes to the terminal"
            case ast.ImportFrom(module="logging"):
                yield f"line {node.lineno}: imports from logging"
            case _:
                pass


def labels_by_the_prompt(place: str, tree: ast.Module) -> Iterator[str]:
    """Yield each text outside of `Labels` and log records that is made of the beginning of a prompt."""
    logged = {id(part) for _, call in log_calls(tree) for part in ast.walk(call)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="label", value=ast.Name(id="request") | ast.Attribute(attr="request")):
                if place != "_core/labels.py" and id(node) not in logged:
                    yield f"line {node.lineno}: {ast.unparse(node)}"
            case _:
                pass


BYPASSES: Final[dict[Rule, tuple[str, ...]]] = {
    cleans_by_itself: (
        "''.join(c for c in text if c.isprintable())",
        "import unicodedata",
        "' '.join(text.split())",
        r"re.compile(r'[\x00-\x1f]')",
        r"re.compile(r'[\u202a-\u202e]+')",
    ),
    goes_around_the_errors: (
        "class Odd(UnexpectedResponse):\n    def __init__(self, text):\n        pass",
        "class Odd(AioweryError):\n    def __str__(self):\n        return self.raw",
        "Exception.__init__(error, text)",
        "error.args = (text,)",
        "error.raw, error.args = None, (text,)",
        "error.__dict__ = {}",
    ),
    logs_what_is_raw: (
        "log.info(f'failed: {text}')",
        "log.info(text)",
        "log.log(logging.INFO, 'a' + text)",
        "log.warning('odd: %s', response.body)",
        "log.debug('odd: %s', response.json())",
        "log.info('sent: %s', submission.request.label)",
        "log.info('sent: %s', self.request.prompt)",
    ),
    logs_elsewhere: (
        "logging.getLogger('aiowery').info('x')",
        "logging.warning('x')",
        "print(text)",
        "sys.stderr.write(text)",
        "from logging import getLogger",
    ),
    labels_by_the_prompt: (
        "raise NotSent(f'{request.label}: nothing was sent')",
        "JobAccepted(label=submission.request.label)",
    ),
}
"""The rules, each with code that it must find."""


@pytest.mark.parametrize("rule", BYPASSES, ids=lambda rule: rule.__name__)
def test_library_nowhere_goes_around_the_border(rule: Rule) -> None:
    """No module cleans texts by itself, changes the message of an error, or logs what is raw."""
    assert [f"{place}, {fault}" for place, tree in library() for fault in rule(place, tree)] == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [(rule, code) for rule, codes in BYPASSES.items() for code in codes],
    ids=lambda one: getattr(one, "__name__", str(one)[:40]),
)
def test_rule_code_that_goes_around_is_found(rule: Rule, code: str) -> None:
    """Each rule finds each way around the border that is known."""
    assert list(rule("_core/other.py", ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "log.info('uploaded: %d bytes', len(file.content))",
        "log.debug('prompt: %s', submission.request.label)",
        "log.log(level, 'odd: %s', error)",
        "numbers = text.split()",
        "class Held(NotSent):\n    '''A submission that waits.'''",
        r"re.compile(rb'[\x00-\x1f]')",
    ],
)
def test_rules_harmless_code_is_left_alone(code: str) -> None:
    """Sizes, prompts at DEBUG, constants and patterns for bytes are allowed."""
    assert [fault for rule in BYPASSES for fault in rule("_core/other.py", ast.parse(code))] == []


def test_rules_read_the_library() -> None:
    """The rules see the modules, and the allowed places still exist."""
    places = {place for place, _ in library()}
    assert {CLEANS, LOGS, *MAY_CHECK} <= places
    assert sum(1 for _, tree in library() for _ in log_calls(tree)) > 40
