"""The API key, or the callable that returns it. Only the HTTP layer reads it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from aiowery._base.secret import Secret, hide
from aiowery._core.redaction import MIN_KEY_LENGTH, redact_key
from aiowery.errors import ConfigurationError

ApiKey = str | Secret | Callable[[], str | Awaitable[str]]


class ApiKeySource:
    """A source of the API key: a string, or a callable (plain or async) that returns one.

    The callable runs once, and again after the provider rejected the key.
    """

    def __init__(self, source: ApiKey) -> None:
        self._source: Any = hide(source)
        if not (isinstance(self._source, Secret) or callable(self._source)):
            name = type(self._source).__name__  # the value may be a key
            raise ConfigurationError(
                f"api_key must be a string, or a callable that returns one, got {name}; nothing was sent"
            )
        self._key: Secret | None = None

    def __repr__(self) -> str:
        return "ApiKeySource(***)"

    async def key(self) -> Secret:
        """Return the key in use."""
        if self._key is None:
            self._key = await self._read_source("nothing was sent")
        return self._key

    async def refresh_if_stale(self, rejected: Secret) -> bool:
        """Run the callable again, unless that has been done since the rejection.

        Returns True if there is another key than the rejected one.
        """
        if self._key == rejected and not isinstance(self._source, Secret):
            self._key = await self._read_source("the key before was rejected, and the request is not sent again")
        return self._key != rejected

    async def _read_source(self, fact: str) -> Secret:
        try:
            key = hide(self._source if isinstance(self._source, Secret) else self._source())
            if inspect.isawaitable(key):
                key = hide(await key)
        except Exception as fault:
            raise ConfigurationError(
                f"api_key: the callable raised {type(fault).__name__}; {fact}: correct the callable"
            ) from fault
        if not isinstance(key, Secret) or not key.reveal().strip():
            name = "str" if isinstance(key, Secret) else type(key).__name__
            raise ConfigurationError(f"api_key: the callable must return a non-empty string, got {name}; {fact}")
        return _checked(Secret(key.reveal().strip()), fact)


def _checked(key: Secret, fact: str) -> Secret:
    """Return a key that can be sent and redacted. Raises ConfigurationError for any other."""
    if not (key.reveal().isascii() and key.reveal().isprintable()):
        raise ConfigurationError(
            f"api_key must hold only characters that an HTTP header can carry; {fact}: check the key"
        )
    if len(key.reveal()) < MIN_KEY_LENGTH:
        raise ConfigurationError(
            f"api_key must have at least {MIN_KEY_LENGTH} characters, got {len(key.reveal())}; {fact}: check it"
        )
    redact_key(key)
    return key
