"""What a caller sets, checked: the way through the door, names of batches, credits, how to be called back."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TypeVar

from aiowery._webhooks import Webhooks
from aiowery.errors import ConfigurationError

T = TypeVar("T")


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
