"""The hand-written loop on httpx, whose client sends over `aiowery.transport.PooledTransport`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from aiowery.transport import PooledTransport
from benchmarks.peers._plan import Plan
from benchmarks.peers.clients import httpx_gather
from benchmarks.peers.clients._harness import Peer, measure


def open_peer(plan: Plan) -> AbstractAsyncContextManager[Peer]:
    """Open a client with default limits."""
    return httpx_gather.open_peer(plan, transport=PooledTransport())


if __name__ == "__main__":
    measure(open_peer)
