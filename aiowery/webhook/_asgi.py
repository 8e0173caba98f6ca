"""The receiver as a raw ASGI application, for whatever framework there is, or for none."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any, Final, Self

from aiowery.errors import ConfigurationError, WebhookError
from aiowery.ledger import Ledger, SqliteLedger
from aiowery.webhook._dispatch import DecodeDelivery, DeliveryDispatcher, LedgerSink
from aiowery.webhook._parsing import LARGEST, too_large

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_BODIES: Final = 256
_LOOKUPS: Final = 1024
_BUSY: Final = "too many calls at the same time"
_POLICY_VIOLATION: Final = 1008


class Receiver(DeliveryDispatcher):
    """An ASGI application that takes WeryAI's calls; mount it where `Webhooks(public_url=...)` points.

    `app.mount("/aiowery", receiver)` in Starlette and FastAPI, `asgi("/aiowery", is_mount=True)(receiver)` in Litestar,
    or `uvicorn` alone. Each client that is open with `Webhooks(receiver=...)` hears of its own submissions; two clients
    may share one receiver, and live in other threads. With a `ledger` (the path of the file that your clients use, or
    one that you have opened) and the provider's `decode` function (`aiowery.weryai.decode_delivery`), it also records
    for clients in other processes, which notice within a tenth of a second.

    It answers 200 `OK` once a call is recorded. A call to an address of no submission gets 404 before its body is
    received, and one that names another submission's task gets 404 too. `largest`: bytes of a body. `within`: seconds
    that a body may take.
    """

    def __init__(
        self,
        *,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        decode: DecodeDelivery | None = None,
        largest: int = LARGEST,
        within: float = 10.0,
    ) -> None:
        if largest < 1 or within <= 0:
            raise ConfigurationError(f"Receiver: largest={largest!r} and within={within!r} must be above 0")
        if ledger is not None and decode is None:
            raise ConfigurationError(
                "Receiver: a ledger needs decode=..., which reads the provider's deliveries; give"
                " decode=aiowery.weryai.decode_delivery for WeryAI"
            )
        super().__init__(largest)
        self._within = within
        # Apart, so that callers without an address of ours leave the places for bodies free.
        self._lookups = asyncio.Semaphore(_LOOKUPS)
        self._bodies = asyncio.Semaphore(_BODIES)
        self._owned: SqliteLedger | None = None
        self._keeper: LedgerSink | None = None
        if ledger is not None:
            self._nobody = "the receiver's ledger is not open; use `async with receiver` in the application's lifespan"
        if ledger is not None and decode is not None:
            if isinstance(ledger, (str, os.PathLike)):
                ledger = self._owned = SqliteLedger(ledger)
            self._keeper = LedgerSink(ledger, decode)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Open its ledger, if it has one. Raises LedgerError.

        A server that runs the receiver by itself calls this; an application in which it is mounted has to, in its
        lifespan.
        """
        if self._keeper is not None:
            if self._owned is not None:
                await self._owned.open()
            self.attach(self._keeper)

    async def aclose(self) -> None:
        """Close its ledger, if it has one of its own."""
        if self._keeper is not None:
            self.detach(self._keeper)
            if self._owned is not None:
                await self._owned.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case _:
                await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, (b"allow", b"POST"))
            return
        status = await self._status(scope, receive)
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            await _answer(send, status, (b"retry-after", b"1"))
        elif status is not None:
            await _answer(send, status)

    async def _status(self, scope: Scope, receive: Receive) -> int | None:
        """Return the status to answer with; None if the caller has left.

        A body is received only at an address of a submission.
        """
        # The last part alone: frameworks differ in what of a mounted path they leave, and some end it with a slash.
        token = scope["path"].rstrip("/").rpartition("/")[2]
        if self._lookups.locked():
            return self._fail(_BUSY)
        async with self._lookups:
            refusal = await self.check_address(token)
        if refusal is not None:
            return refusal
        if self._bodies.locked():
            return self._fail(_BUSY)
        async with self._bodies:
            return await self._taken(token, scope, receive)

    async def _taken(self, token: str, scope: Scope, receive: Receive) -> int | None:
        """Return the status to answer with; None if the caller has left."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            async with asyncio.timeout(self._within):
                body = await self._body(headers, receive)
        except WebhookError as error:
            return self.refuse(error)
        except TimeoutError:
            return self.refuse(WebhookError(f"no whole body within {self._within:g} s", http_status=408))
        if body is None:
            return None
        return await self.record(token, body, headers)

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes | None:
        told = headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > self.largest:
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

    async def _live(self, receive: Receive, send: Send) -> None:
        """Open and close with the server, if it is served alone."""
        while (await receive())["type"] != "lifespan.shutdown":
            try:
                await self.open()
            except Exception as fault:
                await send({"type": "lifespan.startup.failed", "message": str(fault)})
                raise
            await send({"type": "lifespan.startup.complete"})
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


async def _answer(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Say whether it was recorded, and nothing else."""
    body = b"OK" if status == HTTPStatus.OK else b""
    told = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": int(status), "headers": told})
    await send({"type": "http.response.body", "body": body})
