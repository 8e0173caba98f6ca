"""fal's queue: links in the response to a submission, and a separate request for the result."""

from __future__ import annotations

import re
from typing import Any

from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_APPLICATION = "fal-ai/fast-sdxl"


class FalAdapter(Adapter):
    """Polls, then one more request for the result."""

    submits = re.compile(rb"/fal-ai/fast-sdxl")
    polls = re.compile(rb"/fal-ai/fast-sdxl/requests/([^/]+)/status")
    results = re.compile(rb"/fal-ai/fast-sdxl/requests/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:
        link = f"{base}/{_APPLICATION}/requests/{task.id}"
        return json_response(
            {
                "request_id": task.id,
                "response_url": link,
                "status_url": f"{link}/status",
                "cancel_url": f"{link}/cancel",
                "queue_position": 0,
            }
        )

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        state = "COMPLETED" if done else "IN_PROGRESS"
        return json_response({"status": state, "request_id": task.id, "logs": None, "metrics": {}})

    def result(self, task: Task) -> bytes:
        return json_response(
            {"images": [{"url": f"https://cdn.example/r/{task.id}.png", "width": 1024, "height": 1024}]}
        )

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"detail": reason}
