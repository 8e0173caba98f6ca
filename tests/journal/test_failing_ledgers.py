"""A ledger of the caller's own that raises anything: what was accepted is kept, what was not sent is not in doubt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiowery.errors import InsufficientCredits, LedgerError, SubmissionInDoubt
from tests.support import CAT, FailingLedger, FakeWeryAI, client_of, envelope

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_time]

FAULTS = [RuntimeError("out of order"), OSError(28, "No space left"), KeyError("x"), LedgerError("full")]
faults = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)


async def failing(method: str, fault: Exception) -> FailingLedger:
    """Return an open ledger in which one method raises."""
    ledger = FailingLedger(method, fault)
    await ledger.open()
    return ledger


@faults
@pytest.mark.parametrize("method", ["mark_accepted", "entries_with_task", "mark_finished"])
async def test_run_ledger_fails_after_acceptance_has_result(
    method: str, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The job exists and ends, its slot is free again, and the ids are in the log."""
    provider = FakeWeryAI(seconds=1.0)
    async with client_of(provider, ledger=await failing(method, fault)) as client:
        assert (await client.run(CAT)).task_ids == ("task_0",)
        await asyncio.sleep(0.1)
        assert client.statistics().queue.in_use == 0
    assert len(provider.posts) == 1
    if method == "mark_accepted":
        assert "not written to the ledger: tasks task_0" in caplog.text


@faults
async def test_submit_ledger_fails_before_sending_raises_ledger_error_unsent(fault: Exception) -> None:
    """Without the mark nothing is sent, so nothing is in doubt."""
    provider = FakeWeryAI()
    async with client_of(provider, ledger=await failing("mark_sending", fault)) as client:
        with pytest.raises(LedgerError):
            await client.run(CAT)
        assert client.statistics().in_doubt == 0
        assert client.statistics().queue.in_use == 0
    assert provider.posts == []


@faults
@pytest.mark.parametrize("method", ["mark_in_doubt", "mark_refused", "unclaim"])
async def test_submit_outcome_cannot_be_written_raises_the_outcome(method: str, fault: Exception) -> None:
    """The caller gets the doubt or the rejection, not the fault of the ledger."""
    answer = envelope({"batch_id": 5}) if method == "mark_in_doubt" else envelope(None, 1004, "insufficient credits")
    expected: type[Exception] = SubmissionInDoubt if method == "mark_in_doubt" else InsufficientCredits
    provider = FakeWeryAI(faults={"submit": [answer]})
    async with client_of(provider, ledger=await failing(method, fault)) as client:
        with pytest.raises(expected):
            await client.run(CAT)
    assert len(provider.posts) == 1


async def test_submit_cancelled_while_acceptance_is_written_logs_the_ids(caplog: pytest.LogCaptureFixture) -> None:
    """If the event loop ends while the acceptance is being written, the ids are in the log."""
    writing = asyncio.Event()

    class SlowLedger(FailingLedger):
        async def _fail(self, *_: Any, **__: Any) -> None:
            writing.set()
            await asyncio.sleep(1000)

    ledger = SlowLedger("mark_accepted")
    await ledger.open()
    async with client_of(FakeWeryAI(), ledger=ledger) as client:
        running = asyncio.create_task(client.submit(CAT))
        await writing.wait()
        post = client.pending_submission(CAT)
        assert post is not None
        post.cancel()
        await asyncio.wait([running])
    assert "not written to the ledger: tasks task_0" in caplog.text
