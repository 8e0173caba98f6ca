"""What loops written by hand against WeryAI's protocol have in common: the path, the body, and reading an answer."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.clients._bench import KEY

SUBMIT = "/v1/generation/text-to-image"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PAUSE = 3.0


def body(prompt: str) -> dict[str, str]:
    """Return the body of a submission."""
    return {"model": "FLUX_PRO", "prompt": prompt, "aspect_ratio": "16:9"}


def status(task_id: str) -> str:
    """Return the path at which a task is looked at."""
    return f"/v1/generation/{task_id}/status"


def data(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the data of an answer; RuntimeError when it is a refusal."""
    if answer["status"] != 0:
        raise RuntimeError(answer["message"])
    found: dict[str, Any] = answer["data"]
    return found
