"""Echoes: the parts of a status answer that show which request began the task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiowery._core.codec import lenient_number

_MOMENTS: Final = ("created_at", "createdAt", "create_time", "createTime", "created", "submitted_at")
_SKEW: Final = 600.0
_ZONES: Final = 14 * 3600.0
_OLDEST: Final = 1e9
_MILLISECONDS: Final = 1e11
_CUT: Final = 20
_NO_LETTERS: Final = re.compile(r"[\W_]+")


def contradicts(answer: Mapping[str, Any], asked: Mapping[str, Any], sent_at: float) -> bool:
    """Return True if a status answer shows that another request began the task.

    `asked` holds the request's values under the names of the answer. Names that only one of them has are not compared.
    `sent_at` is in seconds since the epoch; a task that began more than ten minutes before it is another request's.
    """
    return any(_differ(answer.get(name), value) for name, value in asked.items()) or any(
        (moment := _timestamp(answer.get(name))) is not None and moment < sent_at - _SKEW for name in _MOMENTS
    )


def _differ(echo: Any, asked: Any) -> bool:
    """Return True if two values cannot be the same, however they are written; a text may have been cut."""
    if isinstance(echo, str) and isinstance(asked, str):
        short, long = sorted((_normalized(echo), _normalized(asked)), key=len)
        return bool(short) and short != long and not (len(short) >= _CUT and long.startswith(short))
    numbers = lenient_number(echo), lenient_number(asked)
    return None not in numbers and numbers[0] != numbers[1]


def _normalized(text: str) -> str:
    """Return a text without what is often written in another way: case, spaces, punctuation."""
    return _NO_LETTERS.sub("", text.casefold())


def _timestamp(value: Any) -> float | None:
    """Read a moment as late as it can be meant: seconds or milliseconds since the epoch, or ISO 8601 in any zone.

    None for anything else, and for numbers before 2001, such as a 0 where nothing was filled in.
    """
    number = lenient_number(value)
    if number is not None:
        seconds = number / 1000 if number > _MILLISECONDS else number
        return seconds if seconds > _OLDEST else None
    try:
        read = datetime.fromisoformat(value)
        return read.timestamp() if read.tzinfo else read.replace(tzinfo=UTC).timestamp() + _ZONES
    except (TypeError, ValueError, OverflowError):
        return None
