"""What a report of an error may show: a search for secrets in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TESTS = Path(__file__).parents[1]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, and all that it is chained to."""
    waiting, found = [error], set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in found:
            found.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _shown(error: BaseException) -> Iterator[str]:
    """Yield what a report of an error may show: texts, attributes, requests, and the variables of each frame."""
    for one in _chain(error):
        yield f"{one!r} {one} {one.args!r} {vars(one)!r}"
        with contextlib.suppress(RuntimeError, AttributeError):  # an exception of httpx without a request
            request: Any = one.request  # type: ignore[attr-defined]
            yield repr(dict(getattr(request, "headers", {})))
        trace = one.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            if not Path(frame.f_code.co_filename).is_relative_to(_TESTS):
                for name, value in frame.f_locals.items():
                    yield f"{frame.f_code.co_qualname}: {name} = {value!r}"


def assert_hides(error: BaseException, *secrets: str) -> None:
    """Fail if a report of an error could show one of the secrets."""
    assert [text for text in _shown(error) for secret in secrets if secret in text] == []
