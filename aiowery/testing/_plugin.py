"""The fixtures of the pytest plugin (entry point `pytest11`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_SPEED = 100.0


@pytest.fixture
def aiowery_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Start a sandbox for one test; `WeryAI()` and `BetterWaifu()` find it, and its speed, through the environment.

    The default limits, polling and retries of a client run at that speed. For the jobs edition of BetterWaifu, which
    has a URL of its own, pass `base_url=aiowery_sandbox.jobs_url`.
    """
    from aiowery.sandbox import Sandbox  # noqa: PLC0415 - pytest loads this module in every run, and the extra is not always there

    with Sandbox(speed=_SPEED) as sandbox:
        for provider in ("WERYAI", "BETTERWAIFU"):
            monkeypatch.setenv(f"{provider}_BASE_URL", sandbox.url)
            monkeypatch.setenv(f"{provider}_API_KEY", sandbox.key)
        monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", f"{sandbox.speed:g}")
        yield sandbox
