"""Configuration of webhooks: the URL of each submission, and the handlers of deliveries."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import attrs

from aiowery._base.secret import Secret
from aiowery._core.redaction import KeyRedactor, base64_spellings, spellings_as_text
from aiowery._core.urls import validate_url
from aiowery.errors import ConfigurationError

_BYTES: Final = 16
TOKEN_LENGTH: Final = 2 * _BYTES
"""The number of characters of a token."""
_TOKEN: Final = re.compile(rb"[0-9a-fA-F]{32}")
# By its place, its first or last character holds bits of what is beside it.
_BASE64_TOKEN: Final = re.compile(rb"[0-9A-Za-z+/_-]{43,44}")
_SLASHES: Final = ("&#x2f;", "&#47;", "\\u002f")
_MAX_URLS: Final = 100
_addresses: Final[dict[str, dict[bytes, bool]]] = {}
"""By public URL in use: the spellings of what stands before a token, in small letters; True for those in base64."""


def without_addresses(body: bytes) -> bytes:
    """Return a response's body with stars in place of the secret in each webhook URL below a public URL in use.

    It is found in all spellings in which a key is found.
    """
    if not _addresses:
        return body
    lowered = body.lower()
    for spellings in _addresses.values():
        for prefix, is_base64 in spellings.items():
            if prefix in lowered:
                body = _without_tokens(body, lowered, prefix, is_base64=is_base64)
                lowered = body.lower()
    return body


def _without_tokens(body: bytes, lowered: bytes, prefix: bytes, *, is_base64: bool) -> bytes:
    """Return a body with stars in place of the tokens behind a prefix; `lowered` is the same body in small letters."""
    parts: list[bytes] = []
    start, place = 0, lowered.find(prefix)
    while place >= 0:
        place += len(prefix)
        token = _BASE64_TOKEN.match(body, place) if is_base64 else _TOKEN.match(body, place)
        if token is not None:
            parts += [body[start:place], b"***"]
            start = token.end()
        place = lowered.find(prefix, place)
    parts.append(body[start:])
    return b"".join(parts)


def without_token(body: bytes, token: Secret) -> bytes:
    """Return the body of a delivery without the secret of its URL, which a provider may quote."""
    return KeyRedactor(token.reveal()).redact_bytes(body)


def _hide_addresses(public_url: str) -> None:
    """Hide the webhook URLs below this URL from now on. The latest 100 are remembered."""
    prefix = f"{public_url}/"
    plain = spellings_as_text(prefix) | {prefix.replace("/", slash) for slash in _SLASHES}
    found = dict.fromkeys(plain, False) | dict.fromkeys(base64_spellings(prefix.encode()), True)
    _addresses[public_url] = {spelling.lower().encode(): is_base64 for spelling, is_base64 in found.items()}
    if len(_addresses) > _MAX_URLS:
        del _addresses[next(iter(_addresses))]


def new_token() -> str:
    """Return a random secret: the last part of one submission's webhook URL."""
    return secrets.token_hex(_BYTES)


def submission_id_of(token: str) -> str:
    """Return the submission id that the ledger stores: a hash of the token.

    Searches compare hashes, so their timing leaks nothing about the token, and the ledger reveals no webhook URL.
    """
    return hashlib.blake2b(token.encode(), digest_size=_BYTES).hexdigest()


@attrs.define
class WebhookState:
    """The webhook state of one job."""

    submission_id: str
    """The id of the job's submission."""
    awaited: bool
    """True if the provider received the webhook URL, so polls may wait for a delivery."""
    has_delivered: bool = False
    """True after a delivery arrived."""
    poll_requested: bool = False
    """True if a delivery arrived after the latest poll began."""
    useless_wakeups: int = 0
    """The number of polls in a row without news, counted from the first one that a delivery caused."""
    polled_at: float = 0.0
    """The event loop's time of the latest poll."""


@attrs.frozen
class TaskDelivery:
    """The content of a webhook delivery."""

    task_id: str
    """The id of the task."""
    finished: bool
    """True if the provider reports the task as finished."""


class DeliveryHandler(Protocol):
    """A receiver of deliveries: an open client, or the ledger of clients in other processes."""

    def is_awaited(self, submission_id: str) -> bool:
        """Return True if a job waits here for the submission's delivery, as far as memory shows without a ledger."""
        ...

    def knows(self, submission_id: str) -> Coroutine[Any, Any, bool]:
        """Return True if the submission is known here, whatever its state is."""
        ...

    def on_delivery(self, submission_id: str, body: bytes) -> Coroutine[Any, Any, bool]:
        """Record a delivery. Return False if the submission is not known here, or the task belongs to another one.

        Raises UnexpectedResponse if the body is no delivery.
        """
        ...


class DeliverySource(Protocol):
    """A source of deliveries, such as an `aiowery.webhook.Receiver`."""

    def attach(self, recipient: DeliveryHandler) -> None:
        """Pass deliveries to this recipient too, in the event loop that is running now."""
        ...

    def detach(self, recipient: DeliveryHandler) -> None:
        """Stop passing deliveries to this recipient."""
        ...


@attrs.frozen(kw_only=True)
class Webhooks:
    """Webhook deliveries from the provider when a task ends, instead of a poll every few seconds.

    A delivery is a hint, which an immediate status check confirms. If deliveries are missing, jobs are polled as
    without webhooks.
    """

    public_url: str = attrs.field()
    """The URL at which the provider reaches the receiver, with the path at which it is mounted: https, or http on
    loopback for a sandbox. Each submission appends its own secret to it. Required."""
    receiver: DeliverySource | None = None
    """The receiver in this process. None (the default) if another process receives the deliveries, such as
    `aiowery webhook`. That process and this client must share a ledger file."""

    @public_url.validator
    def _is_valid_url(self, _: attrs.Attribute[str], public_url: str) -> None:
        validate_url("public_url", public_url, carries="each submission's secret")

    def __attrs_post_init__(self) -> None:
        receiver: object = self.receiver  # callers may ignore the annotation
        if isinstance(receiver, type) or (receiver is not None and not hasattr(receiver, "attach")):
            raise ConfigurationError(f"Webhooks.receiver must be an aiowery.webhook.Receiver(), got {receiver!r}")
        _hide_addresses(self.public_url.rstrip("/"))

    def address(self, token: str) -> str:
        """Return the webhook URL of one submission."""
        return f"{self.public_url.rstrip('/')}/{token}"
