"""Claims on batch entries: a client may send only entries that it has claimed, some of them ahead in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final

from aiowery._journal.writes import LedgerWrites
from aiowery.ledger import Ledger

_PREFETCH: Final = 15


class EntryClaims:
    """The entries that this client has claimed and not sent yet.

    Each claim also claims up to 15 of the entries that are expected next, because a claim is a disk write.
    """

    def __init__(self, ledger: Ledger, writes: LedgerWrites) -> None:
        self._ledger = ledger
        self._writes = writes
        self._expected: dict[int, None] = {}
        self._prefetched: set[int] = set()
        self._claim_lock = asyncio.Lock()

    def expect(self, entry_ids: Iterable[int]) -> None:
        """Set the new entries that are expected to be claimed next, in order."""
        self._expected = dict.fromkeys(entry_ids)

    async def claim(self, entry_id: int) -> bool:
        """Claim a new entry, and some of those expected next; return False if it is no longer new."""
        async with self._claim_lock:
            if entry_id not in self._prefetched:
                await self._claim_from(entry_id)
        if entry_id not in self._prefetched:
            return False
        self._prefetched.remove(entry_id)
        return True

    def unclaim(self, entry_id: int) -> None:
        """Give up a claimed entry that was not sent."""
        self._writes.start(self._ledger.unclaim(entry_id))

    def release(self, entry_id: int) -> bool:
        """Give up an entry that was claimed ahead; return False if it was not."""
        if entry_id not in self._prefetched:
            return False
        self._prefetched.remove(entry_id)
        self.unclaim(entry_id)
        return True

    def release_all(self) -> None:
        """Give up all entries that were claimed ahead."""
        self._expected = {}
        for entry_id in tuple(self._prefetched):
            self.release(entry_id)

    async def _claim_from(self, entry_id: int) -> None:
        claiming = asyncio.ensure_future(self._ledger.claim(self._next_from(entry_id)))
        try:
            claimed = await asyncio.shield(claiming)
        except asyncio.CancelledError:  # otherwise the entries stay claimed while this client is open
            self._writes.start(self._unclaim_all(claiming))
            raise
        self._prefetched.update(claimed)

    def _next_from(self, entry_id: int) -> list[int]:
        """Return an entry and some of those that are expected next."""
        self._expected.pop(entry_id, None)
        ahead = list(islice(self._expected, _PREFETCH))
        for other in ahead:
            del self._expected[other]
        return [entry_id, *ahead]

    async def _unclaim_all(self, claiming: asyncio.Future[list[int]]) -> None:
        for entry_id in await claiming:
            await self._ledger.unclaim(entry_id)
