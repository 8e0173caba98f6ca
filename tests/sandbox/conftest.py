"""Fixtures: a running sandbox and a plain HTTP client for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiowery.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Yield a sandbox whose tasks take 5-15 ms."""
    with Sandbox(speed=1000) as sandbox:
        yield sandbox


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Yield a plain client with the sandbox's key."""
    headers = {"Authorization": f"Bearer {sandbox.key}"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def submit(http: httpx.Client) -> Callable[..., httpx.Response]:
    """Return a function that submits a valid text-to-image request, with changes."""

    def submit(**changes: Any) -> httpx.Response:
        body = {"model": "WERYAI_IMAGE_2_0", "prompt": "hills by the sea", "aspect_ratio": "1:1", **changes}
        return http.post("/v1/generation/text-to-image", json=body)

    return submit


@pytest.fixture
def finished(http: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Return a function that polls a task until its end and returns the data of its last status."""

    def finished(task_id: str) -> dict[str, Any]:
        for _ in range(2000):
            data: dict[str, Any] = http.get(f"/v1/generation/{task_id}/status").json()["data"]
            if data["task_status"] in {"SUCCESS", "FAILED"}:
                return data
        raise AssertionError(f"{task_id} did not finish")

    return finished


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Sandbox]:
    """Yield a sandbox that many tests share, because none of them needs a fresh one."""
    with Sandbox(speed=1000, in_flight=1000) as sandbox:
        yield sandbox


@pytest.fixture
def submit_shared(shared_sandbox: Sandbox) -> Callable[..., httpx.Response]:
    """Return a function that submits to the shared sandbox: raw `content`, or a valid body with changes."""

    def submit_shared(content: bytes | None = None, **changes: Any) -> httpx.Response:
        body = {"model": "WERYAI_IMAGE_2_0", "prompt": "hills by the sea", "aspect_ratio": "1:1", **changes}
        content_arguments: dict[str, Any] = {"json": body} if content is None else {"content": content}
        headers = {"Authorization": f"Bearer {shared_sandbox.key}"}
        return httpx.post(f"{shared_sandbox.url}/v1/generation/text-to-image", headers=headers, **content_arguments)

    return submit_shared


@pytest.fixture
def generate(http: httpx.Client) -> Callable[..., httpx.Response]:
    """Return a function that submits a valid job to BetterWaifu, with changes."""

    def generate(**changes: Any) -> httpx.Response:
        body = {"prompt": "1girl, hills by the sea", "model_version_id": 814910, **changes}
        return http.post("/api/v1/generate", json=body)

    return generate


@pytest.fixture
def imagine(http: httpx.Client) -> Callable[..., httpx.Response]:
    """Return a function that requests an image from BetterWaifu's v1-images edition, with changes."""

    def imagine(**changes: Any) -> httpx.Response:
        return http.post("/v1/images/generate", json={"prompt": "1girl, hills by the sea", **changes})

    return imagine


@pytest.fixture
def finished_job(http: httpx.Client) -> Callable[[str], dict[str, Any]]:
    """Return a function that polls a job until its end and returns its last status."""

    def finished_job(job_id: str) -> dict[str, Any]:
        for _ in range(2000):
            status: dict[str, Any] = http.get(f"/api/v1/generate/{job_id}").json()
            if status["status"] in {"succeeded", "failed"}:
                return status
        raise AssertionError(f"{job_id} did not finish")

    return finished_job
