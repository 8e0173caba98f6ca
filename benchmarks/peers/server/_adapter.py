"""The base class of adapters, which translate between a protocol and the state of the fake server."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar, Literal, NamedTuple

import attrs

from benchmarks._http_server import Request, response

Reason = Literal["too fast", "too many", "internal error"]
_RETRY_AFTER = b"retry-after: 1"


class ParsedRequest(NamedTuple):
    """A parsed request: a submission, a poll of a task, or a request for its result."""

    kind: Literal["submit", "poll", "result"]
    task_id: str = ""


@attrs.define
class Task:
    """One task; `number` is that of the client's job, times are those of the monotonic clock."""

    id: str
    number: int
    accepted: float
    ends: float
    polls: int = 0
    poll_failed: bool = False


class Adapter(ABC):
    """An adapter for one protocol; if a pattern has a group, it is the task's id."""

    submits: ClassVar[re.Pattern[bytes]]
    polls: ClassVar[re.Pattern[bytes]]
    results: ClassVar[re.Pattern[bytes] | None] = None

    def read(self, method: bytes, path: bytes) -> ParsedRequest | None:
        """Return the parsed request, or None if it does not belong to this protocol."""
        if method == b"POST":
            return ParsedRequest("submit") if self.submits.fullmatch(path) else None
        if match := self.polls.fullmatch(path):
            return ParsedRequest("poll", match[1].decode())
        if self.results and (match := self.results.fullmatch(path)):
            return ParsedRequest("result", match[1].decode())
        return None

    def waits_for_end(self, request: Request) -> bool:  # noqa: ARG002 - for protocols with such submissions
        """Return True if the submission is answered only when its task has ended."""
        return False

    @abstractmethod
    def accepted(self, task: Task, base: str) -> bytes:
        """Return the response to an accepted submission."""

    @abstractmethod
    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        """Return the response to a poll of a task."""

    def result(self, task: Task) -> bytes:
        """Return the response to a request for the result, in protocols that have such a request."""
        raise NotImplementedError(task.id)

    def refusal(self, status: int, reason: Reason) -> bytes:
        """Return a refusal; with status 429 it has a `Retry-After` header."""
        return json_response(
            self.error(reason), status, *((_RETRY_AFTER,) if status == HTTPStatus.TOO_MANY_REQUESTS else ())
        )

    def too_many(self) -> bytes:
        """Return the refusal of a task beyond those that may run at the same time."""
        return self.refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many")

    @abstractmethod
    def error(self, reason: Reason) -> dict[str, Any]:
        """Return the body of a refusal."""


def json_response(body: dict[str, Any], status: int = HTTPStatus.OK, *headers: bytes) -> bytes:
    """Return a whole response with a JSON body."""
    return response(json.dumps(body).encode(), f"{int(status)} {HTTPStatus(status).phrase}".encode(), *headers)
