"""For tests of code that uses aiowery: the sandbox as a pytest fixture, and an event loop without waiting.

In a `conftest.py`:

    pytest_plugins = ["aiowery.testing"]

A test that asks for `aiowery_sandbox` then gets a running `Sandbox`, a hundred times as fast as life, and finds the
environment set so that `WeryAI()` and `BetterWaifu()` talk to it and keep its time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from aiowery.sandbox import Sandbox

__all__ = ("VirtualLoop", "aiowery_sandbox", "run_virtual")

T = TypeVar("T")

SPEED = 100.0


@pytest.fixture
def aiowery_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Start a sandbox for one test; `WeryAI()` and `BetterWaifu()` find it through the environment.

    So do they find its speed, at which the default limits, polling and retries of a client then run.
    (For the jobs edition of BetterWaifu, which lives elsewhere, give `base_url=aiowery_sandbox.jobs_url`.)
    """
    with Sandbox(speed=SPEED) as sandbox:
        for provider in ("WERYAI", "BETTERWAIFU"):
            monkeypatch.setenv(f"{provider}_BASE_URL", sandbox.url)
            monkeypatch.setenv(f"{provider}_API_KEY", sandbox.key)
        monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", f"{sandbox.speed:g}")
        yield sandbox


class _JumpingSelector(selectors.DefaultSelector):
    """Polls its files without waiting and, when none is ready, lets the time of its loop jump instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in earnest only if no timer is set: then something outside the loop must come."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer as soon as nothing else is to be done.

    Hours of polling take milliseconds. Meant for code whose network is mocked: a real socket's answer would come
    after any number of jumps.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds; it begins at 0."""
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
