"""Deliveries to a `webhook_url` when a task ends: once each if no fault strikes, and to this machine only."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import attrs

from aiowery.sandbox._answer import success
from aiowery.sandbox._faults.script import FaultCall, PlannedDelivery
from aiowery.sandbox._weryai.responses import report

if TYPE_CHECKING:
    from aiowery.sandbox._answer import Answer
    from aiowery.sandbox._faults.script import FaultScript
    from aiowery.sandbox._tasks import Task
    from aiowery.sandbox._weryai.state import WeryAIState

_WITHIN = 5.0
_AT_ONCE = 50


class WebhookSender:
    """Waits for the end of tasks and tells their callers, unless the script has it otherwise."""

    def __init__(self, world: WeryAIState, script: FaultScript) -> None:
        self._world = world
        self._script = script
        self._under_way: set[asyncio.Task[None]] = set()
        # A line for each receiver: one that is silent holds up nobody else.
        self._lines: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))

    def watch(self, task: Task, base_url: str) -> None:
        """Deliver the task's end to its order's `webhook_url`, if it has one and lies on this machine."""
        if task.spec.webhook_url is None:
            return
        target = urlsplit(task.spec.webhook_url)
        for delivery in self._deliveries(task, target, base_url):
            if delivery.at < float("inf"):
                self._send_off(delivery, target)

    async def aclose(self) -> None:
        """Give up what has not been delivered."""
        for sending in tuple(self._under_way):
            sending.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _deliveries(self, task: Task, target: SplitResult, base_url: str) -> tuple[PlannedDelivery, ...]:
        """Return what is to be sent: the end of the task, after the faults that strike it."""

        def success_at(url: str) -> Answer:
            return success(report(attrs.evolve(task, reason=""), task.ends_at, url))

        end = PlannedDelivery(task, task.ends_at, success(report(task, task.ends_at, base_url)), success_at)
        return self._script.deliveries(FaultCall("delivery", f"{task.id}\n{task.spec.prompt}\n{target.path}"), end)

    def _send_off(self, delivery: PlannedDelivery, target: SplitResult) -> None:
        sending = asyncio.create_task(self._send(delivery, target))
        self._under_way.add(sending)
        sending.add_done_callback(self._under_way.discard)

    async def _send(self, delivery: PlannedDelivery, target: SplitResult) -> None:
        await asyncio.sleep(delivery.at - self._world.now)
        status = None
        if _is_here(target):
            async with self._lines[target.netloc]:
                status = await _status(target, delivery.message)
        self._world.counters.delivered(delivery.task.id, status)


def _is_here(target: SplitResult) -> bool:
    """Tell whether the address lies on this machine, and speaks plain HTTP as nobody else here can."""
    host = target.hostname or ""
    if target.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _status(target: SplitResult, message: Answer) -> int | None:
    """POST, and return the status of the answer; None where nobody answers HTTP in time."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_WITHIN):
            return await _post(target, _request(target, message))
    return None


def _request(target: SplitResult, message: Answer) -> bytes:
    """Write a POST of HTTP/1.1 with these headers and this body."""
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    headers = {
        "host": target.netloc,
        "content-type": "application/json",
        **dict(message.headers),
        "content-length": str(len(message.content)),
        "connection": "close",
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + message.content


async def _post(target: SplitResult, request: bytes) -> int:
    """Send the request and return the status of the answer, whatever else that says."""
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    try:
        writer.write(request)
        await writer.drain()
        answer = await reader.readline()
        return int(answer.split()[1])
    except IndexError:
        raise ValueError("not an HTTP answer") from None
    finally:
        # A close would wait for a peer that does not read.
        writer.transport.abort()
