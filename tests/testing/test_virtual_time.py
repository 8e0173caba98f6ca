"""The event loop in virtual time, and the marker that runs a test on it."""

from __future__ import annotations

import asyncio
import time

import pytest

from aiowery.testing import VirtualLoop, run_virtual
from tests.support import now


@pytest.mark.virtual_time
@pytest.mark.parametrize("seconds", [1.0, 86_400.0])
async def test_marker_runs_coroutine_function_on_virtual_loop(seconds: float, request: pytest.FixtureRequest) -> None:
    """A marked test is awaited, with its fixtures and parameters, on a loop that waits for nothing."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop)
    begun = time.monotonic()
    await asyncio.sleep(seconds)
    assert now() == pytest.approx(seconds)
    assert time.monotonic() - begun < 1
    assert request.node.get_closest_marker("virtual_time") is not None


def test_run_virtual_returns_result_of_coroutine() -> None:
    """`run_virtual` returns the result, and each run begins at time 0."""

    async def main() -> float:
        begun = now()
        await asyncio.sleep(5)
        return begun

    assert [run_virtual(main()), run_virtual(main())] == [0.0, 0.0]
