"""The credits that a client may spend, and the estimated prices of requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from aiowery._core.events import log
from aiowery._core.fields import short_repr
from aiowery._core.job_end import JobEnd
from aiowery._core.request import Request
from aiowery.errors import ConfigurationError
from aiowery.ledger import Ledger, check_budget

_MAX_GROUPS: Final = 1000
_MAX_PRICE: Final = sys.float_info.max

PriceTable = Mapping[str, float] | Callable[[Request[Any]], float | None]
"""Credits per task, by model or request type; or a function that returns a request's price, or None if unknown."""


class BudgetAccount:
    """A count of the credits that were charged or are held for work under way or in doubt, against a budget."""

    def __init__(self, budget: float | None) -> None:
        self.budget: float | None = budget
        self.used: float = 0.0

    def hold(self, cost: float) -> None:
        """Reserve credits. Raises BudgetExceeded if fewer are left."""
        if refusal := check_budget(self.used, cost, self.budget):
            raise refusal
        self.used += cost


@attrs.define
class Hold:
    """The credits that one submission holds: first its estimated `cost`, later the credits that were charged.

    `budget` is the limit of the submission's batch in credits, if it has one; the ledger checks it.
    """

    account: BudgetAccount
    cost: float = 0.0
    budget: float | None = None
    _held: float = attrs.field(default=0.0, init=False)

    def reserve(self) -> None:
        """Reserve the estimated cost. Raises BudgetExceeded if too few credits are left."""
        self.account.hold(self.cost)
        self._held = self.cost

    def set_charge(self, charged: float) -> None:
        """Replace the reserved credits by the charged ones."""
        self.account.used += charged - self._held
        self._held = charged


class PriceEstimator:
    """An estimator of request prices: the caller's table first, else the latest charge for equal settings."""

    def __init__(self, table: PriceTable | None, ledger: Ledger, base_url: str) -> None:
        self._table = table
        self._base_url = base_url
        self._ledger = ledger

    async def estimate(self, request: Request[Any]) -> float | None:
        """Return the estimate in credits, or None. Raises ConfigurationError if `prices` gives no valid price."""
        price = self.listed_price(request)
        if price is None:
            return await self._ledger.price(self.group_of(request))
        if not _is_price(price):
            raise ConfigurationError(
                f"prices must return a number of credits, 0 or more, got {short_repr(price)} for {request.log_label};"
                " nothing was sent: correct the price"
            )
        return price

    def group_of(self, request: Request[Any]) -> str:
        """Return the key that all requests of one price share."""
        return price_key(request, self._base_url)

    def listed_price(self, request: Request[Any]) -> float | None:
        """Return the price of a request in the caller's table, in credits; None without one.

        Raises ConfigurationError if the caller's function raises.
        """
        if self._table is None:
            return None
        if callable(self._table):
            return _called(self._table, request)
        price_per_task = self._table.get(request.model_name or request.type_name, self._table.get(request.type_name))
        return None if price_per_task is None else price_per_task * request.task_count


def _is_price(price: Any) -> bool:
    """Return True for a finite number that is not below 0."""
    return isinstance(price, (int, float)) and not isinstance(price, bool) and 0 <= price <= _MAX_PRICE


def _called(prices: Callable[[Request[Any]], float | None], request: Request[Any]) -> float | None:
    try:
        return prices(request)
    except Exception as fault:
        raise ConfigurationError(
            f"prices raised {type(fault).__name__}: {fault} for {request.log_label}; nothing was sent: correct the"
            " function"
        ) from fault


