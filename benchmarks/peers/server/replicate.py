"""Replicate: a look returns the whole prediction, and a submission may hold the line until the end."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from benchmarks._wire import Request
from benchmarks.peers.server._dialect import Dialect, Reason, Task, said

_HOLD: Final = re.compile(rb"\r\nprefer: wait", re.IGNORECASE)
_SOME_DAY: Final = "2026-01-01T00:00:00.000Z"


class ReplicateDialect(Dialect):
    """Predictions of a model by its name; `Prefer: wait` holds the answer back until the task has ended."""

    submits = re.compile(rb"/v1/models/[^/]+/[^/]+/predictions")
    polls = re.compile(rb"/v1/predictions/([^/]+)")

    def holds(self, request: Request) -> bool:
        return _HOLD.search(request.head) is not None

    def accepted(self, task: Task, base: str) -> bytes:
        return said(_prediction(task, base, "starting"), HTTPStatus.CREATED)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        return said(_prediction(task, base, "succeeded" if done else "processing"))

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"title": reason, "detail": reason, "status": None}


def _prediction(task: Task, base: str, status: str) -> dict[str, Any]:
    link = f"{base}/v1/predictions/{task.id}"
    done = status == "succeeded"
    return {
        "id": task.id,
        "model": "acme/painter",
        "version": "hidden",
        "status": status,
        "input": {},
        "output": [f"https://cdn.example/r/{task.id}.png"] if done else None,
        "logs": "",
        "error": None,
        "metrics": {"predict_time": 1.0} if done else None,
        "created_at": _SOME_DAY,
        "started_at": _SOME_DAY,
        "completed_at": _SOME_DAY if done else None,
        "urls": {"get": link, "cancel": f"{link}/cancel"},
    }
