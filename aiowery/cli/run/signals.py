"""Ctrl-C and SIGTERM, told twice: the first time kindly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

_SIGNALS: Final = tuple(number for name in ("SIGINT", "SIGTERM") if (number := getattr(signal, name, None)) is not None)


@contextlib.contextmanager
def on_signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` in the running loop at the first Ctrl-C or SIGTERM, and `second` at each that follows."""
    loop = asyncio.get_running_loop()
    calls = iter((first,))

    def told() -> None:
        next(calls, second)()

    undo = [_handle(loop, number, told) for number in _SIGNALS]
    try:
        yield
    finally:
        for put_back in undo:
            put_back()


def _handle(loop: asyncio.AbstractEventLoop, number: int, told: Callable[[], None]) -> Callable[[], Any]:
    """Have the signal told to the loop; return what puts things back."""
    before = signal.getsignal(number)
    try:
        loop.add_signal_handler(number, told)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(told))
        return lambda: signal.signal(number, before)

    def put_back() -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, before)

    return put_back
