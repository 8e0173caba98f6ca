"""The `trace` extension of httpx: reports of a request's phases, for telemetry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import httpx

ACQUIRE: Final = "connection.acquire"
SEND_HEAD: Final = "http11.send_request_headers"
RECEIVE_HEAD: Final = "http11.receive_response_headers"
_RECEIVE_BODY: Final = "http11.receive_response_body"
_CLOSE: Final = "http11.response_closed"

Trace = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Receives the name of an event, and one of `request`, `return_value` and `exception`."""


class Tracer:
    """A reporter of one request's phases to its `trace` extension, with the event names of httpcore.

    What the extension raises ends the request; then it is not called again.
    """

    def __init__(self, trace: Trace, request: httpx.Request) -> None:
        self._trace: Trace | None = trace
        self._request = request

    async def start(self, phase: str) -> None:
        """Report that a phase begins."""
        await self._report(f"{phase}.started", {"request": self._request})

    async def complete(self, phase: str, value: object = None) -> None:
        """Report that a phase is over."""
        await self._report(f"{phase}.complete", {"return_value": value})

    async def fail(self, phase: str, failure: BaseException) -> None:
        """Report that a phase has failed."""
        await self._report(f"{phase}.failed", {"exception": failure})

    async def close(self) -> None:
        """Report the end of the exchange."""
        await self.start(_CLOSE)
        await self.complete(_CLOSE)

    async def read(self, parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield the parts of a body, and report that it is read."""
        await self.start(_RECEIVE_BODY)
        try:
            async with aclosing(parts):
                async for part in parts:
                    yield part
        except BaseException as failure:
            await self.fail(_RECEIVE_BODY, failure)
            raise
        await self.complete(_RECEIVE_BODY)

    async def _report(self, event: str, info: Mapping[str, Any]) -> None:
        trace, self._trace = self._trace, None
        if trace is not None:
            await trace(event, info)
            self._trace = trace
