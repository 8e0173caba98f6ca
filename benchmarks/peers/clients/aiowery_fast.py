"""aiowery, through its fast door."""

from __future__ import annotations

from functools import partial

from benchmarks.peers.clients._bench import measure
from benchmarks.peers.clients.aiowery import opened

if __name__ == "__main__":
    measure(partial(opened, http="fast"))
