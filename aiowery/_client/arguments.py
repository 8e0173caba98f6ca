"""What a caller sets, checked: the way through the door, names of batches, credits, how to be called back."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final, TypeVar
from urllib.parse import urlsplit

from aiowery._core.policies import FASTEST
from aiowery._core.urls import is_loopback
from aiowery._core.webhook_config import Webhooks
from aiowery.errors import ConfigurationError

T = TypeVar("T")

_SPEED: Final = "AIOWERY_SANDBOX_SPEED"


def checked_http(http: T) -> T:
    """Return what HTTP goes through; ConfigurationError for a word that is none, or needs what is not installed."""
    if isinstance(http, str) and http != "fast":
        raise ConfigurationError(f'http is {http!r}; "fast", or an httpx.AsyncClient or httpx2.AsyncClient, is needed')
    if http == "fast" and find_spec("pyreqwest") is None:
        raise ConfigurationError("http='fast' needs pyreqwest: pip install 'aiowery[fast]'")
    return http


def checked_name(batch: object) -> str:
    """Return the name of a batch; ConfigurationError for what is none."""
    if not isinstance(batch, str) or not batch:
        raise ConfigurationError(f"batch is {batch!r}; a name is needed")
    return batch


def checked_webhooks(webhooks: object, ledger: object) -> Webhooks | None:
    """Return how to be called back; ConfigurationError where nobody would ever hear of a call."""
    if webhooks is None:
        return None
    if not isinstance(webhooks, Webhooks):
        raise ConfigurationError(f"webhooks is {webhooks!r}; Webhooks(public_url=..., receiver=...) is needed")
    if webhooks.receiver is None and ledger is None:
        raise ConfigurationError(
            "Webhooks without a receiver need a ledger in a file, through which another process tells what it receives:"
            " give Webhooks(receiver=Receiver()), or ledger='jobs.db'"
        )
    return webhooks


def checked_credits(name: str, value: float | None) -> float | None:
    """Return a number of credits, or of money; ConfigurationError for what is none."""
    given: object = value  # whatever the annotations say
    if given is not None and not (isinstance(given, (int, float)) and 0 <= given < float("inf")):
        raise ConfigurationError(f"{name} is {given!r}; a number, 0 or more, is needed")
    return value


def sandbox_speed(base_url: str) -> float:
    """Return how many times as fast as usual the default policies run.

    That is 1, unless `base_url` is on loopback, where AIOWERY_SANDBOX_SPEED may say how fast a sandbox's time is.
    ConfigurationError if it holds no number above 0 and at most 1000.
    """
    given = os.environ.get(_SPEED)
    if not given or not is_loopback(urlsplit(base_url).hostname or ""):
        return 1.0
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(
            f"the environment variable {_SPEED} is {given!r}; a number above 0 and at most {FASTEST} is needed"
        )
    return speed
