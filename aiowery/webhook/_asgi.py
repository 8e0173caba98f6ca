"""The receiver of webhook deliveries as an ASGI application, for any framework or for none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final, Self

from aiowery._base.secret import Secret
from aiowery.errors import ConfigurationError, WebhookError
from aiowery.ledger import Ledger, SqliteLedger
from aiowery.webhook._dispatch import DecodeDelivery, DeliveryDispatcher, LedgerSink
from aiowery.webhook._parsing import LARGEST, too_large

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MAX_BODIES: Final = 256
_MAX_LOOKUPS: Final = 1024
_BUSY: Final = "too many deliveries at the same time"
_POLICY_VIOLATION: Final = 1008


class Receiver(DeliveryDispatcher):
    """An ASGI application that receives webhook deliveries; mount it where `Webhooks(public_url=...)` points.

    `app.mount("/aiowery", receiver)` in Starlette and FastAPI, `asgi("/aiowery", is_mount=True)(receiver)` in Litestar,
    or `uvicorn` alone. Each client that is open with `Webhooks(receiver=...)` receives the deliveries of its own
    submissions. Several clients may share one receiver, also from other threads.

    With a `ledger` and the provider's `decode` function (`aiowery.weryai.decode_delivery`), it also records deliveries
    for clients in other processes, which notice them within a tenth of a second. The ledger is the path of the file
    that these clients use, or an open ledger.

    The response is 200 `OK` once a delivery is recorded. If the URL belongs to no submission, it is 404 before the
    body is received. If the delivery names another submission's task, it is 404 too. `largest` is the limit of a body
    in bytes, `within` the time for receiving it in seconds. Raises ConfigurationError for limits that are not above 0,
    and for a ledger without `decode`.
    """

    def __init__(
        self,
        *,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        decode: DecodeDelivery | None = None,
        largest: int = LARGEST,
        within: float = 10.0,
    ) -> None:
        if not (_is_positive(largest) and _is_positive(within)):
            raise ConfigurationError(
                f"Receiver: largest and within must be numbers above 0, got largest={largest!r}, within={within!r}"
            )
        if ledger is not None and decode is None:
            raise ConfigurationError(
                "Receiver: a ledger needs decode=..., which reads the provider's deliveries; give"
                " decode=aiowery.weryai.decode_delivery for WeryAI"
            )
        super().__init__(largest)
        self._within = within
        # Two limits, so that requests to unknown URLs cannot occupy the room for bodies.
        self._lookups = asyncio.Semaphore(_MAX_LOOKUPS)
        self._bodies = asyncio.Semaphore(_MAX_BODIES)
        self._owned_ledger: SqliteLedger | None = None
        self._sink: LedgerSink | None = None
        if ledger is not None:
            self._no_handler_reason = (
                "the receiver's ledger is not open; use `async with receiver` in the lifespan of the application"
            )
        if ledger is not None and decode is not None:
            if isinstance(ledger, (str, os.PathLike)):
                ledger = self._owned_ledger = SqliteLedger(ledger)
            self._sink = LedgerSink(ledger, decode)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open the receiver's ledger, if it has one. Raises LedgerError.

        A server that runs the receiver alone does this by its lifespan events. An application that mounts the receiver
        must do it in its own lifespan.
        """
        if self._sink is not None:
            if self._owned_ledger is not None:
                await self._owned_ledger.open()
            self.attach(self._sink)

    async def aclose(self) -> None:
        """Close the receiver's ledger, if the receiver opened it."""
        if self._sink is not None:
            self.detach(self._sink)
            if self._owned_ledger is not None:
                await self._owned_ledger.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        match scope["type"]:
            case "http":
                await self._serve_http(scope, receive, send)
            case "lifespan":
                await self._serve_lifespan(receive, send)
            case _:
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _respond(send, HTTPStatus.METHOD_NOT_ALLOWED, (b"allow", b"POST"))
            return
        status = await self._handle(scope, receive)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            await _respond(send, status, (b"retry-after", b"1"))
        elif status is not None:
            await _respond(send, status)

    async def _handle(self, scope: Scope, receive: Receive) -> int | None:
        """Return the HTTP status of the response; None if the connection was closed.

        A body is received only at the URL of a submission.
        """
        # Only the last part counts: frameworks differ in how much of a mounted path they pass on.
        token = Secret(scope["path"].rstrip("/").rpartition("/")[2])
        # What an open client waits for needs no lookup, so that strangers cannot keep it out while a ledger is slow.
        rejection = None if self.is_awaited(token) else await self._check_stranger(token)
        if rejection is not None:
            return rejection
        if self._bodies.locked():
            return self._fail(_BUSY)
        async with self._bodies:
            return await self._receive_and_record(token, scope, receive)

    async def _check_stranger(self, token: Secret) -> int | None:
        """Return the HTTP status that rejects a request to a URL that no job here waits for; None if it is known."""
        if self._lookups.locked():
            return self._fail(_BUSY)
        async with self._lookups:
            return await self.check_address(token)

    async def _receive_and_record(self, token: Secret, scope: Scope, receive: Receive) -> int | None:
        """Receive the body, record it, and return the HTTP status; None if the connection was closed."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            async with asyncio.timeout(self._within):
                body = await self._read_body(headers, receive)
        except WebhookError as error:
            return self.refuse(error)
        except TimeoutError:
            return self.refuse(WebhookError(f"the body was not complete within {self._within:g} s", http_status=408))
        if body is None:
            return None
        return await self.record(token, body, headers)

    async def _read_body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        content_length = headers.get("content-length", "")
        if content_length.isdecimal() and int(content_length[:20]) > self.largest:
            raise too_large(self.largest)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self.largest:
                raise too_large(self.largest)
            if not message.get("more_body", False):
                return bytes(body)

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        """Open and close the ledger with the server, if the receiver is served alone."""
        while (await receive())["type"] != "lifespan.shutdown":
            try:
                await self.open()
            except Exception as fault:
                await send({"type": "lifespan.startup.failed", "message": str(fault)})
                raise
            await send({"type": "lifespan.startup.complete"})
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _is_positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


async def _respond(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Send a response without details: a status, and `OK` if the delivery was recorded."""
    body = b"OK" if status == HTTPStatus.OK else b""
    length = str(len(body)).encode()
    all_headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": int(status), "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
