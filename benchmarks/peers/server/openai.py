"""OpenAI's videos: the submission is a form, and a poll returns the whole video."""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.peers.server._adapter import Adapter, Reason, Task, json_response

_FIXED_TIME: Final = 1_767_225_600


class OpenAIAdapter(Adapter):
    """One resource, `/v1/videos`; the header that sets the interval of the poll helper is not sent."""

    submits = re.compile(rb"/v1/videos")
    polls = re.compile(rb"/v1/videos/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:
        return self.state(task, base, done=False)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        return json_response(
            {
                "id": task.id,
                "object": "video",
                "model": "sora-2",
                "status": "completed" if done else "in_progress",
                "progress": 100 if done else 50,
                "created_at": _FIXED_TIME,
                "completed_at": _FIXED_TIME if done else None,
                "expires_at": None,
                "error": None,
                "prompt": None,
                "remixed_from_video_id": None,
                "seconds": "4",
                "size": "720x1280",
            }
        )

    def error(self, reason: Reason) -> dict[str, Any]:
        return {"error": {"message": reason, "type": "server_error", "param": None, "code": None}}
