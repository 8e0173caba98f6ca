"""What an adapter is: which request means what, and how the world's answers are said in its protocol."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import Any, ClassVar, Literal, NamedTuple

import attrs

from benchmarks._wire import Request, response

Reason = Literal["too fast", "too many", "trouble"]
_RETRY_AFTER = b"retry-after: 1"


class Asked(NamedTuple):
    """What a request is: a submission, a look at a task, or the fetching of its result."""

    kind: Literal["submit", "poll", "result"]
    task_id: str = ""


@attrs.define
class Task:
    """One task; `number` is that of the client's job, the moments are those of the monotonic clock."""

    id: str
    number: int
    accepted: float
    ends: float
    polls: int = 0
    troubled: bool = False


class Dialect(ABC):
    """One protocol. Each pattern has the task's id as its only group, where it has one."""

    submits: ClassVar[re.Pattern[bytes]]
    polls: ClassVar[re.Pattern[bytes]]
    results: ClassVar[re.Pattern[bytes] | None] = None

    def read(self, method: bytes, path: bytes) -> Asked | None:
        """Return what the request is, or None if it is none of this protocol's."""
        if method == b"POST":
            return Asked("submit") if self.submits.fullmatch(path) else None
        if match := self.polls.fullmatch(path):
            return Asked("poll", match[1].decode())
        if self.results and (match := self.results.fullmatch(path)):
            return Asked("result", match[1].decode())
        return None

    def holds(self, request: Request) -> bool:  # noqa: ARG002 - for protocols that may
        """Whether the submission is to be answered only when its task has ended."""
        return False

    @abstractmethod
    def accepted(self, task: Task, base: str) -> bytes:
        """Return the answer to a submission that was taken."""

    @abstractmethod
    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        """Return the answer to a look at a task."""

    def result(self, task: Task) -> bytes:
        """Return the answer to the fetching of a result, in protocols that have it apart."""
        raise NotImplementedError(task.id)

    def refusal(self, status: int, reason: Reason) -> bytes:
        """Return a refusal; 429s say when to come again."""
        return said(self.error(reason), status, *((_RETRY_AFTER,) if status == HTTPStatus.TOO_MANY_REQUESTS else ()))

    def too_many(self) -> bytes:
        """Return the refusal of a task beyond those that may run at once."""
        return self.refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many")

    @abstractmethod
    def error(self, reason: Reason) -> dict[str, Any]:
        """Return the body of a refusal."""


def said(body: dict[str, Any], status: int = HTTPStatus.OK, *headers: bytes) -> bytes:
    """Return a whole response."""
    return response(json.dumps(body).encode(), f"{int(status)} {HTTPStatus(status).phrase}".encode(), *headers)
