"""Signal handlers on event loops that handle signals, and on those of Windows, which do not."""

from __future__ import annotations

import asyncio
import signal

import pytest

from aiowery.cli.run.signals import on_signals

pytestmark = pytest.mark.anyio


def _refuse_handler(_self: object, _number: int, *_more: object) -> None:
    """Raise NotImplementedError, as the event loops of Windows do."""
    raise NotImplementedError


@pytest.fixture(params=["handled by the loop", "not handled by the loop"])
def _either_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test on an event loop that handles signals, and on one that does not."""
    if request.param == "not handled by the loop":
        monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", _refuse_handler)


@pytest.mark.usefixtures("_either_loop")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_on_signals_after_three_signals_runs_first_once_and_second_twice(number: int) -> None:
    """The first signal runs `first`, and each later one `second`. At the end the previous handler is restored."""
    before = signal.getsignal(number)
    handled: list[str] = []
    with on_signals(lambda: handled.append("first"), lambda: handled.append("second")):
        for _ in range(3):
            signal.raise_signal(number)
            await asyncio.sleep(0.01)
    assert handled == ["first", "second", "second"]
    assert signal.getsignal(number) is before
