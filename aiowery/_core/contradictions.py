"""Compare the echoes in a status response, such as prompt and model, with the request that is in doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from aiowery._core.codec import lenient_number

_TIME_FIELDS: Final = ("created_at", "createdAt", "create_time", "createTime", "created", "submitted_at")
_MAX_CLOCK_SKEW: Final = 600.0
_MAX_ZONE_OFFSET: Final = 14 * 3600.0
_MIN_SECONDS: Final = 1e9
_MIN_MILLISECONDS: Final = 1e11
_MIN_PREFIX: Final = 20
_NOT_ALPHANUMERIC: Final = re.compile(r"[\W_]+")


def contradicts(status: Mapping[str, Any], request: Mapping[str, Any], sent_at: float) -> bool:
    """Return True if a status response shows that another request started the task.

    `request` holds the request's values under the field names of the response. Fields that only one of them has are not
    compared. `sent_at` is in seconds since the epoch. A task that started more than ten minutes before it belongs to
    another request.
    """
    return any(_differ(status.get(name), value) for name, value in request.items()) or any(
        (started_at := _timestamp(status.get(name))) is not None and started_at < sent_at - _MAX_CLOCK_SKEW
        for name in _TIME_FIELDS
    )


def _differ(echo: Any, sent: Any) -> bool:
    """Return True if two values cannot be the same, however they are written; a text may have been shortened."""
    if isinstance(echo, str) and isinstance(sent, str):
        short, long = sorted((_normalized(echo), _normalized(sent)), key=len)
        return bool(short) and short != long and not (len(short) >= _MIN_PREFIX and long.startswith(short))
    numbers = lenient_number(echo), lenient_number(sent)
    return None not in numbers and numbers[0] != numbers[1]


def _normalized(text: str) -> str:
    """Return a text without case, spaces and punctuation, which providers often change."""
    return _NOT_ALPHANUMERIC.sub("", text.casefold())


def _timestamp(value: Any) -> float | None:
    """Return the latest point in time that a value can mean, in seconds since the epoch.

    It reads seconds or milliseconds since the epoch, and ISO 8601. A time without a zone is read in the zone that makes
    it latest. Return None for anything else, and for times before 2001, such as a 0 for an unset field.
    """
    number = lenient_number(value)
    if number is not None:
        seconds = number / 1000 if number > _MIN_MILLISECONDS else number
        return seconds if seconds > _MIN_SECONDS else None
    try:
        read = datetime.fromisoformat(value)
        return read.timestamp() if read.tzinfo else read.replace(tzinfo=UTC).timestamp() + _MAX_ZONE_OFFSET
    except (TypeError, ValueError, OverflowError):
        return None
