"""Deliveries to a `webhook_url` when a task ends: once each, to this machine only."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from aiowery.sandbox._reports import report

if TYPE_CHECKING:
    from aiowery.sandbox._world import Task, World

_WITHIN = 5.0


class Messenger:
    """Waits for the end of tasks and tells their callers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._under_way: set[asyncio.Task[None]] = set()

    def watch(self, task: Task, base_url: str) -> None:
        """Deliver the task's end to its order's `webhook_url`, if it has one and lies on this machine."""
        target = task.order.webhook_url
        if target is None or task.ends_at == float("inf"):
            return
        delivery = asyncio.create_task(self._deliver(task, urlsplit(target), base_url))
        self._under_way.add(delivery)
        delivery.add_done_callback(self._under_way.discard)

    async def aclose(self) -> None:
        """Give up what has not been delivered."""
        for delivery in tuple(self._under_way):
            delivery.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _deliver(self, task: Task, target: SplitResult, base_url: str) -> None:
        await asyncio.sleep(max(0.0, task.ends_at - self._world.now))
        data = report(task, task.ends_at, base_url)
        status = None
        if _is_here(target):
            with contextlib.suppress(OSError, TimeoutError, ValueError):
                async with asyncio.timeout(_WITHIN):
                    status = await _post(target, {"status": 0, "desc": "success", "message": "success", "data": data})
        self._world.counters.delivered(task.id, status)


def _is_here(target: SplitResult) -> bool:
    """Tell whether the address lies on this machine, and speaks plain HTTP as nobody else here can."""
    host = target.hostname or ""
    if target.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _post(target: SplitResult, envelope: dict[str, Any]) -> int:
    """POST over plain HTTP and return the status of the answer."""
    body = json.dumps(envelope, ensure_ascii=False).encode()
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {target.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    try:
        writer.write(head.encode("latin-1") + body)
        await writer.drain()
        answer = await reader.readline()
        return int(answer.split()[1])
    except IndexError:
        raise ValueError("not an HTTP answer") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
