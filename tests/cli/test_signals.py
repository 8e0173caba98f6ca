"""Signal handlers on event loops that handle signals, and on those of Windows, which do not."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from aiowery.cli.run.signals import as_interrupts, on_signals

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


needs_hang_up = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")


@needs_hang_up
@pytest.mark.usefixtures("_either_loop")
async def test_on_signals_after_repeated_hang_ups_runs_first_only() -> None:
    """A terminal that closes sends SIGHUP more than once: the run is drained all the same. Ctrl-C then ends it."""
    handled: list[str] = []
    with on_signals(lambda: handled.append("first"), lambda: handled.append("second")):
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGHUP, signal.SIGINT):
            signal.raise_signal(number)
            await asyncio.sleep(0.01)
    assert handled == ["first", "second"]


@needs_hang_up
async def test_signals_leave_an_ignored_hang_up_ignored() -> None:
    """`nohup` ignores SIGHUP so that the run goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    handled: list[str] = []
    try:
        with as_interrupts(), on_signals(lambda: handled.append("first"), lambda: handled.append("second")):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert handled == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_as_interrupts_raises_keyboard_interrupt(name: str) -> None:
    """A command that serves, or that waits for an answer, ends as after Ctrl-C. The previous handler is restored."""
    number = getattr(signal, name, signal.SIGTERM)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), as_interrupts():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before
