"""Limits for the connections of the webhook server: how many there are, and how long a request may take to arrive."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import attrs

from aiowery._core.events import log
from aiowery.webhook._reports import OnceAMinute

_MAX_CONNECTIONS: Final = 1_000
_MAX_BACKLOG: Final = 100
_MIN_BACKLOG: Final = 4


def _connections_for_files() -> int:
    """Return how many connections fit into this process's limit of open files, beside those that are accepted."""
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return _MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if files == resource.RLIM_INFINITY else max(1, min(_MAX_CONNECTIONS, files // 3))


@attrs.define(eq=False)
class ConnectionLimits:
    """The limits of one server, and its connections that wait for a request.

    `connections`: how many may be open. One more closes the connection that has waited longest for a request, so that
    idle connections of strangers keep no delivery out. `head_seconds`, `body_seconds`: the time for a request to
    arrive.
    """

    connections: int = attrs.field(factory=_connections_for_files)
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    _waiting: dict[Any, None] = attrs.field(init=False, factory=dict)
    _reports: OnceAMinute = attrs.field(init=False, factory=lambda: OnceAMinute(time.monotonic))

    @property
    def backlog(self) -> int:
        """Connections that are accepted at once. asyncio accepts so many before it reports the first one."""
        return max(_MIN_BACKLOG, min(_MAX_BACKLOG, self.connections // 4))

    def set_waiting(self, connection: Any, *, waiting: bool) -> None:
        """Remember whether a connection waits for a request, the one that waits longest first."""
        if waiting:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)

    def make_room_for(self, connection: Any) -> None:
        """Close the connection that has waited longest for a request, or else the new one."""
        oldest = next(iter(self._waiting), connection)
        self.set_waiting(oldest, waiting=False)
        oldest.transport.abort()
        if self._reports.is_due():
            log.warning(
                "all %d connections are open; those that wait for a request are closed for new ones", self.connections
            )


class _RequestTimer:
    """The time within which a connection's next request must arrive: first its head, then its body."""

    def __init__(self, limits: ConnectionLimits, connection: Any) -> None:
        self._limits = limits
        self._connection = connection
        self._phase: str | None = None
        self._handle: asyncio.TimerHandle | None = None
        # By the name of h11's state of the sender.
        self._seconds = {"IDLE": limits.head_seconds, "SEND_BODY": limits.body_seconds}

    def update(self) -> None:
        """Begin the time for what is expected next, if that has changed."""
        connection = self._connection
        if connection.transport.is_closing():
            return
        is_served = connection.cycle is not None and not connection.cycle.response_complete
        self._limits.set_waiting(connection, waiting=not is_served)
        phase = connection.conn.their_state.__name__
        if phase != self._phase:
            self._phase = phase
            self.cancel()
            if phase in self._seconds:
                self._handle = connection.loop.call_later(self._seconds[phase], connection.transport.abort)

    def cancel(self) -> None:
        """End the time."""
        if self._handle is not None:
            self._handle.cancel()


def limited_connection(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol with these limits. uvicorn itself waits for a request without end."""
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 - an extra

    class LimitedConnection(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            self._request_timer = _RequestTimer(limits, self)
            if len(self.connections) > limits.connections:
                limits.make_room_for(self)
            self._request_timer.update()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._request_timer.update()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._request_timer.update()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            limits.set_waiting(self, waiting=False)
            self._request_timer.cancel()

    return LimitedConnection
