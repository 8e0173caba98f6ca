"""Comfy API v2: a look returns the whole job, and refusals have codes."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from benchmarks.peers.server._dialect import Dialect, Reason, Task, said

_SOME_DAY: Final = "2026-01-01T00:00:00Z"
_CODES: Final[dict[Reason, str]] = {"too fast": "rate_limited", "too many": "queue_full", "trouble": "internal_error"}


class ComfyDialect(Dialect):
    """One resource, `/api/v2/jobs`."""

    submits = re.compile(rb"/api/v2/jobs")
    polls = re.compile(rb"/api/v2/jobs/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:
        return said(_job(task, base, done=False), HTTPStatus.CREATED)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        return said(_job(task, base, done=done))

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"error": {"code": _CODES[reason], "message": reason}}


def _job(task: Task, base: str, *, done: bool) -> dict[str, Any]:
    link = f"{base}/api/v2/jobs/{task.id}"
    return {
        "id": task.id,
        "status": "succeeded" if done else "running",
        "created_at": _SOME_DAY,
        "started_at": _SOME_DAY,
        "completed_at": _SOME_DAY if done else None,
        "expires_at": "2036-01-01T00:00:00Z",
        "queue_position": None,
        "progress": None,
        "outputs": [_output(task)] if done else [],
        "error": None,
        "urls": {"self": link, "events": f"{link}/events", "cancel": f"{link}/cancel"},
    }


def _output(task: Task) -> dict[str, Any]:
    return {
        "node_id": "9",
        "name": "ComfyUI_00001_.png",
        "type": "image",
        "content_type": "image/png",
        "size_bytes": 1_848_320,
        "id": f"asset_{task.id}",
        "hash": None,
        "url": f"https://cdn.example/r/{task.id}.png",
        "url_expires_at": "2036-01-01T00:00:00Z",
        "job_id": task.id,
    }
