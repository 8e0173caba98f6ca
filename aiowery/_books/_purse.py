"""What a client may spend, and what things cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from aiowery._values import Request
from aiowery.errors import ConfigurationError
from aiowery.ledger import Ledger, over_budget

PriceTable = Mapping[str, float] | Callable[[Request[Any]], float | None]
"""Credits a task, by model or by type of request; or a function that returns a request's price, None if unknown."""


class Purse:
    """Counts what was charged, and the estimates of what is under way or in doubt, against a budget."""

    def __init__(self, budget: float | None) -> None:
        self.budget = budget
        self.used: float = 0.0

    def hold(self, cost: float) -> None:
        """Set credits aside; raises BudgetExceeded when there are too few."""
        if refusal := over_budget(self.used, cost, self.budget):
            raise refusal
        self.used += cost


class Prices:
    """What requests cost: by the caller's table, else by what the latest of the same model and settings was charged."""

    def __init__(self, table: PriceTable | None, ledger: Ledger, host: str) -> None:
        self._table = table
        self._host = host
        self._ledger = ledger

    async def of(self, request: Request[Any]) -> float | None:
        """Return the estimate; None where nobody knows."""
        told = self._told(request)
        if told is not None and not 0 <= told < inf:
            raise ConfigurationError(
                f"prices say {told!r} for {request.label}; a number of credits, 0 or more, is needed"
            )
        return await self._ledger.price(price_key(request, self._host)) if told is None else told

    def _told(self, request: Request[Any]) -> float | None:
        if self._table is None:
            return None
        if callable(self._table):
            return self._table(request)
        each = self._table.get(request.model_key or request.type_name, self._table.get(request.type_name))
        return None if each is None else each * request.places


def price_key(request: Request[Any], host: str) -> str:
    """Return what requests of one price have in common: host, endpoint, model, settings."""
    return " ".join((host, *request.duration_key))