class PriceProbe:
    """Discovers unknown prices: one request of a price group is sent, the others wait until its price is known.

    If the provider reports no price for it, the others are sent without waiting.
    """

    def __init__(self, prices: PriceEstimator) -> None:
        self._prices = prices
        self._locks: dict[str, asyncio.Lock] = {}
        self._without_price: set[str] = set()
        self._stopped = False

    async def acquire(self, request: Request[Any], until: float | None = None) -> str | None:
        """Wait until the price is known, or until this request is the probe; return the group in the latter case.

        Raises TimeoutError at `until` (a loop time).
        """
        group = self._prices.group_of(request)
        if await self._is_known(group, request):
            return None
        lock = self._locks.setdefault(group, asyncio.Lock())
        async with asyncio.timeout_at(until):
            await lock.acquire()
        is_probe = False
        try:
            is_probe = not (self._stopped or await self._is_known(group, request))
        finally:
            if not is_probe:
                lock.release()
        return group if is_probe else None

    def release(self, group: str | None, *, without_price: bool = False) -> None:
        """End a probe; with `without_price`, the provider will not report what it cost."""
        if group is None:
            return
        if without_price:
            self._without_price.add(group)
            if len(self._without_price) > _MAX_GROUPS:  # groups depend on callers' texts, so their number needs a limit
                self._without_price.pop()
        lock = self._locks.get(group)
        if lock is not None and lock.locked():
            lock.release()
        if len(self._locks) > _MAX_GROUPS:
            self._locks = {group: lock for group, lock in self._locks.items() if lock.locked()}

    def stop(self) -> None:
        """End the wait of all requests; no request waits from now on."""
        self._stopped = True
        locks, self._locks = self._locks, {}
        for probing in locks.values():
            if probing.locked():
                probing.release()

    async def _is_known(self, group: str, request: Request[Any]) -> bool:
        return group in self._without_price or await self._prices.estimate(request) is not None


class Spending:
    """The spending of a client: its budget account, the price estimates, and the probe for unknown prices."""

    def __init__(
        self,
        ledger: Ledger,
        base_url: str,
        *,
        prices: PriceTable | None,
        budget: float | None,
        unit_price: float | None,
    ) -> None:
        self.account: BudgetAccount = BudgetAccount(budget)
        self.prices: PriceEstimator = PriceEstimator(prices, ledger, base_url)
        self.probe: PriceProbe = PriceProbe(self.prices)
        self._unit_price = unit_price
        self._logged: set[str] = set()

    @property
    def money(self) -> float | None:
        """The cost of the used credits in money, if the price of a credit is known."""
        return None if self._unit_price is None else self.account.used * self._unit_price

    def has_budget(self, batch_budget: float | None) -> bool:
        """Return True if the client or the batch has a budget, so that prices matter."""
        return batch_budget is not None or self.account.budget is not None

    async def probe_price(self, request: Request[Any], budget: float | None, until: float | None = None) -> str | None:
        """Wait, while a budget applies and the price is unknown, for the probe's price; return the probe's group.

        The group is returned to the probe itself only; its probe ends with its record, or with `probe.release`. Raises
        TimeoutError at `until` (a loop time).
        """
        return await self.probe.acquire(request, until) if self.has_budget(budget) else None

    async def hold_for(self, request: Request[Any], budget: float | None) -> Hold:
        """Return the hold of a submission, with the estimated cost if a budget applies."""
        cost = await self.prices.estimate(request) if self.has_budget(budget) else None
        return Hold(self.account, cost or 0.0, budget)

    def check_reported(self, request: Request[Any] | None, end: JobEnd) -> None:
        """Log, once each, that a charge below 0 was reported, and 0 for a result whose price `prices` names."""
        if any(one.credits is not None and one.credits < 0 for one in end.snapshots):
            self._log_once("a charge below 0 credits was reported, which counts as none: the estimate stays held")
        if request is not None and end.error is None and end.credits == 0 and self.prices.listed_price(request):
            self._log_once("a charge of 0 credits was reported, although `prices` names a price; it counts as 0")

    def _log_once(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            log.warning("%s (this is not logged again)", message)


def price_key(request: Request[Any], base_url: str) -> str:
    """Return the key that all requests of one price share: address, endpoint, model, settings."""
    return " ".join((base_url, *request.timing_key))
