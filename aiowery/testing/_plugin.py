"""The fixtures of the pytest plugin (entry point `pytest11`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_SPEED = 100.0


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the fixture."""
    config.addinivalue_line(
        "markers",
        "aiowery_sandbox(**settings): arguments of the Sandbox that the fixture aiowery_sandbox starts, such as"
        " credits=3, status_words='lower' or faults=['server-error@status:0.2']",
    )


@pytest.fixture
def aiowery_sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Start a sandbox for one test; `WeryAI()` and `BetterWaifu()` find it, and its speed, through the environment.

    The marker `@pytest.mark.aiowery_sandbox(...)` has the arguments of `Sandbox`; its speed is 100 unless it is given.
    The default limits, polling and retries of a client run at that speed. For the jobs edition of BetterWaifu, which
    has a URL of its own, pass `base_url=aiowery_sandbox.jobs_url`.
    """
    from aiowery.sandbox import Sandbox  # noqa: PLC0415 - pytest loads this module in every run, and the extra is not always there

    marker = request.node.get_closest_marker("aiowery_sandbox")
    with Sandbox(**{"speed": _SPEED, **(marker.kwargs if marker else {})}) as sandbox:
        for provider in ("WERYAI", "BETTERWAIFU"):
            monkeypatch.setenv(f"{provider}_BASE_URL", sandbox.url)
            monkeypatch.setenv(f"{provider}_API_KEY", sandbox.key)
        monkeypatch.setenv("WERYAI_MODELS_BASE_URL", sandbox.url)
        monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", f"{sandbox.speed:g}")
        yield sandbox
