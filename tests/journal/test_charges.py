"""Reported charges that cannot be: below 0, without an end, or 0 for what has a price."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.snapshot import Snapshot, TaskState, total_credits
from aiowery.errors import BudgetExceeded
from aiowery.ledger import MemoryLedger
from tests.support import CAT, FakeWeryAI, client_of, ledger_of

pytestmark = pytest.mark.anyio

PRICES = {"text-to-image": 1}


class ChargingWeryAI(FakeWeryAI):
    """A provider that reports this charge for each task."""

    charge: Any = None

    def _task(self, task_id: str, now: float) -> dict[str, Any]:
        task = super()._task(task_id, now)
        return {**task, "cost_credits": self.charge} if "cost_credits" in task else task


async def spend(charge: Any, runs: int = 20, **settings: Any) -> tuple[int, float]:
    """Run requests until the budget of 3 is used up; return the number of POSTs and the credits that count."""
    provider = ChargingWeryAI(seconds=1.0)
    provider.charge = charge
    async with client_of(provider, budget=3, prices=PRICES, **settings) as client:
        for _ in range(runs):
            try:
                result = await client.run(CAT)
            except BudgetExceeded:
                break
            assert result.credits is None or result.credits >= 0
        return len(provider.posts), client.statistics().credits


@pytest.mark.parametrize("charge", [-1000, "-1", -0.5, "-1e400", "1e400", "inf", "NaN", True, [], 10**400])
@pytest.mark.virtual_time
async def test_budget_impossible_charge_holds_the_estimate(charge: Any) -> None:
    """A budget of 3 lets three requests of price 1 through, whatever the provider reports."""
    assert await spend(charge) == (3, 3.0)


@pytest.mark.virtual_time
async def test_budget_charge_above_estimate_counts() -> None:
    """A possible charge replaces the estimate."""
    assert await spend(2) == (2, 4.0)


@pytest.mark.virtual_time
async def test_ledger_stores_no_negative_charge(tmp_path: Any) -> None:
    """The entry keeps its estimate, and later prices do not go below 0."""
    provider = ChargingWeryAI(seconds=1.0)
    provider.charge = -1000
    async with ledger_of("memory", tmp_path, remember=5) as ledger:
        async with client_of(provider, budget=3, prices=PRICES, ledger=ledger) as client:
            await client.run(CAT)
        (entry,) = await ledger.entries()
        assert isinstance(ledger, MemoryLedger)
    assert (entry.credits, entry.cost) == (None, 1.0)


@pytest.mark.parametrize(
    ("charge", "message"),
    [(-1, "a charge below 0 credits was reported"), (0, "a charge of 0 credits was reported, although `prices`")],
)
@pytest.mark.virtual_time
async def test_odd_charge_is_logged_once(charge: int, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning for each kind, however many jobs report it."""
    await spend(charge, runs=3)
    assert caplog.text.count(message) == 1


@pytest.mark.virtual_time
async def test_charge_of_zero_without_price_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Without a price in `prices`, 0 may be right."""
    provider = ChargingWeryAI(seconds=1.0)
    provider.charge = 0
    async with client_of(provider) as client:
        assert (await client.run(CAT)).credits == 0
    assert "0 credits" not in caplog.text


@given(st.lists(st.floats() | st.none() | st.integers(-5, 5), max_size=5))
def test_total_credits_any_values_is_never_negative(values: list[float | None]) -> None:
    """The sum is that of the possible charges, and None without any."""
    total = total_credits(Snapshot("t", TaskState.DONE, credits=value) for value in values)
    possible = [value for value in values if value is not None and 0 <= value < float("inf")]
    assert total == (sum(possible) if possible else None)
