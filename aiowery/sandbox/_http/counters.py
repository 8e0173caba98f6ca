"""Counters of received requests and sent responses, for assertions."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from aiowery.sandbox._response import PlannedResponse

LOG_LENGTH = 100_000
"""Number of requests in the log. The oldest are dropped."""


@attrs.frozen
class RequestRecord:
    """A request as it arrived. `authorization` is True if it had that header."""

    method: str
    path: str
    authorization: bool


@attrs.define
class Counters:
    """Counters of one sandbox. Its own thread writes them, any thread may read them."""

    posts: int = 0
    """POST requests received, including refused ones."""
    throttled: int = 0
    """Responses sent with HTTP 429."""
    too_many_tasks: int = 0
    """Responses sent with body code 6010."""
    connections: int = 0
    """Connections opened so far."""
    connections_open: int = 0
    """Connections that are open now."""
    connections_peak: int = 0
    """Largest number of connections that were open at the same time."""
    _deliveries: list[tuple[str, int | None]] = attrs.field(factory=list)
    _polls: Counter[str] = attrs.field(factory=Counter)
    _log: deque[RequestRecord] = attrs.field(factory=lambda: deque(maxlen=LOG_LENGTH))

    @property
    def polls(self) -> dict[str, int]:
        """Status requests received by task id, whatever the response was."""
        return dict(self._polls.copy())

    @property
    def deliveries(self) -> tuple[tuple[str, int | None], ...]:
        """Webhook deliveries as pairs of task id and HTTP status of the response, None without a response.

        Repeated and forged deliveries are included.
        """
        return tuple(self._deliveries.copy())

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The newest 100,000 requests, oldest first."""
        return tuple(self._log.copy())

    def record_request(self, record: RequestRecord) -> None:
        """Record a request."""
        self._log.append(record)
        self.posts += record.method == "POST"

    def record_poll(self, task_id: str) -> None:
        """Record a status request."""
        self._polls[task_id] += 1

    def record_delivery(self, task_id: str, status: int | None) -> None:
        """Record a webhook delivery. `status` is None if the receiver did not respond."""
        self._deliveries.append((task_id, status))

    def record_response(self, response: PlannedResponse) -> None:
        """Record a response."""
        self.throttled += response.http == 429  # noqa: PLR2004 - an HTTP status
        self.too_many_tasks += response.code == 6010  # noqa: PLR2004 - the provider's code

    def connection_opened(self) -> None:
        """Record a new connection."""
        self.connections += 1
        self.connections_open += 1
        self.connections_peak = max(self.connections_peak, self.connections_open)

    def connection_closed(self) -> None:
        """Record the end of a connection."""
        self.connections_open -= 1
