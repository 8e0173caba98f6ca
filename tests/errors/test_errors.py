"""The tree of errors is as drawn in the module's docstring, and every error keeps its fields in a copy or pickle."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from aiowery import AioweryError, Snapshot, TaskState, errors
from aiowery._core.request import Request
from aiowery.weryai import TextToImage

CLASSES: list[type[AioweryError]] = [getattr(errors, name) for name in errors.__all__]
SNAPSHOT = Snapshot("t1", TaskState.FAILED, "FAILED", reason="blurred", raw={"task_id": "t1"})
REQUEST: Request[Any] = TextToImage(prompt="hills", extra={"seed": 1})

KNOWN: dict[str, Any] = {
    "request_id": "req-1",
    "http_status": 429,
    "raw": {"status": 6010, "data": [None]},
    "faults": ("$.data: an object is expected, got null",),
    "code": 6010,
    "retry_after": 2.5,
    "is_concurrency_limit": True,
    "request": REQUEST,
    "sent_at": 1_767_000_000.0,
    "task_ids": ("t1", "t2"),
    "snapshots": (SNAPSHOT,),
    "job": object(),
    "url": "https://cdn.example/r/1.png",
    "path": Path("out") / "1.png",
    "position": 3,
    "starts_in": 150.5,
    "cost": 2.0,
    "used": 9.5,
    "budget": 10.0,
}


def arguments(cls: type[AioweryError]) -> dict[str, Any]:
    """Return an argument for every keyword that the class takes."""
    parameters = inspect.signature(cls).parameters.values()
    return {one.name: KNOWN[one.name] for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Return the tree in the module's docstring: each name with its parent and its base in brackets."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^ {4}((?:[│ ] {3})*(?:[├└]── )?)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if found:
            depth = len(found[1]) // 4
            del path[depth:]
            tree[found[2]] = (path[-1] if path else None, found[3])
            path.append(found[2])
    return tree


def test_errors_drawing_has_every_class() -> None:
    """The drawn, the listed and the defined classes are the same."""
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert set(drawn()) == set(errors.__all__) == defined


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_bases_are_as_drawn(name: str) -> None:
    """Each class derives from the one above it in the drawing, and otherwise only from the one in brackets."""
    parent, bracketed = drawn()[name]
    expected = [getattr(errors, parent)] if parent else [Exception]
    if bracketed:
        expected.append(getattr(builtins, bracketed))
    assert list(getattr(errors, name).__bases__) == expected


def test_errors_drawn_fields_exist() -> None:
    """A field in the drawing exists in the class and in those below it."""
    promised = re.findall(r"([A-Z]\w+)(?: \(\w+\))?  .*?((?: ?\.[a-z_]+)+)", errors.__doc__ or "")
    assert {name for name, _ in promised} >= {
        "UnexpectedResponse",
        "APIError",
        "JobError",
        "JobTimeout",
        "DownloadError",
    }
    for name, fields in promised:
        for field in re.findall(r"\.([a-z_]+)", fields):
            for cls in CLASSES:
                assert hasattr(cls(), field) or not issubclass(cls, getattr(errors, name))


def test_errors_all_is_sorted_without_duplicates() -> None:
    """`__all__` is sorted, so that a merge cannot lose a name unnoticed."""
    assert list(errors.__all__) == sorted(set(errors.__all__))


@pytest.mark.parametrize(
    ("cls", "builtin"), [(errors.ConfigurationError, ValueError), (errors.JobTimeout, TimeoutError)]
)
def test_errors_derived_from_builtins_are_caught_as_such(cls: type[AioweryError], builtin: type[Exception]) -> None:
    """Code that does not import aiowery can catch ConfigurationError as ValueError and JobTimeout as TimeoutError."""
    with pytest.raises(builtin, match="message"):
        raise cls("message")
    assert [one for one in CLASSES if issubclass(one, builtin)] == [cls]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_fields_have_names_and_defaults(cls: type[AioweryError]) -> None:
    """An error needs no arguments, and each keyword argument becomes the attribute of its name."""
    assert str(cls()) == ""
    error = cls("what happened", **arguments(cls))
    assert error.message == str(error) == "what happened"
    assert vars(error) == {"request_id": None, **arguments(cls)}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_pickle_keeps_all_but_the_job(cls: type[AioweryError], protocol: int) -> None:
    """Class, message, fields and `__notes__` are pickled, and only a live job is not."""
    error = cls("what happened", **arguments(cls))
    error.add_note("seen by the caller")
    other = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    assert type(other) is cls
    assert (str(other), other.args) == ("what happened", ("what happened",))
    assert vars(other) == {**vars(error), **({"job": None} if cls is errors.JobTimeout else {})}
    assert other.__notes__ == ["seen by the caller"]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_copy_keeps_message_and_fields(cls: type[AioweryError], duplicate: Any) -> None:
    """A copy has the same message and fields, because a job raises one for each of its waiters."""
    error = cls("what happened", **arguments(cls))
    other = duplicate(error)
    assert (type(other), str(other)) == (cls, "what happened")
    given, copied = dict(vars(error)), dict(vars(other))
    given.pop("job", None)
    copied.pop("job", None)
    assert copied == given


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_error_class_has_its_own_docstring(cls: type[AioweryError]) -> None:
    """Each class has a docstring of its own."""
    assert cls.__doc__
    assert cls.__doc__ not in {base.__doc__ for base in cls.__mro__[1:]}
