"""A lock between threads that a forked process finds free."""

from __future__ import annotations

import os
import threading


class ForkSafeLock:
    """A lock between the threads of a process; use `with`.

    A fork copies locks as they are, but not the threads that would release them.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.Lock()
