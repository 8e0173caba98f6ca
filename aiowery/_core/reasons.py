"""Find the text with which a provider explains a failure, whatever its field is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

_FIELDS: Final = (
    "error",
    "msg",
    "message",
    "taskstatusmsg",
    "failreason",
    "failurereason",
    "failedreason",
    "reason",
    "errormessage",
    "errormsg",
    "failmessage",
    "failmsg",
    "statusmessage",
    "statusmsg",
    "detail",
    "details",
    "errors",
    "desc",
)
"""The fields that may explain a failure, without case and underscores."""
_MEANINGLESS: Final = frozenset(
    {"", "0", "200", "ok", "success", "succeed", "error", "fail", "failed", "failure", "null", "none", "unknown"}
)
_MAX_DEPTH: Final = 3
_MAX_ITEMS: Final = 8


def reason_in(*parts: Any, status: str = "") -> str | None:
    """Return the first text in these parts of a response that explains a failure; None if there is none.

    Words that explain nothing are skipped, such as "success", or the task's own `status`.
    """
    texts = (text for part in parts if isinstance(part, Mapping) for text in _texts(part, _MAX_DEPTH))
    skipped = {*_MEANINGLESS, status.strip().casefold()}
    return next((text for text in texts if text.casefold() not in skipped), None)


def _texts(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, list) and depth:
        for item in islice(value, _MAX_ITEMS):
            yield from _texts(item, depth - 1)
    elif isinstance(value, Mapping) and depth:
        found = {name.replace("_", "").casefold(): member for name, member in value.items() if isinstance(name, str)}
        for name in _FIELDS:
            yield from _texts(found.get(name), depth - 1)
