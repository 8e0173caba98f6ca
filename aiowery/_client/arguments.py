"""Check the arguments of a client: `http`, names of batches, credits, webhooks."""

from __future__ import annotations

import os
from typing import Final, TypeVar
from urllib.parse import urlsplit

from aiowery._core.policies import FASTEST
from aiowery._core.urls import is_loopback
from aiowery._core.webhook_config import Webhooks
from aiowery.errors import ConfigurationError

T = TypeVar("T")

_SPEED: Final = "AIOWERY_SANDBOX_SPEED"


def checked_http(http: T) -> T:
    """Return the transport choice. Raises ConfigurationError if it is unknown."""
    if isinstance(http, str) and http != "httpx":
        raise ConfigurationError(
            f'http must be "httpx", an httpx.AsyncClient or an httpx2.AsyncClient, got {http!r}; nothing was sent'
        )
    return http


def checked_name(batch: object) -> str:
    """Return the name of a batch. Raises ConfigurationError for anything but a non-empty string."""
    if not isinstance(batch, str) or not batch:
        raise ConfigurationError(f"batch must be a non-empty string, got {batch!r}; nothing was sent")
    return batch


def checked_webhooks(webhooks: object, ledger: object) -> Webhooks | None:
    """Return the webhooks. Raises ConfigurationError if no delivery could ever reach the client."""
    if webhooks is None:
        return None
    if not isinstance(webhooks, Webhooks):
        raise ConfigurationError(
            f"webhooks must be Webhooks(public_url=..., receiver=...), got {webhooks!r}; nothing was sent"
        )
    if webhooks.receiver is None and ledger is None:
        raise ConfigurationError(
            "Webhooks without a receiver need a ledger in a file, in which another process records deliveries; nothing"
            " was sent: give Webhooks(receiver=Receiver()), or ledger='jobs.db'"
        )
    return webhooks


def checked_credits(name: str, value: float | None) -> float | None:
    """Return an amount of credits or of money. Raises ConfigurationError unless it is None or a number >= 0."""
    given: object = value  # a caller without a type checker may pass anything
    if given is not None and not (isinstance(given, (int, float)) and 0 <= given < float("inf")):
        raise ConfigurationError(f"{name} must be a number >= 0, got {given!r}; nothing was sent")
    return value


def sandbox_speed(base_url: str) -> float:
    """Return the factor by which the default policies are faster than usual.

    It is 1, unless `base_url` is on loopback and AIOWERY_SANDBOX_SPEED holds the speed of a sandbox. Raises
    ConfigurationError if that is not a number above 0 and at most 1000.
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
            f"the environment variable {_SPEED} must be a number above 0 and at most {FASTEST}, got {given!r}; nothing"
            " was sent"
        )
    return speed
