"""Runway: a task's id, and one address for all tasks."""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.peers.server._dialect import Dialect, Reason, Task, said

_SOME_DAY: Final = "2026-01-01T00:00:00.000Z"
_COST: Final = {"credits": 5}


class RunwayDialect(Dialect):
    """Text to image, as the other peers make images."""

    submits = re.compile(rb"/v1/text_to_image")
    polls = re.compile(rb"/v1/tasks/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:  # noqa: ARG002 - no links here
        return said({"id": task.id, "estimatedCost": _COST})

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        known: dict[str, Any] = {"id": task.id, "createdAt": _SOME_DAY}
        if not done:
            return said({**known, "status": "RUNNING", "estimatedCost": _COST, "progress": 0.5})
        output = [f"https://cdn.example/r/{task.id}.png"]
        return said({**known, "status": "SUCCEEDED", "cost": _COST, "output": output})

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"error": reason}
