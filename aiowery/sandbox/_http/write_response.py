"""Sending of responses, with the delays and resets that faults have added."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from aiowery.sandbox._http.connection import Connection
    from aiowery.sandbox._response import PlannedResponse

_CHUNKS = 20


async def write_response(
    response: PlannedResponse, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event
) -> None:
    """Send `response` as its fields define. `closing` ends every wait early."""
    connection: Connection = scope["state"]["connection"]
    if response.delay:
        await _pause(response.delay, receive, closing)
    if response.delay and closing.is_set():
        connection.close()
    elif response.hang is not None:
        await _pause(response.hang, receive, closing)
        connection.close()
    elif response.reset:
        connection.reset()
    else:
        await _write(response, connection, receive, send, closing)
        return
    await _wait_disconnected(receive)


def request_id() -> dict[str, str]:
    """Return a header with a unique request id."""
    return {"x-request-id": uuid.uuid4().hex}


async def _write(
    response: PlannedResponse, connection: Connection, receive: Receive, send: Send, closing: asyncio.Event
) -> None:
    content = response.content
    await send({"type": "http.response.start", "status": response.http, "headers": _headers(response, len(content))})
    if response.cut is not None:
        await send(_chunk(content[: int(len(content) * response.cut)]))
        await connection.wait_flushed()
        connection.reset()
        await _wait_disconnected(receive)
        return
    if response.trickle:
        step = max(1, -(-len(content) // _CHUNKS))
        for start in range(0, len(content), step):
            await _pause(response.trickle / _CHUNKS, receive, closing)
            await send(_chunk(content[start : start + step]))
        content = b""
    await send({"type": "http.response.body", "body": content})


def _headers(response: PlannedResponse, length: int) -> list[tuple[bytes, bytes]]:
    headers = {"content-type": "application/json", **dict(response.headers)}
    headers |= {"content-length": str(length), **request_id()}
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _chunk(content: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": content, "more_body": True}


async def _pause(seconds: float, receive: Receive, closing: asyncio.Event) -> None:
    """Wait, at most until the peer disconnects or the server closes."""
    waits = {asyncio.ensure_future(_wait_disconnected(receive)), asyncio.ensure_future(closing.wait())}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def _wait_disconnected(receive: Receive) -> None:
    """Wait until the connection is gone. uvicorn reports a missing response to an earlier return."""
    while (await receive())["type"] != "http.disconnect":
        pass
