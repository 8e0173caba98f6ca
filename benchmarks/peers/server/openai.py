"""OpenAI's videos: the submission is a form, a look returns the whole video."""

from __future__ import annotations

import re
from typing import Any, Final

from benchmarks.peers.server._dialect import Dialect, Reason, Task, said

_SOME_DAY: Final = 1_767_225_600


class OpenAIDialect(Dialect):
    """One resource, `/v1/videos`; the header that sets the pace of the poll helper is not sent."""

    submits = re.compile(rb"/v1/videos")
    polls = re.compile(rb"/v1/videos/([^/]+)")

    def accepted(self, task: Task, base: str) -> bytes:
        return self.state(task, base, done=False)

    def state(self, task: Task, base: str, *, done: bool) -> bytes:  # noqa: ARG002 - no links here
        return said(
            {
                "id": task.id,
                "object": "video",
                "model": "sora-2",
                "status": "completed" if done else "in_progress",
                "progress": 100 if done else 50,
                "created_at": _SOME_DAY,
                "completed_at": _SOME_DAY if done else None,
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
