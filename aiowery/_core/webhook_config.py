"""Being called back: under which address, and who wants to hear of it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import attrs

from aiowery._core.urls import validate_url
from aiowery.errors import ConfigurationError

_BYTES: Final = 16
TOKEN_LENGTH: Final = 2 * _BYTES


def new_token() -> str:
    """Return what nobody can guess: the last part of the address at which one submission's end is told."""
    return secrets.token_hex(_BYTES)


def submission_id_of(token: str) -> str:
    """Return the mark under which the ledger knows a submission: a hash of its token.

    So whoever looks for a mark compares hashes, whose timing tells nothing of a token, and who reads the ledger learns
    no address.
    """
    return hashlib.blake2b(token.encode(), digest_size=_BYTES).hexdigest()


@attrs.define
class WebhookState:
    """What a job hears from the provider by itself, under its mark `ref`.

    `awaited`: the provider was told to call, so looks may wait. `called`: it has. `woken`: it has since the latest look
    began. `futile`: how many looks in a row, from the first that a call had woken, have found nothing new; the latest
    was at `looked_at`.
    """

    submission_id: str
    awaited: bool
    has_delivered: bool = False
    poll_requested: bool = False
    useless_wakeups: int = 0
    polled_at: float = 0.0


@attrs.frozen
class TaskDelivery:
    """The content of a webhook delivery: a task, and whether the provider reports it as finished."""

    task_id: str
    finished: bool


class DeliveryHandler(Protocol):
    """A client that submits, or the ledger of such clients in other processes."""

    def knows(self, submission_id: str) -> Coroutine[Any, Any, bool]:
        """Return True if the submission is known here, whatever has become of it."""
        ...

    def on_delivery(self, submission_id: str, body: bytes) -> Coroutine[Any, Any, bool]:
        """Record a delivery; return False if the submission is not known here, or the task is not its own.

        Raises UnexpectedResponse for a body that is no delivery.
        """
        ...


class DeliverySource(Protocol):
    """Where calls arrive: an `aiowery.webhook.Receiver`."""

    def attach(self, recipient: DeliveryHandler) -> None:
        """Hand what arrives from here on to this recipient too, in the event loop that is running now."""
        ...

    def detach(self, recipient: DeliveryHandler) -> None:
        """Hand nothing more to it."""
        ...


@attrs.frozen(kw_only=True)
class Webhooks:
    """Have the provider call back when a task ends, instead of asking it every few seconds.

    `public_url`: where the provider reaches the `receiver`: https (or http on loopback, for a sandbox), with the path
    at which it is mounted. Each submission adds a secret of its own to it. Without a `receiver` here, another process
    receives (`aiowery webhook`, say), and tells of it through the ledger file that both share.

    A call is a hint: a status check, made at once, confirms it. Where calls do not come, polling is as without them.
    """

    public_url: str = attrs.field()
    receiver: DeliverySource | None = None

    @public_url.validator
    def _is_an_address(self, _: attrs.Attribute[str], public_url: str) -> None:
        validate_url("public_url", public_url, carries="each submission's secret")

    def __attrs_post_init__(self) -> None:
        told: object = self.receiver  # whatever the annotations say
        if isinstance(told, type) or (told is not None and not hasattr(told, "attach")):
            raise ConfigurationError(f"Webhooks.receiver is {told!r}; an aiowery.webhook.Receiver() is needed")

    def address(self, token: str) -> str:
        """Return the address for one submission."""
        return f"{self.public_url.rstrip('/')}/{token}"
