"""Handling of Ctrl-C, SIGTERM and SIGHUP: the first signal drains a run, later ones end it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

_ENDING: Final = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__)
_HANG_UP: Final = getattr(signal, "SIGHUP", None)


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does."""
    before: list[tuple[int, Any]] = []
    if threading.current_thread() is threading.main_thread():
        before = [(number, signal.signal(number, signal.default_int_handler)) for number in _heeded(_ENDING)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextlib.contextmanager
def on_signals(first: Callable[[], None], second: Callable[[], None]) -> Iterator[None]:
    """Call `first` in the running loop at the first Ctrl-C, SIGTERM or SIGHUP, and `second` at each later one.

    A terminal that closes sends SIGHUP more than once, so a repeated SIGHUP does nothing.
    """
    loop = asyncio.get_running_loop()
    first_once = iter((first,))

    def handle(number: int) -> None:
        next(first_once, second if number != _HANG_UP else _do_nothing)()

    numbers = _heeded((signal.SIGINT, *_ENDING))
    restorers = [_set_handler(loop, number, partial(handle, number)) for number in numbers]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _heeded(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Return the signals without a SIGHUP that is ignored, as under `nohup`."""
    return [number for number in numbers if number != _HANG_UP or signal.getsignal(number) != signal.SIG_IGN]


def _do_nothing() -> None:
    pass


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
