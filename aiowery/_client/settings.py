"""Check the types of a client's settings, when the client is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiowery._client.arguments import is_number, refused
from aiowery._core.policies import Limits, PollPolicy, RetryPolicy

_Check = tuple[Callable[[Any], bool], str]


def _is_ledger(value: object) -> bool:
    return isinstance(value, (str, os.PathLike)) or hasattr(value, "mark_sending")


_CHECKS: Final[Mapping[str, _Check]] = {
    "limits": (lambda value: isinstance(value, Limits), "aiowery.Limits(...)"),
    "polling": (lambda value: isinstance(value, PollPolicy), "aiowery.PollPolicy(...)"),
    "retries": (lambda value: isinstance(value, RetryPolicy), "aiowery.RetryPolicy(...)"),
    "http_timeout": (lambda value: is_number(value) and value > 0, "a number of seconds > 0"),
    "observer": (callable, "a callable that takes one event"),
    "low_credits": (is_number, "a number of credits"),
    "ledger": (_is_ledger, "the path of a file, such as 'jobs.db', or an open ledger"),
    "prices": (
        lambda value: isinstance(value, Mapping) or callable(value),
        "a mapping from model or type to credits, or a function of a request",
    ),
    "other_hosts": (lambda value: isinstance(value, Mapping), "a mapping from name to base URL"),
    "queue_file": (lambda value: isinstance(value, (str, os.PathLike)), "the path of a file"),
}


def check_settings(**settings: object) -> None:
    """Raise ConfigurationError for a setting of the wrong type. None stands for the default, where there is one."""
    for name, value in settings.items():
        is_valid, expected = _CHECKS[name]
        if not ((value is None and name != "http_timeout") or is_valid(value)):
            raise refused(name, value, expected)
