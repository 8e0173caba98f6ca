"""Conformance suite for ledgers: the tests that a store of your own must pass.

    import pytest
    from aiowery.testing.ledger import LedgerConformance

    @pytest.mark.anyio
    class TestMyLedger(LedgerConformance):
        def make_ledger(self, directory):
            return MyLedger(directory / "ledger")

A store that several processes may open derives its tests from `SharedLedgerConformance`.

The tests are asynchronous methods; any pytest plugin for asyncio runs them (anyio's, by the marker above). With
`pytest_plugins = ["aiowery.testing"]` in a `conftest.py`, pytest explains failed assertions in detail.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from aiowery.errors import BudgetExceeded, LedgerError
from aiowery.ledger import NO_BATCH, TRANSITIONS, Duration, Entry, Ledger, NewEntry, State, Verb, hash_request

__all__ = ("LedgerConformance", "SharedLedgerConformance")

_REQUEST: Final[Mapping[str, Any]] = {"type": "text-to-image", "prompt": "a cat"}
_KEEPS_DELIVERIES: Final = {State.SENDING, State.ACCEPTED, State.IN_DOUBT}

_Operation = Callable[[Ledger, int], Awaitable[object]]
_RECORD_DELIVERY: Final = "record_delivery"
_OPERATIONS: Final[Mapping[str, _Operation]] = {
    Verb.CLAIM: lambda ledger, id_: ledger.claim([id_]),
    Verb.UNCLAIM: lambda ledger, id_: ledger.unclaim(id_),
    Verb.MARK_SENDING: lambda ledger, id_: ledger.mark_sending(id_, "another submission", 1.0),
    Verb.MARK_UNSENT: lambda ledger, _: ledger.mark_unsent("submission 0"),
    Verb.MARK_ACCEPTED: lambda ledger, _: ledger.mark_accepted("submission 0", ["x"]),
    Verb.MARK_REFUSED: lambda ledger, _: ledger.mark_refused("submission 0", "why", again=False),
    Verb.MARK_BUSY: lambda ledger, _: ledger.mark_refused("submission 0", "why", again=True),
    Verb.MARK_IN_DOUBT: lambda ledger, _: ledger.mark_in_doubt("submission 0", "why"),
    Verb.MARK_DONE: lambda ledger, id_: ledger.mark_finished(id_, State.DONE),
    Verb.MARK_FAILED: lambda ledger, id_: ledger.mark_finished(id_, State.FAILED),
    Verb.TAKE_OWNERSHIP: lambda ledger, id_: ledger.take_ownership(id_),
    Verb.GIVE_UP_OWNERSHIP: lambda ledger, id_: ledger.give_up_ownership(id_),
    Verb.RESOLVE_ACCEPTED: lambda ledger, id_: ledger.resolve_accepted(id_, ["x"]),
    Verb.RESOLVE_UNSENT: lambda ledger, id_: ledger.resolve_unsent(id_),
    _RECORD_DELIVERY: lambda ledger, _: ledger.record_delivery("submission 0", "another task"),
}


class LedgerConformance(abc.ABC):
    """Base class of the tests of a ledger that one process uses: `is_shared` is False."""

    @abc.abstractmethod
    def make_ledger(self, directory: Path) -> Ledger:
        """Return a ledger that is not open yet and keeps its data in an empty directory, if it needs one.

        A shared ledger returns a further opening of the same ledger for the same directory.
        """

    @contextlib.asynccontextmanager
    async def open_ledger(self, directory: Path) -> AsyncIterator[Ledger]:
        """Open a ledger, and close it at the end of the block."""
        ledger = self.make_ledger(directory)
        await ledger.open()
        try:
            yield ledger
        finally:
            await ledger.aclose()

    @pytest.mark.parametrize("state", State)
    @pytest.mark.parametrize("operation", _OPERATIONS)
    async def test_every_move_from_every_state(self, state: State, operation: str, tmp_path: Path) -> None:
        """A transition of the table leads to its end state and resets its fields; any other changes nothing."""
        transition = None if operation == _RECORD_DELIVERY else TRANSITIONS[Verb(operation)]
        async with self.open_ledger(tmp_path) as ledger:
            before = await _entry_in_state(ledger, state)
            if transition is not None and transition.is_strict and state not in transition.start:
                with pytest.raises(LedgerError):
                    await _OPERATIONS[operation](ledger, before.id)
            else:
                await _OPERATIONS[operation](ledger, before.id)
            after = await _get(ledger, before.id)
        if transition is None or state not in transition.start:
            assert after == before
        else:
            assert after.state is transition.end
            assert {name: getattr(after, name) for name in transition.resets} == transition.resets

    async def test_entry_done_keeps_every_fact(self, tmp_path: Path) -> None:
        """An entry returns the facts that were stored, from the request to the files."""
        async with self.open_ledger(tmp_path) as ledger:
            done = await _entry_in_state(ledger, State.DONE)
            await ledger.set_files(done.id, ["1.png", "2.png"])
            kept = await _get(ledger, done.id)
        assert (kept.batch, kept.index, kept.request) == ("b", 0, _REQUEST)
        assert kept.key == f"{hash_request(_REQUEST)}-0"
        assert (kept.submission_id, kept.sent_at, kept.attempts, kept.owner) == ("submission 0", 12.5, 1, None)
        assert (kept.task_ids, kept.provider_batch_id, kept.request_id) == (("t1", "t2"), "9", "r")
        assert (kept.snapshots, kept.credits, kept.files) == (({"task_id": "t1"},), 2.0, ("1.png", "2.png"))

    async def test_add_known_keys_returns_existing_entries(self, tmp_path: Path) -> None:
        """A batch that is added again duplicates nothing; its entries come in the order of the argument."""
        async with self.open_ledger(tmp_path) as ledger:
            first = await ledger.add("b", [_new_entry(n) for n in range(5)])
            await ledger.claim([first[3].id])
            again = await ledger.add("b", [_new_entry(n) for n in reversed(range(6))])
            (other,) = await ledger.add("c", [_new_entry(0)])
        assert [entry.index for entry in again] == [5, 4, 3, 2, 1, 0]
        assert [entry.id for entry in again[1:]] == [entry.id for entry in reversed(first)]
        assert again[2].state is State.CLAIMED
        assert other.id not in {entry.id for entry in again}

    async def test_add_reuse_returns_equal_usable_entry(self, tmp_path: Path) -> None:
        """With `reuse`, a done entry comes first; one that failed, is in doubt or has another base_url never comes."""
        async with self.open_ledger(tmp_path) as ledger:
            (first,) = await ledger.add("b", [_equal("1")], claim=True)
            reused = await ledger.add("c", [_equal("2"), _equal("3")], reuse=True)
            assert [entry.id for entry in reused] == [first.id] * 2
            await ledger.mark_sending(first.id, "r1", 1.0)
            await ledger.mark_in_doubt("r1", "lost")
            (second,) = await ledger.add("c", [_equal("2")], reuse=True, claim=True)
            assert second.id != first.id
            await ledger.mark_sending(second.id, "r2", 1.0)
            await ledger.mark_accepted("r2", ["t"])
            await ledger.mark_finished(second.id, State.DONE)
            (third,) = await ledger.add("d", [_equal("9")])
            assert third.id not in {first.id, second.id}
            assert [entry.id for entry in await ledger.add("e", [_equal("7")], reuse=True)] == [second.id]
            (elsewhere,) = await ledger.add("f", [_equal("8", "https://other")], reuse=True)
            assert elsewhere.id not in {first.id, second.id, third.id}

    async def test_add_reused_entry_answers_its_key_without_reuse(self, tmp_path: Path) -> None:
        """An answer that was taken from another batch is an entry of this batch too, with a pointer to its origin."""
        async with self.open_ledger(tmp_path) as ledger:
            (first,) = await ledger.add("b", [_equal("1")], claim=True)
            await ledger.mark_sending(first.id, "r1", 1.0)
            await ledger.mark_accepted("r1", ["t"])
            assert [entry.id for entry in await ledger.add("c", [_equal("2")], reuse=True)] == [first.id]
            await ledger.mark_finished(first.id, State.DONE, credits=1.0)
            (again,) = await ledger.add("c", [_equal("2")])
            other, same = await ledger.add("c", [_equal("3"), _equal("2")])
            listed = await ledger.entries("c")
            done = await ledger.entries("c", [State.DONE], after=first.id - 1, limit=1)
            everything = await ledger.entries()
            summaries = {summary.name: summary for summary in await ledger.batches()}
            with pytest.raises(LedgerError):
                await ledger.add("c", [_equal("2", "https://other")])
        assert (again.id, again.batch, again.key, again.reused_from) == (first.id, "c", "2", "b")
        assert (same.id, other.reused_from) == (first.id, None)
        assert [(entry.id, entry.batch) for entry in listed] == [(first.id, "c"), (other.id, "c")]
        assert [entry.id for entry in done] == [first.id]
        assert [(entry.id, entry.batch, entry.reused_from) for entry in everything] == [
            (first.id, "b", None),
            (other.id, "c", None),
        ]
        assert summaries["c"].states == {State.DONE: 1, State.NEW: 1}
        assert (summaries["b"].credits, summaries["c"].credits, summaries["c"].used) == (1.0, None, 0.0)

    async def test_add_reused_entry_in_doubt_is_replaced(self, tmp_path: Path) -> None:
        """If the origin is in doubt or has failed, the batch gets an entry of its own."""
        async with self.open_ledger(tmp_path) as ledger:
            (first,) = await ledger.add("b", [_equal("1")], claim=True)
            await ledger.add("c", [_equal("2")], reuse=True)
            await ledger.mark_sending(first.id, "r1", 1.0)
            await ledger.mark_in_doubt("r1", "lost")
            (own,) = await ledger.add("c", [_equal("2")])
            assert [entry.id for entry in await ledger.entries("c")] == [own.id]
        assert own.id != first.id
        assert own.reused_from is None

    async def test_add_reused_entry_covers_a_new_one_of_its_key(self, tmp_path: Path) -> None:
        """An own entry that was not sent is not listed beside the answer from elsewhere: it would be paid for again."""
        async with self.open_ledger(tmp_path) as ledger:
            (own,) = await ledger.add("c", [_equal("2")])
            (first,) = await ledger.add("b", [_equal("1")], claim=True)
            await ledger.mark_sending(first.id, "r1", 1.0)
            await ledger.mark_accepted("r1", ["t"])
            await ledger.mark_finished(first.id, State.DONE)
            await ledger.add("c", [_equal("2")], reuse=True)
            assert [entry.id for entry in await ledger.add("c", [_equal("2")])] == [first.id]
            assert [entry.id for entry in await ledger.entries("c")] == [first.id]
            assert [entry.id for entry in await ledger.entries()] == [own.id, first.id]

    async def test_add_other_base_url_raises(self, tmp_path: Path) -> None:
        """A batch belongs to one base_url: results of another API would not be its results."""
        async with self.open_ledger(tmp_path) as ledger:
            await ledger.add("b", [_equal("1")])
            with pytest.raises(LedgerError):
                await ledger.add("b", [_equal("2", "https://other")])

    async def test_entries_are_limited_by_batch_and_state(self, tmp_path: Path) -> None:
        """Entries are returned by id, at most `limit` at a time; each batch has its figures."""
        async with self.open_ledger(tmp_path) as ledger:
            await ledger.add("b", [_new_entry(n) for n in range(7)])
            for index, state in enumerate((State.DONE, State.DONE, State.IN_DOUBT)):
                await _entry_in_state(ledger, state, index)
            await ledger.add("c", [_new_entry(n) for n in range(2)])
            first = await ledger.entries("b", limit=4)
            rest = await ledger.entries("b", after=first[-1].id)
            doubts = await ledger.entries(states=[State.IN_DOUBT])
            none = await ledger.entries(states=[])
            summaries = await ledger.batches()
        assert [entry.index for entry in first + rest] == list(range(7))
        assert [entry.index for entry in doubts] == [2]
        assert none == []
        assert [(one.name, one.total, one.credits) for one in summaries] == [("b", 7, 4.0), ("c", 2, None)]
        assert summaries[0].states == {State.DONE: 2, State.IN_DOUBT: 1, State.NEW: 4}

    async def test_unclaim_without_batch_deletes_entry(self, tmp_path: Path) -> None:
        """An unsent entry without a batch would never be sent again."""
        async with self.open_ledger(tmp_path) as ledger:
            (entry,) = await ledger.add(NO_BATCH, [NewEntry(key="1", index=0, request=_REQUEST)], claim=True)
            await ledger.unclaim(entry.id)
            assert await ledger.entries() == []

    async def test_mark_finished_other_state_raises(self, tmp_path: Path) -> None:
        """A state that is not final is a programming error; it changes nothing."""
        async with self.open_ledger(tmp_path) as ledger:
            entry = await _entry_in_state(ledger, State.ACCEPTED)
            with pytest.raises(LedgerError):
                await ledger.mark_finished(entry.id, State.IN_DOUBT)
            assert await ledger.entry(entry.id) == entry

    async def test_mark_accepted_after_release_keeps_late_tasks(self, tmp_path: Path) -> None:
        """If a released submission was accepted after all, the second charge stays visible."""
        async with self.open_ledger(tmp_path) as ledger:
            entry = await _entry_in_state(ledger, State.IN_DOUBT)
            await ledger.resolve_unsent(entry.id)
            await ledger.claim([entry.id])
            await ledger.mark_sending(entry.id, "second", 13.0)
            await ledger.mark_accepted("second", ["mine"])
            await ledger.mark_accepted("submission 0", ["late"])
            await ledger.mark_finished(entry.id, State.DONE)
            kept = await _get(ledger, entry.id)
            assert await ledger.entries_with_task("late") == [entry.id]
        assert (kept.task_ids, kept.late_task_ids, kept.attempts) == (("mine",), ("late",), 2)

    async def test_doubt_keeps_beginning_of_response_until_resolved(self, tmp_path: Path) -> None:
        """The beginning of the response is kept, whatever it contains, until it is known what became of the request."""
        excerpt = 'HTTP/1.1 200 OK\n\t{"task_id": "t1", \ufffd'
        async with self.open_ledger(tmp_path) as ledger:
            entries = [await _entry_in_state(ledger, State.SENDING, index) for index in range(3)]
            for entry in entries:
                await ledger.mark_in_doubt(f"submission {entry.index}", "unreadable", excerpt=excerpt)
                assert (await _get(ledger, entry.id)).excerpt == excerpt
            await ledger.resolve_accepted(entries[0].id, ["t1"])
            await ledger.resolve_unsent(entries[1].id)
            await ledger.mark_accepted("submission 2", ["t2"])
            assert [(await _get(ledger, entry.id)).excerpt for entry in entries] == [""] * 3

    async def test_entries_with_task_are_found_in_each_state(self, tmp_path: Path) -> None:
        """The entries of a task are found from its acceptance on, also if there are several."""
        async with self.open_ledger(tmp_path) as ledger:
            assert await ledger.entries_with_task("t1") == []
            await _entry_in_state(ledger, State.SENDING, 0)
            accepted = await _entry_in_state(ledger, State.ACCEPTED, 1)
            done = await _entry_in_state(ledger, State.DONE, 2)
            resolved = await _entry_in_state(ledger, State.IN_DOUBT, 3)
            await ledger.resolve_accepted(resolved.id, ["t1"])
            assert await ledger.entries_with_task("t1") == [accepted.id, done.id, resolved.id]
            assert await ledger.entries_with_task("t2") == [accepted.id, done.id]

    async def test_mark_accepted_tasks_of_another_entry_are_returned_and_nothing_is_stored(
        self, tmp_path: Path
    ) -> None:
        """No two entries of a provider have the same exclusive task; those of another base URL do not count."""
        async with self.open_ledger(tmp_path) as ledger:
            await _entry_in_state(ledger, State.DONE, 0)
            second = await _entry_in_state(ledger, State.SENDING, 1)
            assert await ledger.mark_accepted("submission 1", ["t3", "t2"], exclusive=["t3", "t2"]) == ("t2",)
            assert await ledger.entry(second.id) == second
            assert await ledger.entries_with_task("t3") == []
            assert await ledger.mark_accepted("submission 1", ["t3", "t2"], exclusive=["t3"]) == ()
            assert (await _get(ledger, second.id)).task_ids == ("t3", "t2")
            (elsewhere,) = await ledger.add(
                "elsewhere", [NewEntry(key="k", index=0, request=_REQUEST, base_url="https://b.example")], claim=True
            )
            await ledger.mark_sending(elsewhere.id, "submission 2", 13.0)
            assert await ledger.mark_accepted("submission 2", ["t1"], exclusive=["t1"]) == ()

    async def test_mark_accepted_tasks_delivered_for_another_entry_in_doubt_are_returned(self, tmp_path: Path) -> None:
        """A task that was named for a doubt may be the doubt's: no other entry gets it, until that is resolved."""
        async with self.open_ledger(tmp_path) as ledger:
            doubt = await _entry_in_state(ledger, State.IN_DOUBT, 0)
            await _entry_in_state(ledger, State.SENDING, 1)
            await ledger.record_delivery("submission 0", "t7", finished=False)
            await ledger.record_delivery("submission 1", "t8", finished=False)
            assert await ledger.mark_accepted("submission 1", ["t7", "t8"], exclusive=["t7", "t8"]) == ("t7",)
            assert await ledger.entries_with_task("t8") == []
            await ledger.resolve_unsent(doubt.id)
            assert await ledger.mark_accepted("submission 1", ["t7", "t8"], exclusive=["t7", "t8"]) == ()

    async def test_budget_counts_estimates_then_charges(self, tmp_path: Path) -> None:
        """An estimate counts from `mark_sending` on, a charge from the end on; unsent and refused entries count 0."""
        async with self.open_ledger(tmp_path) as ledger:

            async def used() -> float:
                (summary,) = await ledger.batches()
                return summary.used

            entries = await ledger.add("b", [_new_entry(n) for n in range(5)])
            await ledger.claim([entry.id for entry in entries])
            for entry in entries[:4]:
                await ledger.mark_sending(entry.id, f"r{entry.index}", 1.0, cost=3.0, budget=12.0)
            assert await used() == 12.0
            with pytest.raises(BudgetExceeded, match="12 of 12 credits"):
                await ledger.mark_sending(entries[4].id, "r4", 1.0, cost=3.0, budget=12.0)
            await ledger.mark_unsent("r0")
            await ledger.mark_refused("r1", "no", again=False)
            await ledger.mark_in_doubt("r2", "lost")
            await ledger.mark_accepted("r3", ["t"])
            assert await used() == 6.0
            await ledger.mark_finished(entries[3].id, State.DONE, credits=1.5)
            assert await used() == 4.5
            await ledger.resolve_unsent(entries[2].id)
            assert await used() == 1.5
            await ledger.mark_sending(entries[4].id, "r4", 1.0, budget=2.0)
            kept = await _get(ledger, entries[4].id)
        assert kept.state is State.SENDING

    async def test_price_is_latest_reported_charge(self, tmp_path: Path) -> None:
        """The price of a key is the charge of its latest done entry for which credits were reported."""
        async with self.open_ledger(tmp_path) as ledger:
            assert await ledger.price("k") is None
            for number, credits_ in enumerate((2.0, 3.0, None)):
                await _finish(ledger, number, State.DONE, credits_)
            assert await ledger.price("k") == 3.0
            assert await ledger.price("other") is None

    async def test_price_ignores_failed_entries(self, tmp_path: Path) -> None:
        """A failed task reports 0 credits because it was refunded; that is not the price of such a request."""
        async with self.open_ledger(tmp_path) as ledger:
            await _finish(ledger, 0, State.FAILED, 0.0)
            assert await ledger.price("k") is None

    async def test_durations_are_stored_with_final_states(self, tmp_path: Path) -> None:
        """Each duration is appended to those of its kind; a final state without one adds nothing."""
        async with self.open_ledger(tmp_path) as ledger:
            assert await ledger.durations() == {}
            entry = await _entry_in_state(ledger, State.ACCEPTED)
            await ledger.mark_finished(entry.id, State.DONE, duration=Duration("cat", 9.0, 12.125))
            await _store_durations(ledger, Duration("dog", 0.0, 0.5), Duration("cat", 10.0, 11.0))
            await _entry_in_state(ledger, State.DONE, index=1)
            kept = await _get(ledger, entry.id)
            assert await ledger.durations() == {"cat": [(9.0, 12.125), (10.0, 11.0)], "dog": [(0.0, 0.5)]}
        assert kept.state is State.DONE

    async def test_durations_are_limited(self, tmp_path: Path) -> None:
        """The latest 64 durations of the latest thousand kinds are kept, so the ledger does not grow by them."""
        async with self.open_ledger(tmp_path) as ledger:
            stores = (_store_durations(ledger, Duration("cat", float(number), 1e9)) for number in range(100))
            await asyncio.gather(*stores)
            assert [lower for lower, _ in (await ledger.durations())["cat"]] == list(range(36, 100))
            await asyncio.gather(*(_store_durations(ledger, Duration(f"k{n}", 1.0, 2.0)) for n in range(999)))
            await _store_durations(ledger, Duration("cat", 1.0, 2.0), Duration("new", 1.0, 2.0))
            kinds = list(await ledger.durations())
        assert len(kinds) == 1000
        assert {"cat", "new", "k1"} <= set(kinds)
        assert "k0" not in kinds

    @pytest.mark.parametrize("state", State)
    async def test_delivery_is_stored_until_entry_is_final(self, state: State, tmp_path: Path) -> None:
        """A delivery of a known submission is stored once; one of an unknown submission is not stored."""
        async with self.open_ledger(tmp_path) as ledger:
            entry = await _entry_in_state(ledger, state)
            found = [await ledger.record_delivery("submission 0", task_id) for task_id in ("t1", "t2", "t1")]
            assert await ledger.record_delivery("unknown", "t1") is None
            assert await ledger.has_submission("submission 0") == (found[0] is not None)
            assert not await ledger.has_submission("unknown")
            stored = await ledger.deliveries()
            assert [delivery.task_id for delivery in stored] == (["t1", "t2"] if state in _KEEPS_DELIVERIES else [])
            assert await ledger.deliveries(submission_id="submission 0") == stored
            if stored:
                assert await ledger.deliveries(after=stored[0].id) == stored[1:]
            assert await ledger.deliveries(submission_id="unknown") == []
            expected = [] if state in {State.NEW, State.CLAIMED} else [entry.id] * 3
            assert [one.id for one in found if one is not None] == expected
            await ledger.mark_accepted("submission 0", ["t1", "t2"])
            await ledger.mark_finished(entry.id, State.DONE)
            assert await ledger.deliveries() == []

    async def test_delivery_of_running_task_is_stored_for_doubts_only(self, tmp_path: Path) -> None:
        """A running task resolves a doubt; for an accepted entry only a finished task is news."""
        async with self.open_ledger(tmp_path) as ledger:
            await _entry_in_state(ledger, State.ACCEPTED)
            assert await ledger.record_delivery("submission 0", "t1", finished=False) is not None
            assert await ledger.deliveries() == []
            await _entry_in_state(ledger, State.IN_DOUBT, 1)
            await ledger.record_delivery("submission 1", "t9", finished=False)
            (early,) = await ledger.deliveries()
            await ledger.record_delivery("submission 1", "t9")
            await ledger.record_delivery("submission 1", "t9", finished=False)
            (late,) = await ledger.deliveries()
        assert (early.finished, late.finished) == (False, True)
        assert late.id > early.id

    async def test_deliveries_of_one_submission_are_limited(self, tmp_path: Path) -> None:
        """A forger who has a submission id can store 64 tasks and no more."""
        async with self.open_ledger(tmp_path) as ledger:
            await _entry_in_state(ledger, State.IN_DOUBT)
            await asyncio.gather(*(ledger.record_delivery("submission 0", f"t{number}") for number in range(100)))
            assert len(await ledger.deliveries()) == 64

    async def test_delivery_of_released_submission_becomes_late_task(self, tmp_path: Path) -> None:
        """A released submission that was accepted after all is stored once, however often it is delivered."""
        async with self.open_ledger(tmp_path) as ledger:
            entry = await _entry_in_state(ledger, State.IN_DOUBT)
            await ledger.record_delivery("submission 0", "t1")
            await ledger.resolve_unsent(entry.id)
            assert await ledger.deliveries() == []
            for _ in range(3):
                assert await ledger.record_delivery("submission 0", "late") is not None
                assert await ledger.has_submission("submission 0")
            kept = await _get(ledger, entry.id)
        assert (kept.late_task_ids, kept.state) == (("late",), State.NEW)

    async def test_closed_ledger_raises_and_reopens(self, tmp_path: Path) -> None:
        """Methods raise before the ledger is opened and after it was closed; it can be opened again."""
        ledger = self.make_ledger(tmp_path)
        with pytest.raises(LedgerError):
            await ledger.batches()
        for _ in range(2):
            await ledger.open()
            assert await ledger.batches() == []
            await ledger.aclose()
        await ledger.aclose()
        with pytest.raises(LedgerError):
            await ledger.batches()


