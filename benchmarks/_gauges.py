"""Gauges for a running event loop."""

from __future__ import annotations

import asyncio
import time

_GRAIN = 0.001


class StallGauge:
    """A timer that asks to be called every millisecond and remembers how late it was at worst.

    `worst` is in seconds by the wall clock, `worst_cpu` the most CPU time that the loop's thread spent between two
    calls: what our own code has to answer for, whatever else ran on the machine meanwhile.
    """

    def __init__(self) -> None:
        self.worst = 0.0
        self.worst_cpu = 0.0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._cpu = 0.0

    @property
    def worst_yet(self) -> float:
        """The worst, the stall included that is under way while another thread asks."""
        return max(self.worst, self._loop.time() - self._expected)

    def start(self) -> None:
        """Begin to measure."""
        self._cpu = time.thread_time()
        self._again()

    def stop(self) -> None:
        """Stop measuring."""
        if self._handle is not None:
            self._handle.cancel()

    def _again(self) -> None:
        self._expected = self._loop.time() + _GRAIN
        self._handle = self._loop.call_at(self._expected, self._tick)

    def _tick(self) -> None:
        cpu = time.thread_time()
        self.worst = max(self.worst, self._loop.time() - self._expected)
        self.worst_cpu = max(self.worst_cpu, cpu - self._cpu)
        self._cpu = cpu
        self._again()
