"""aiowery over the pyreqwest transport."""

from __future__ import annotations

from functools import partial

from benchmarks.peers.clients._harness import measure
from benchmarks.peers.clients.aiowery import open_peer

if __name__ == "__main__":
    measure(partial(open_peer, http="fast"))
