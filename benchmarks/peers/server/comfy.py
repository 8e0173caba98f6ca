"""Comfy API v2: a poll returns the whole job, and refusals have codes."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_FIXED_TIME: Final = "2026-01-01T00:00:00Z"
_CODES: Final[dict[Reason, str]] = {
    "too fast": "rate_limited",
    "too many": "queue_full",
    "internal error": "internal_error",
}


class ComfyAdapter(Adapter):
    """One resource, `/api/v2/jobs`."""

    submits = re.compile(rb"/api/v2/jobs")
    polls = re.compile(rb"/api/v2/jobs/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:
        return json_response(_job(task, base, done=False), HTTPStatus.CREATED)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:
        return json_response(_job(task, base, done=done))

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"error": {"code": _CODES[reason], "message": reason}}


def _job(task: Task, base: str, *, done: bool) -> dict[str, Any]:
    link = f"{base}/api/v2/jobs/{task.id}"
    return {
        "id": task.id,
        "status": "succeeded" if done else "running",
        "created_at": _FIXED_TIME,
        "started_at": _FIXED_TIME,
        "completed_at": _FIXED_TIME if done else None,
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
