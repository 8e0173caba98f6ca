"""The server's side of a connection, with the abrupt ends that faults need."""

from __future__ import annotations

import asyncio
import contextlib
import socket  # the names of two options; the sockets themselves are uvicorn's
import struct
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from aiowery.sandbox._http.counters import Counters

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(H11Protocol):
    """uvicorn's protocol, which passes itself to the application as `scope["state"]["connection"]`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.access_log = False

    async def wait_flushed(self) -> None:
        """Wait until all written bytes are in the kernel, or until the connection is gone."""
        transport = self.transport
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.002)

    def close(self) -> None:
        """Close the connection normally (FIN)."""
        self.transport.close()

    def reset(self) -> None:
        """Reset the connection (TCP RST). Unsent bytes are lost."""
        sock = self.transport.get_extra_info("socket")
        # The socket is gone if the peer has disconnected.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


def counting_connection(counters: Counters, open_connections: set[Connection]) -> type[Connection]:
    """Return a connection class that updates `counters` and the set of open connections."""

    class CountedConnection(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
            super().connection_made(transport)
            open_connections.add(self)
            counters.connection_opened()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            open_connections.discard(self)
            counters.connection_closed()

    return CountedConnection
