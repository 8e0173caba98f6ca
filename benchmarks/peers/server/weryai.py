"""WeryAI: an envelope around every response, and refusals that may have status 200."""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_CODES: Final[dict[Reason, int]] = {"too fast": 1001, "too many": 6010, "internal error": 5000}


class WeryAIAdapter(Adapter):
    """Task ids in a list; the poll that reports the end contains the result."""

    submits = re.compile(rb"/v1/generation/text-to-image")
    polls = re.compile(rb"/v1/generation/([^/]+)/status")

    def accepted(self, task: Task, base: str) -> bytes:  # noqa: ARG002 - no links here
        return _envelope({"batch_id": 900_000 + task.number, "task_ids": [task.id]})

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        if not done:
            return _envelope({"task_id": task.id, "task_status": "PROCESSING"})
        images = [f"https://cdn.example/r/{task.id}.png"]
        return _envelope({"task_id": task.id, "task_status": "SUCCESS", "images": images})

    def too_many(self) -> bytes:
        return json_response(self.error("too many"))

    def error(self, reason: Reason) -> dict[str, Any]:
        text = "request rate limit exceeded" if reason == "too fast" else reason
        return {"status": _CODES[reason], "desc": "error", "message": text, "data": None}


def _envelope(data: dict[str, Any]) -> bytes:
    return json_response({"status": 0, "desc": "success", "message": "success", "data": data})
