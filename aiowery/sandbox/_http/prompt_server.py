"""A uvicorn server that shuts down without pauses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    import socket

_SHUTDOWN_TIMEOUT = 1
_TICK_SECONDS = 0.1
_CHECK_SECONDS = 0.001


class PromptServer(uvicorn.Server):
    """A uvicorn server that ends immediately. uvicorn itself takes two pauses of 0.1 seconds.

    Each test starts and ends a sandbox, so these pauses would be most of its duration.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Begin to shut down."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        """Tick as uvicorn does until `end` is called."""
        for tick in itertools.count():
            if await self.on_tick(tick):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close as uvicorn does. Responses under way have one second to finish."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        state = self.server_state
        for connection in tuple(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_TIMEOUT):
                while state.connections or state.tasks:  # noqa: ASYNC110 - uvicorn has sets, not events
                    await asyncio.sleep(_CHECK_SECONDS)
        for task in state.tasks:
            task.cancel()
        await self.lifespan.shutdown()
        for server in self.servers:
            await server.wait_closed()
