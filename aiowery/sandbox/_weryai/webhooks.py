"""Webhook deliveries at the end of tasks: once each unless a fault applies, and to this machine only."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import attrs

from aiowery.sandbox._faults.script import FaultTarget, PlannedDelivery
from aiowery.sandbox._response import success
from aiowery.sandbox._weryai.responses import task_data

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import FaultScript
    from aiowery.sandbox._response import PlannedResponse
    from aiowery.sandbox._tasks import Task
    from aiowery.sandbox._weryai.dialect import Dialect
    from aiowery.sandbox._weryai.state import WeryAIState

_TIMEOUT = 5.0
_MAX_CONNECTIONS = 50


class WebhookSender:
    """A sender that waits for the end of tasks and sends webhook deliveries, changed by the fault script."""

    def __init__(self, state: WeryAIState, script: FaultScript, dialect: Dialect) -> None:
        self._state = state
        self._script = script
        self._dialect = dialect
        self._sending: set[asyncio.Task[None]] = set()
        # One limit per receiver, so that a receiver without responses does not delay deliveries to others.
        self._receivers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_MAX_CONNECTIONS))

    def schedule(self, task: Task, base_url: str) -> None:
        """Schedule the deliveries about the end of a task, if its specification has a `webhook_url`."""
        if task.spec.webhook_url is None:
            return
        target = urlsplit(task.spec.webhook_url)
        for delivery in self._plan(task, target, base_url):
            if delivery.at < float("inf"):
                self._spawn(delivery, target)

    async def aclose(self) -> None:
        """Cancel the deliveries that have not been sent."""
        for task in tuple(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _plan(self, task: Task, target: SplitResult, base_url: str) -> tuple[PlannedDelivery, ...]:
        """Return the deliveries about the end of the task after the faults that apply to them."""

        def success_at(url: str) -> PlannedResponse:
            return success(task_data(attrs.evolve(task, reason=""), task.ends_at, url, self._dialect))

        message = success(task_data(task, task.ends_at, base_url, self._dialect))
        end = PlannedDelivery(task, task.ends_at, message, success_at)
        return self._script.plan_deliveries(
            FaultTarget("delivery", f"{task.id}\n{task.spec.prompt}\n{target.path}"), end
        )

    def _spawn(self, delivery: PlannedDelivery, target: SplitResult) -> None:
        task = asyncio.create_task(self._send(delivery, target))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, delivery: PlannedDelivery, target: SplitResult) -> None:
        await asyncio.sleep(delivery.at - self._state.now)
        status = None
        if _is_local(target):
            async with self._receivers[target.netloc]:
                status = await _post_status(target, delivery.message)
        self._state.counters.record_delivery(delivery.task.id, status)


def _is_local(target: SplitResult) -> bool:
    """Return True if the URL is plain HTTP to this machine. Nothing else is supported."""
    host = target.hostname or ""
    if target.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _post_status(target: SplitResult, message: PlannedResponse) -> int | None:
    """Send a POST and return the HTTP status of the response, None if there is none in time."""
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_TIMEOUT):
            return await _post(target, _request(target, message))
    return None


def _request(target: SplitResult, message: PlannedResponse) -> bytes:
    """Return an HTTP/1.1 POST with this message's headers and body."""
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
    """Send the request and return the HTTP status of the response. The rest of the response is not read."""
    reader, writer = await asyncio.open_connection(target.hostname, target.port or 80)
    try:
        writer.write(request)
        await writer.drain()
        status_line = await reader.readline()
        return int(status_line.split()[1])
    except IndexError:
        raise ValueError("the receiver did not send an HTTP response") from None
    finally:
        # close() would wait for a peer that does not read.
        writer.transport.abort()
