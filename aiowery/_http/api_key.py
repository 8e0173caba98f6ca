"""The API key, or the callable that returns it. Only the HTTP layer reads it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from aiowery._core.redaction import MIN_KEY_LENGTH, redact_key
from aiowery.errors import ConfigurationError

ApiKey = str | Callable[[], str | Awaitable[str]]


class ApiKeySource:
    """A source of the API key: a string, or a callable (plain or async) that returns one.

    The callable runs once, and again after the provider rejected the key.
    """

    def __init__(self, source: ApiKey) -> None:
        self._source = source
        self._key: str | None = None

    def __repr__(self) -> str:
        return "ApiKeySource(***)"

    async def key(self) -> str:
        """Return the key in use."""
        if self._key is None:
            self._key = await self._read_source()
        return self._key

    async def refresh_if_stale(self, rejected: str) -> bool:
        """Run the callable again, unless that has been done since the rejection.

        Returns True if there is another key than the rejected one.
        """
        if self._key == rejected and not isinstance(self._source, str):
            self._key = await self._read_source()
        return self._key != rejected

    async def _read_source(self) -> str:
        try:
            key: object = self._source if isinstance(self._source, str) else self._source()
            if inspect.isawaitable(key):
                key = await key
        except Exception as fault:
            raise ConfigurationError(
                f"api_key: the callable raised {type(fault).__name__}; nothing was sent: correct the callable"
            ) from fault
        if not isinstance(key, str) or not key.strip():
            raise ConfigurationError(
                f"api_key: the callable must return a non-empty string, got {type(key).__name__}; nothing was sent"
            )
        if not (key.isascii() and key.strip().isprintable()):
            raise ConfigurationError(
                "api_key must hold only characters that an HTTP header can carry; nothing was sent: check the key"
            )
        key = key.strip()
        if len(key) < MIN_KEY_LENGTH:
            raise ConfigurationError(
                f"api_key must have at least {MIN_KEY_LENGTH} characters, got {len(key)}; nothing was sent: check it"
            )
        redact_key(key)
        return key