class SharedLedgerConformance(LedgerConformance):
    """Base class of the tests of a ledger that several processes may open: `is_shared` is True."""

    async def test_shared_ledger_claims_each_entry_once(self, tmp_path: Path) -> None:
        """If two openings claim the same 500 entries at the same time, each entry has one owner."""
        async with self.open_ledger(tmp_path) as one, self.open_ledger(tmp_path) as other:
            entries = await one.add("b", [_new_entry(n) for n in range(500)])
            claims = await asyncio.gather(*(ledger.claim([entry.id]) for entry in entries for ledger in (one, other)))
            won = [claim for claim in claims if claim]
            assert len(won) == 500
            assert len({entry_id for (entry_id,) in won}) == 500
            assert await one.recover_abandoned() == 0
            assert len(await one.entries(states=[State.CLAIMED])) == 500

    async def test_shared_ledger_sends_for_owner_only(self, tmp_path: Path) -> None:
        """An opening can neither send nor unclaim an entry that another opening has claimed."""
        async with self.open_ledger(tmp_path) as one, self.open_ledger(tmp_path) as other:
            (entry,) = await one.add("b", [_new_entry()], claim=True)
            with pytest.raises(LedgerError):
                await other.mark_sending(entry.id, "r", 1.0)
            await other.unclaim(entry.id)
            await one.mark_sending(entry.id, "r", 1.0)

    async def test_shared_ledger_has_one_owner_of_accepted_entry(self, tmp_path: Path) -> None:
        """An accepted entry changes its owner only after the owner has given it up."""
        async with self.open_ledger(tmp_path) as one, self.open_ledger(tmp_path) as other:
            entry = await _entry_in_state(one, State.ACCEPTED)
            await other.give_up_ownership(entry.id)
            assert not await other.take_ownership(entry.id)
            assert await one.take_ownership(entry.id)
            await one.give_up_ownership(entry.id)
            assert await other.take_ownership(entry.id)

    async def test_change_counter_follows_other_openings_only(self, tmp_path: Path) -> None:
        """The counter changes when another opening has written, and not by writes of the same opening."""
        async with self.open_ledger(tmp_path) as one, self.open_ledger(tmp_path) as other:
            await _entry_in_state(one, State.ACCEPTED)
            before = await one.change_counter()
            assert await one.change_counter() == before
            await other.record_delivery("submission 0", "t1")
            after = await one.change_counter()
            assert after != before
            assert await one.change_counter() == after
            assert [delivery.task_id for delivery in await one.deliveries()] == ["t1"]
            counter_of_other = await other.change_counter()
            await one.record_delivery("submission 0", "t2")
            assert await one.change_counter() == after
            assert await other.change_counter() != counter_of_other


