"""The connection pools that all open clients of one event loop share."""

from __future__ import annotations

from typing import Final

import httpx

from aiowery._base.shared import SharedRegistry
from aiowery._core.urls import is_private
from aiowery.transport import ConnectionPool, PooledTransport

_MAX_CONNECTIONS: Final = 64
"""The most connections of short requests, and the most of any kind that rest."""
# Shorter than the idle time that servers commonly grant (60 s and more).
_REST_SECONDS: Final = 15.0
_NAME: Final = "pools"


class SharedPools:
    """Three pools of connections, so that long responses do not keep short ones waiting.

    `short` serves submissions and status checks, at most 64 at a time; `long` serves uploads and requests that are
    answered after minutes; `public` serves downloads, and connects to no private address. The gates of each client
    limit the latter two. They are closed with the last client that has joined.
    """

    def __init__(self) -> None:
        self.short: ConnectionPool = _make_pool(_MAX_CONNECTIONS)
        self.long: ConnectionPool = _make_pool(None)
        self.public: ConnectionPool = _make_pool(None, only_public=True)
        self._users = 0

    def join(self) -> None:
        """Count a client that opens."""
        self._users += 1

    async def leave(self) -> None:
        """Count a client that closes; the last one closes the connections."""
        self._users -= 1
        if self._users:
            return
        pools = (self.short, self.long, self.public)
        for pool in pools:  # all at once, before anything is awaited
            pool.close()
        for pool in pools:
            await pool.aclose()

    @property
    def is_closed(self) -> bool:
        """True after the last client has left."""
        return self.short.is_closed


_shared: Final[SharedRegistry[SharedPools]] = SharedRegistry()


def join_pools() -> SharedPools:
    """Return the pools of the running event loop, joined."""
    pools = _shared.get(SharedPools, _NAME)
    if pools.is_closed:
        _shared.drop(_NAME)
        pools = _shared.get(SharedPools, _NAME)
    pools.join()
    return pools


def _make_pool(max_connections: int | None, *, only_public: bool = False) -> ConnectionPool:
    limits = httpx.Limits(
        max_connections=max_connections, max_keepalive_connections=_MAX_CONNECTIONS, keepalive_expiry=_REST_SECONDS
    )
    return PooledTransport(limits=limits, allow_address=_is_public if only_public else None).pool


def _is_public(address: str) -> bool:
    return not is_private(address)
