"""Answers on their way out, with the delays and cuts that faults have put on them."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from aiowery.sandbox._answer import Answer
    from aiowery.sandbox._http.connection import Connection

_PIECES = 20


async def deliver(answer: Answer, scope: Scope, receive: Receive, send: Send, closing: asyncio.Event) -> None:
    """Send `answer`, or fail to as it says. `closing` ends every wait early."""
    connection: Connection = scope["state"]["connection"]
    if answer.delay:
        await _pause(answer.delay, receive, closing)
    if answer.delay and closing.is_set():
        connection.close()
    elif answer.hang is not None:
        await _pause(answer.hang, receive, closing)
        connection.close()
    elif answer.reset:
        connection.reset()
    else:
        await _send(answer, connection, receive, send, closing)
        return
    await _gone(receive)


def request_id() -> dict[str, str]:
    """Make the header that tells one answer from all others."""
    return {"x-request-id": uuid.uuid4().hex}


async def _send(answer: Answer, connection: Connection, receive: Receive, send: Send, closing: asyncio.Event) -> None:
    content = answer.content
    await send({"type": "http.response.start", "status": answer.http, "headers": _headers(answer, len(content))})
    if answer.cut is not None:
        await send(_part(content[: int(len(content) * answer.cut)]))
        await connection.flushed()
        connection.reset()
        await _gone(receive)
        return
    if answer.trickle:
        step = max(1, -(-len(content) // _PIECES))
        for start in range(0, len(content), step):
            await _pause(answer.trickle / _PIECES, receive, closing)
            await send(_part(content[start : start + step]))
        content = b""
    await send({"type": "http.response.body", "body": content})


def _headers(answer: Answer, length: int) -> list[tuple[bytes, bytes]]:
    headers = {"content-type": "application/json", **dict(answer.headers)}
    headers |= {"content-length": str(length), **request_id()}
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _part(content: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": content, "more_body": True}


async def _pause(seconds: float, receive: Receive, closing: asyncio.Event) -> None:
    """Wait, but not longer than the peer or the server is there."""
    ends = {asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(closing.wait())}
    try:
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    """Return when the connection is down; only then does uvicorn miss no answer."""
    while (await receive())["type"] != "http.disconnect":
        pass
