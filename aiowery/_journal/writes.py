"""Ledger writes in the background: the caller does not wait, and a failed write is logged."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiowery._base.background import BackgroundTasks
from aiowery._core.events import log


class LedgerWrites:
    """The ledger writes of an open client that run in the background."""

    def __init__(self) -> None:
        self._tasks = BackgroundTasks()

    def start(self, write: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a write; its error is logged."""
        return self._tasks.spawn(_logged(write))

    async def wait(self) -> None:
        """Wait until everything is written."""
        await self._tasks.wait()


async def _logged(write: Coroutine[Any, Any, None]) -> None:
    try:
        await write
    except Exception as error:  # noqa: BLE001 - a ledger of the caller's own may raise anything
        log.error("a change was not written to the ledger: %s", error)
