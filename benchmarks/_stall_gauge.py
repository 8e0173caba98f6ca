"""Measure how long a running event loop is blocked."""

from __future__ import annotations

import asyncio
import time

_INTERVAL = 0.001


class StallGauge:
    """A timer that is due every millisecond and records its greatest lateness.

    `worst` is in seconds of wall time. `worst_cpu` is the most CPU time that the loop's thread spent between two ticks:
    it shows what the measured code itself causes, whatever else ran on the machine meanwhile.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self.worst_cpu = 0.0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._cpu = 0.0

    @property
    def worst_so_far(self) -> float:
        """The greatest lateness in seconds, including a stall that has not ended when another thread reads it."""
        return max(self.worst, self._loop.time() - self._expected)

    def start(self) -> None:
        """Start to measure."""
        self._cpu = time.thread_time()
        self._schedule()

    def stop(self) -> None:
        """Stop measuring."""
        if self._handle is not None:
            self._handle.cancel()

    def _schedule(self) -> None:
        self._expected = self._loop.time() + _INTERVAL
        self._handle = self._loop.call_at(self._expected, self._tick)

    def _tick(self) -> None:
        cpu = time.thread_time()
        self.worst = max(self.worst, self._loop.time() - self._expected)
        self.worst_cpu = max(self.worst_cpu, cpu - self._cpu)
        self._cpu = cpu
        self._schedule()
