"""Signals where the event loop handles them, and where it cannot, as on Windows."""

from __future__ import annotations

import asyncio
import signal

import pytest

from aiowery.cli.run.signals import on_signals

pytestmark = pytest.mark.anyio


def refuse(_self: object, _number: int, *_more: object) -> None:
    """Raise NotImplementedError, as the event loops of Windows do."""
    raise NotImplementedError


@pytest.fixture(params=["handled by the loop", "not handled by the loop"])
def _either_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "not handled by the loop":
        monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", refuse)


@pytest.mark.usefixtures("_either_loop")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_on_signals_calls_first_once_and_second_later(number: int) -> None:
    """The first signal calls `first`, later ones `second`; afterwards the previous handler is restored."""
    before = signal.getsignal(number)
    printed: list[str] = []
    with on_signals(lambda: printed.append("first"), lambda: printed.append("second")):
        for _ in range(3):
            signal.raise_signal(number)
            await asyncio.sleep(0.01)
    assert printed == ["first", "second", "second"]
    assert signal.getsignal(number) is before
