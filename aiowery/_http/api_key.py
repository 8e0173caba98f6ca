"""The API key, and who may see it: nobody but the door."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from aiowery._core.events import redact_key
from aiowery.errors import ConfigurationError

ApiKey = str | Callable[[], str | Awaitable[str]]


class ApiKeySource:
    """The API key, or the callable (plain or async) that knows it. Asked once, and again after a refusal."""

    def __init__(self, source: ApiKey) -> None:
        self._source = source
        self._key: str | None = None

    def __repr__(self) -> str:
        return "Credential(***)"

    async def key(self) -> str:
        """Return the key in use."""
        if self._key is None:
            self._key = await self._read_source()
        return self._key

    async def refresh_if_stale(self, refused: str) -> bool:
        """Ask the callable again, unless somebody has already; whether there is another key than the refused one."""
        if self._key == refused and not isinstance(self._source, str):
            self._key = await self._read_source()
        return self._key != refused

    async def _read_source(self) -> str:
        try:
            key: object = self._source if isinstance(self._source, str) else self._source()
            if inspect.isawaitable(key):
                key = await key
        except Exception as fault:
            raise ConfigurationError(f"api_key: the callable raised {type(fault).__name__}") from fault
        if not isinstance(key, str) or not key.strip():
            raise ConfigurationError("api_key: the callable gave no key; it must return a non-empty string")
        if not (key.isascii() and key.strip().isprintable()):
            raise ConfigurationError("api_key: the key holds characters that no HTTP header can carry")
        redact_key(key.strip())
        return key.strip()
