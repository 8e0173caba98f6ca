"""WeryAI's protocol for hand-written loops: paths, the body of a submission, and the data of a response."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.clients._harness import KEY

SUBMIT = "/v1/generation/text-to-image"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PAUSE = 3.0


def body(prompt: str) -> dict[str, str]:
    """Return the body of a submission."""
    return {"model": "FLUX_PRO", "prompt": prompt, "aspect_ratio": "16:9"}


def status(task_id: str) -> str:
    """Return the path for polling a task."""
    return f"/v1/generation/{task_id}/status"


def data(response: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a response. Raises RuntimeError if it is a refusal."""
    if response["status"] != 0:
        raise RuntimeError(response["message"])
    content: dict[str, Any] = response["data"]
    return content
