"""Ledgers of tests: one that outlives its clients, and one that fails."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from aiowery.errors import LedgerError
from aiowery.ledger import Ledger, MemoryLedger, SqliteLedger

LEDGER_KINDS: Final = ("memory", "file")


@contextlib.asynccontextmanager
async def ledger_of(kind: str, directory: Path, *, remember: int = 0) -> AsyncIterator[Ledger]:
    """Open a ledger, "memory" or "file", that outlives the clients of a test."""
    ledger: Ledger = MemoryLedger(remember=remember) if kind == "memory" else SqliteLedger(directory / "jobs.db")
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


class FailingLedger(MemoryLedger):
    """A ledger in which one method raises an error, by default because the disk is full."""

    def __init__(self, method: str, error: Exception | None = None) -> None:
        super().__init__()
        self._method = method
        self._error = error or LedgerError("the disk is full")

    def __getattribute__(self, name: str) -> Any:
        if name == super().__getattribute__("_method"):
            return self._fail
        return super().__getattribute__(name)

    async def _fail(self, *_: Any, **__: Any) -> None:
        raise self._error
