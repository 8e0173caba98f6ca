"""Handling of Ctrl-C and SIGTERM: the first signal drains a run, later ones end it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any, Final

_SIGNALS: Final = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM") if name in signal.Signals.__members__)


@contextlib.contextmanager
def on_signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` in the running loop at the first Ctrl-C or SIGTERM, and `second` at each later one."""
    loop = asyncio.get_running_loop()
    first_once = iter((first,))

    def handle() -> None:
        next(first_once, second)()

    restorers = [_set_handler(loop, number, handle) for number in _SIGNALS]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _set_handler(loop: asyncio.AbstractEventLoop, number: int, handler: Callable[[], None]) -> Callable[[], Any]:
    """Run the handler in the loop when the signal arrives. Return a function that restores the previous handler."""
    before = signal.getsignal(number)
    try:
        loop.add_signal_handler(number, handler)
    except NotImplementedError:  # Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(handler))
        return lambda: signal.signal(number, before)

    def restore() -> None:
        loop.remove_signal_handler(number)
        signal.signal(number, before)

    return restore
