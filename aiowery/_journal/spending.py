"""What a client may spend, and what things cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from aiowery._core.request import Request
from aiowery.errors import ConfigurationError
from aiowery.ledger import Ledger, check_budget

_SORTS: Final = 1000

PriceTable = Mapping[str, float] | Callable[[Request[Any]], float | None]
"""Credits a task, by model or by type of request; or a function that returns a request's price, None if unknown."""


class BudgetAccount:
    """Counts what was charged, and the estimates of what is under way or in doubt, against a budget."""

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self.used: float = 0.0

    def hold(self, cost: float) -> None:
        """Set credits aside; raises BudgetExceeded when there are too few."""
        if refusal := check_budget(self.used, cost, self.budget):
            raise refusal
        self.used += cost


class PriceEstimator:
    """What requests cost: by the caller's table, else by what the latest of the same model and settings was charged."""

    def __init__(self, table: PriceTable | None, ledger: Ledger, host: str) -> None:
        self._table = table
        self._host = host
        self._ledger = ledger

    async def estimate(self, request: Request[Any]) -> float | None:
        """Return the estimate; None where nobody knows."""
        told = self._from_table(request)
        if told is not None and not 0 <= told < inf:
            raise ConfigurationError(
                f"prices say {told!r} for {request.label}; a number of credits, 0 or more, is needed"
            )
        return await self._ledger.price(self.key_of(request)) if told is None else told

    def key_of(self, request: Request[Any]) -> str:
        """Return what requests of one price have in common."""
        return price_key(request, self._host)

    def _from_table(self, request: Request[Any]) -> float | None:
        if self._table is None:
            return None
        if callable(self._table):
            return self._table(request)
        each = self._table.get(request.model_name or request.type_name, self._table.get(request.type_name))
        return None if each is None else each * request.task_count


class PriceProbe:
    """Lets one request of unknown price go before the others of its sort, which then know what they take.

    Where nothing is told of what the first was charged, the others go as they come.
    """

    def __init__(self, prices: PriceEstimator) -> None:
        self._prices = prices
        self._buying: dict[str, asyncio.Lock] = {}
        self._untold: set[str] = set()
        self._stopped = False

    async def acquire(self, request: Request[Any], until: float | None = None) -> str | None:
        """Wait until the price is known, or until this request is the first; then return its sort.

        Raises TimeoutError at `until` (a loop time).
        """
        sort = self._prices.key_of(request)
        if await self._is_known(sort, request):
            return None
        buying = self._buying.setdefault(sort, asyncio.Lock())
        async with asyncio.timeout_at(until):
            await buying.acquire()
        first = False
        try:
            first = not (self._stopped or await self._is_known(sort, request))
        finally:
            if not first:
                buying.release()
        return sort if first else None

    def release(self, sort: str | None, *, untold: bool = False) -> None:
        """Note that the first of a sort has ended; with `untold`, that nobody will learn what that costs."""
        if sort is None:
            return
        if untold:
            self._untold.add(sort)
            if len(self._untold) > _SORTS:  # they are made of callers' words, so their number must have an end
                self._untold.pop()
        buying = self._buying.get(sort)
        if buying is not None and buying.locked():
            buying.release()
        if len(self._buying) > _SORTS:
            self._buying = {sort: lock for sort, lock in self._buying.items() if lock.locked()}

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        waited_for, self._buying = self._buying, {}
        for buying in waited_for.values():
            if buying.locked():
                buying.release()

    async def _is_known(self, sort: str, request: Request[Any]) -> bool:
        return sort in self._untold or await self._prices.estimate(request) is not None


def price_key(request: Request[Any], host: str) -> str:
    """Return what requests of one price have in common: host, endpoint, model, settings."""
    return " ".join((host, *request.timing_key))
