"""Replicate: a poll returns the whole prediction, and a submission may wait for the end of its task."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from benchmarks._http_server import Request
from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_WAIT: Final = re.compile(rb"\r\nprefer: wait", re.IGNORECASE)
_FIXED_TIME: Final = "2026-01-01T00:00:00.000Z"


class ReplicateAdapter(Adapter):
    """Predictions of a model by its name; with `Prefer: wait` the response is sent when the task has ended."""

    submits = re.compile(rb"/v1/models/[^/]+/[^/]+/predictions")
    polls = re.compile(rb"/v1/predictions/([^/]+)")

    def waits_for_end(self, request: Request) -> bool:
        return _WAIT.search(request.head) is not None

    def accepted(self, task: Task, base: str) -> bytes:
        return json_response(_prediction(task, base, "starting"), HTTPStatus.CREATED)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        return json_response(_prediction(task, base, "succeeded" if done else "processing"))

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
        "created_at": _FIXED_TIME,
        "started_at": _FIXED_TIME,
        "completed_at": _FIXED_TIME if done else None,
        "urls": {"get": link, "cancel": f"{link}/cancel"},
    }
