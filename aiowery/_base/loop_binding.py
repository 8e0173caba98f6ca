"""The event loop and the process to which something belongs that was opened in them."""

from __future__ import annotations

import asyncio
import os


class LoopBinding:
    """The running event loop and the present process, remembered: what was opened in them may be used nowhere else."""

    __slots__ = ("_loop", "_process")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()

    @property
    def is_inherited(self) -> bool:
        """True in a process that was forked from the one of the opening."""
        return self._process != os.getpid()

    @property
    def is_over(self) -> bool:
        """True if nothing that was opened can be used any more: its loop is closed, or this is a forked process."""
        return self.is_inherited or self._loop.is_closed()

    def fault(self, what: str) -> str | None:
        """Return the message for a use of `what` at the wrong place; None in its own event loop."""
        if self.is_inherited:
            return f"{what} was opened before this process was forked; nothing was sent: open one in this process"
        if self._loop is _running_loop():
            return None
        if self._loop.is_closed():
            return f"{what} was opened in an event loop that is closed; nothing was sent: open it again in this one"
        return (
            f"{what} was opened in another event loop; nothing was sent: use it there (from a thread with"
            " asyncio.run_coroutine_threadsafe), or open another one in this event loop"
        )


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