def _new_entry(index: int = 0) -> NewEntry:
    return NewEntry(key=f"{hash_request(_REQUEST)}-{index}", index=index, request=_REQUEST)


def _equal(key: str, base_url: str = "https://api") -> NewEntry:
    return NewEntry(key=key, index=0, request=_REQUEST, request_hash="hash", base_url=base_url)


async def _get(ledger: Ledger, entry_id: int) -> Entry:
    entry = await ledger.entry(entry_id)
    assert entry is not None
    return entry


async def _entry_in_state(ledger: Ledger, state: State, index: int = 0) -> Entry:
    """Add an entry to the batch "b" and move it to a state; its submission id is "submission <index>"."""
    (entry,) = await ledger.add("b", [_new_entry(index)])
    submission_id = f"submission {index}"
    if state is not State.NEW:
        await ledger.claim([entry.id])
    if state not in {State.NEW, State.CLAIMED}:
        await ledger.mark_sending(entry.id, submission_id, 12.5)
    if state in {State.ACCEPTED, State.DONE}:
        await ledger.mark_accepted(submission_id, ["t1", "t2"], provider_batch_id="9", request_id="r")
    if state is State.DONE:
        await ledger.mark_finished(entry.id, State.DONE, snapshots=[{"task_id": "t1"}], credits=2.0)
    if state is State.FAILED:
        await ledger.mark_refused(submission_id, "no", again=False)
    if state is State.IN_DOUBT:
        await ledger.mark_in_doubt(submission_id, "lost")
    found = await _get(ledger, entry.id)
    assert found.state is state
    return found


async def _finish(ledger: Ledger, number: int, state: State, credits_: float | None) -> None:
    """Add an entry of the price key "k" and move it to a final state."""
    new_entry = NewEntry(key=str(number), index=number, request=_REQUEST, price_key="k")
    (entry,) = await ledger.add("b", [new_entry], claim=True)
    await ledger.mark_sending(entry.id, f"r{number}", 1.0)
    await ledger.mark_accepted(f"r{number}", ["t"])
    await ledger.mark_finished(entry.id, state, credits=credits_)


async def _store_durations(ledger: Ledger, *durations: Duration) -> None:
    """Store durations with final states of entries that do not exist."""
    for duration in durations:
        await ledger.mark_finished(0, State.DONE, duration=duration)
