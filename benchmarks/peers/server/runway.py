"""Runway: a submission returns a task's id, and one path serves all kinds of tasks."""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_FIXED_TIME: Final = "2026-01-01T00:00:00.000Z"
_COST: Final = {"credits": 5}


class RunwayAdapter(Adapter):
    """Text to image, because the other peers make images too."""

    submits = re.compile(rb"/v1/text_to_image")
    polls = re.compile(rb"/v1/tasks/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:  # noqa: ARG002 - no links here
        return json_response({"id": task.id, "estimatedCost": _COST})

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        known: dict[str, Any] = {"id": task.id, "createdAt": _FIXED_TIME}
        if not done:
            return json_response({**known, "status": "RUNNING", "estimatedCost": _COST, "progress": 0.5})
        output = [f"https://cdn.example/r/{task.id}.png"]
        return json_response({**known, "status": "SUCCEEDED", "cost": _COST, "output": output})

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"error": reason}
