"""What the sandbox has seen and sent, for assertions."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from aiowery.sandbox._response import PlannedResponse

LOG_LENGTH = 100_000
"""Requests kept in the log; the oldest fall out."""


@attrs.frozen
class RequestRecord:
    """One request as it arrived. `authorization` tells whether it carried that header."""

    method: str
    path: str
    authorization: bool


@attrs.define
class Counters:
    """Figures of one sandbox; written by its own thread, to be read by any."""

    posts: int = 0
    """POST requests received, refused ones included."""
    throttled: int = 0
    """Answers sent with HTTP 429."""
    too_many_tasks: int = 0
    """Answers sent with body code 6010."""
    connections: int = 0
    """Connections opened since the beginning."""
    connections_open: int = 0
    """Connections open now."""
    connections_peak: int = 0
    """The most connections that were open at the same time."""
    _deliveries: list[tuple[str, int | None]] = attrs.field(factory=list)
    _polls: Counter[str] = attrs.field(factory=Counter)
    _log: deque[RequestRecord] = attrs.field(factory=lambda: deque(maxlen=LOG_LENGTH))

    @property
    def polls(self) -> dict[str, int]:
        """Status requests received by task id, whatever was answered."""
        return dict(self._polls.copy())

    @property
    def deliveries(self) -> tuple[tuple[str, int | None], ...]:
        """Webhook deliveries by task id, repeated and forged ones too, with the answer's HTTP status, None without."""
        return tuple(self._deliveries.copy())

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The newest 100,000 requests, oldest first."""
        return tuple(self._log.copy())

    def record_request(self, record: RequestRecord) -> None:
        """Note a request."""
        self._log.append(record)
        self.posts += record.method == "POST"

    def record_poll(self, task_id: str) -> None:
        """Note a status request."""
        self._polls[task_id] += 1

    def record_delivery(self, task_id: str, status: int | None) -> None:
        """Note a webhook delivery, or that nobody was reached."""
        self._deliveries.append((task_id, status))

    def record_response(self, response: PlannedResponse) -> None:
        """Note an answer."""
        self.throttled += response.http == 429  # noqa: PLR2004 - an HTTP status is its own name
        self.too_many_tasks += response.code == 6010  # noqa: PLR2004 - so is a code of the provider

    def connection_opened(self) -> None:
        """Note a new connection."""
        self.connections += 1
        self.connections_open += 1
        self.connections_peak = max(self.connections_peak, self.connections_open)

    def connection_closed(self) -> None:
        """Note the end of a connection."""
        self.connections_open -= 1
