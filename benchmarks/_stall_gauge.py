"""Measure how long a running event loop is blocked, and how much of that the garbage collector takes.

This module imports only the standard library, because the peers' environments have no other packages of the project.
"""

from __future__ import annotations

import asyncio
import gc
import time
from array import array

_INTERVAL = 0.001


class StallGauge:
    """A timer that is due every millisecond and records its lateness.

    `lateness` holds the lateness of each tick in seconds of wall time. `worst` is the greatest, `worst_apart` the
    greatest without the garbage collections since the tick before. `worst_cpu` is the most CPU time that the loop's
    thread spent between two ticks: it shows what the measured code itself causes, whatever else ran on the machine
    meanwhile. `longest_collection` is the longest garbage collection.
    """

    def __init__(self) -> None:
        self.lateness = array("d")
        self.worst = 0.0
        self.worst_apart = 0.0
        self.worst_cpu = 0.0
        self.longest_collection = 0.0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._expected = 0.0
        self._cpu = 0.0
        self._collected = 0.0
        self._collection_began = 0.0

    @property
    def worst_so_far(self) -> float:
        """The greatest lateness in seconds, including a stall that has not ended when another thread reads it."""
        return max(self.worst, self._loop.time() - self._expected)

    def start(self) -> None:
        """Start to measure."""
        gc.callbacks.append(self._on_collection)
        self._cpu = time.thread_time()
        self._schedule()

    def stop(self) -> None:
        """Stop measuring."""
        if self._handle is not None:
            self._handle.cancel()
            gc.callbacks.remove(self._on_collection)

    def _schedule(self) -> None:
        self._collected = 0.0
        self._expected = self._loop.time() + _INTERVAL
        self._handle = self._loop.call_at(self._expected, self._tick)

    def _tick(self) -> None:
        cpu, lateness = time.thread_time(), self._loop.time() - self._expected
        self.lateness.append(lateness)
        self.worst = max(self.worst, lateness)
        self.worst_apart = max(self.worst_apart, lateness - self._collected)
        self.worst_cpu = max(self.worst_cpu, cpu - self._cpu)
        self._cpu = cpu
        self._schedule()

    def _on_collection(self, phase: str, _: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._collection_began = now
            return
        self._collected += now - self._collection_began
        self.longest_collection = max(self.longest_collection, now - self._collection_began)
