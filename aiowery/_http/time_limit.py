"""A time limit whose timer keeps no context variables alive."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def time_limit(seconds: float) -> AsyncIterator[asyncio.Timeout]:
    """Limit a block like `asyncio.timeout`.

    The event loop keeps a cancelled timer, with the context in which it was set, until it would have run.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, limit.reschedule, loop.time(), context=contextvars.Context())
        try:
            yield limit
        finally:
            timer.cancel()
