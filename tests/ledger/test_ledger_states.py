"""One suite over both ledgers: every move from every state, and what two processes do to each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aiowery.errors import BudgetExceeded, LedgerError
from aiowery.ledger import (
    TRANSITIONS,
    Duration,
    Entry,
    Ledger,
    MemoryLedger,
    NewEntry,
    SqliteLedger,
    State,
    Verb,
    hash_request,
)

pytestmark = pytest.mark.anyio

KINDS = ("memory", "file")
CAT = {"type": "text-to-image", "prompt": "a cat"}


def item(position: int = 0, request: dict[str, Any] = CAT) -> NewEntry:
    """Return an item of the batch "b"."""
    return NewEntry(key=f"{hash_request(request)}-{position}", index=position, request=request)


@contextlib.asynccontextmanager
async def opened(kind: str, directory: Path) -> AsyncIterator[Ledger]:
    """Open a ledger of a kind."""
    ledger: Ledger = MemoryLedger() if kind == "memory" else SqliteLedger(directory / "l.db")
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def brought_to(ledger: Ledger, state: State, position: int = 0) -> Entry:
    """Enter an item and walk it to a state; its attempt is called "ref"."""
    (entry,) = await ledger.add("b", [item(position)])
    ref = f"ref{position}"
    if state is not State.NEW:
        await ledger.claim([entry.id])
    if state not in {State.NEW, State.CLAIMED}:
        await ledger.mark_sending(entry.id, ref, 12.5)
    if state in {State.ACCEPTED, State.DONE}:
        await ledger.mark_accepted(ref, ["t1", "t2"], provider_batch_id="9", request_id="r")
    if state is State.DONE:
        await ledger.mark_finished(entry.id, State.DONE, snapshots=[{"task_id": "t1"}], credits=2.0)
    if state is State.FAILED:
        await ledger.mark_refused(ref, "no", again=False)
    if state is State.IN_DOUBT:
        await ledger.mark_in_doubt(ref, "lost")
    found = await ledger.entry(entry.id)
    assert found is not None
    assert found.state is state
    return found


Move = Callable[[Ledger, int], Awaitable[object]]
MOVES: dict[str, Move] = {
    "claim": lambda ledger, id_: ledger.claim([id_]),
    "unclaim": lambda ledger, id_: ledger.unclaim(id_),
    "mark_sending": lambda ledger, id_: ledger.mark_sending(id_, "new-ref", 1.0),
    "mark_unsent": lambda ledger, _: ledger.mark_unsent("ref0"),
    "mark_accepted": lambda ledger, _: ledger.mark_accepted("ref0", ["x"]),
    "mark_refused": lambda ledger, _: ledger.mark_refused("ref0", "why", again=False),
    "mark_refused again": lambda ledger, _: ledger.mark_refused("ref0", "why", again=True),
    "mark_in_doubt": lambda ledger, _: ledger.mark_in_doubt("ref0", "why"),
    "mark_finished done": lambda ledger, id_: ledger.mark_finished(id_, State.DONE),
    "mark_finished failed": lambda ledger, id_: ledger.mark_finished(id_, State.FAILED),
    "take_ownership": lambda ledger, id_: ledger.take_ownership(id_),
    "give_up_ownership": lambda ledger, id_: ledger.give_up_ownership(id_),
    "resolve_accepted": lambda ledger, id_: ledger.resolve_accepted(id_, ["x"]),
    "resolve_unsent": lambda ledger, id_: ledger.resolve_unsent(id_),
    "record_delivery": lambda ledger, _: ledger.record_delivery("ref0", "t9"),
}
# Written a second time on purpose: a change of the table must be a decision.
LEGAL: dict[tuple[str, str], tuple[str, set[str]]] = {
    ("claim", "new"): ("claimed", set()),
    ("unclaim", "claimed"): ("new", {"owner"}),
    ("mark_sending", "claimed"): ("sending", set()),
    ("mark_unsent", "sending"): ("claimed", {"submission_id", "sent_at", "cost"}),
    ("mark_accepted", "sending"): ("accepted", {"reason"}),
    ("mark_accepted", "in doubt"): ("accepted", {"reason"}),
    ("mark_refused", "sending"): ("failed", {"owner", "cost"}),
    ("mark_refused again", "sending"): ("claimed", {"submission_id", "cost"}),
    ("mark_in_doubt", "sending"): ("in doubt", {"owner"}),
    ("mark_finished done", "accepted"): ("done", {"owner"}),
    ("mark_finished failed", "accepted"): ("failed", {"owner"}),
    ("take_ownership", "accepted"): ("accepted", set()),
    ("give_up_ownership", "accepted"): ("accepted", {"owner"}),
    ("resolve_accepted", "in doubt"): ("accepted", {"reason"}),
    ("resolve_unsent", "in doubt"): ("new", {"submission_id", "cost", "reason"}),
}
STRICT = {"mark_sending", "resolve_accepted", "resolve_unsent"}


def test_transitions_equal_their_second_copy() -> None:
    """The table that both stores share is the one that is written down here."""
    table = {
        (verb.value, start.value): (transition.end.value, set(transition.resets))
        for verb, transition in TRANSITIONS.items()
        for start in transition.start
    }
    assert table == LEGAL
    assert {verb.value for verb, transition in TRANSITIONS.items() if transition.is_strict} == STRICT
    assert set(TRANSITIONS) == set(Verb) == set(MOVES) - {"record_delivery"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("move", MOVES)
async def test_every_move_from_every_state(kind: str, state: State, move: str, tmp_path: Path) -> None:
    """A transition of the table leads to its end state and clears its fields; any other operation changes nothing."""
    transition = TRANSITIONS.get(Verb(move)) if move in set(Verb) else None
    async with opened(kind, tmp_path) as ledger:
        before = await brought_to(ledger, state)
        if transition is not None and transition.is_strict and state not in transition.start:
            with pytest.raises(LedgerError):
                await MOVES[move](ledger, before.id)
        else:
            await MOVES[move](ledger, before.id)
        after = await ledger.entry(before.id)
    assert after is not None
    if transition is None or state not in transition.start:
        assert after == before
    else:
        assert after.state is transition.end
        assert {name: getattr(after, name) for name in transition.resets} == transition.resets


@pytest.mark.parametrize("kind", KINDS)
async def test_an_entry_keeps_what_it_was_told(kind: str, tmp_path: Path) -> None:
    """From the request to the files, as it was."""
    async with opened(kind, tmp_path) as ledger:
        done = await brought_to(ledger, State.DONE)
        await ledger.set_files(done.id, ["1.png", "2.png"])
        kept = await ledger.entry(done.id)
    assert kept is not None
    assert (kept.batch, kept.index, kept.request, kept.key) == ("b", 0, CAT, f"{hash_request(CAT)}-0")
    assert (kept.submission_id, kept.sent_at, kept.attempts, kept.owner) == ("ref0", 12.5, 1, None)
    assert (kept.task_ids, kept.provider_batch_id, kept.request_id) == (("t1", "t2"), "9", "r")
    assert (kept.snapshots, kept.credits, kept.files) == (({"task_id": "t1"},), 2.0, ("1.png", "2.png"))


@pytest.mark.parametrize("kind", KINDS)
async def test_entering_again_finds_what_is_there(kind: str, tmp_path: Path) -> None:
    """The same batch again: nothing twice, in the order of asking, whatever has become of it."""
    async with opened(kind, tmp_path) as ledger:
        first = await ledger.add("b", [item(n) for n in range(5)])
        await ledger.claim([first[3].id])
        again = await ledger.add("b", [item(n) for n in reversed(range(6))])
        other = await ledger.add("c", [item(0)])
    assert [entry.index for entry in again] == [5, 4, 3, 2, 1, 0]
    assert [entry.id for entry in again[1:]] == [entry.id for entry in reversed(first)]
    assert again[2].state is State.CLAIMED
    assert other[0].id not in {entry.id for entry in again}


def test_bodies_are_stable_and_tell_apart() -> None:
    """The order of names does not matter; every value does."""
    body = hash_request({"a": 1, "b": [2]})
    assert body == hash_request({"b": [2], "a": 1})
    assert body not in {hash_request({"a": 1, "b": [3]}), hash_request({"a": 1}), hash_request({"a": "1", "b": [2]})}


@pytest.mark.parametrize("kind", KINDS)
async def test_pages_and_batches(kind: str, tmp_path: Path) -> None:
    """Entries come in pages, by batch and state; batches are told in numbers."""
    async with opened(kind, tmp_path) as ledger:
        await ledger.add("b", [item(n) for n in range(7)])
        for position, state in enumerate((State.DONE, State.DONE, State.IN_DOUBT)):
            await brought_to(ledger, state, position)
        await ledger.add("c", [item(n) for n in range(2)])
        first = await ledger.entries("b", limit=4)
        rest = await ledger.entries("b", after=first[-1].id)
        doubts = await ledger.entries(states=[State.IN_DOUBT])
        summaries = await ledger.batches()
    assert [entry.index for entry in first + rest] == list(range(7))
    assert [entry.index for entry in doubts] == [2]
    assert [(one.name, one.total, one.credits) for one in summaries] == [("b", 7, 4.0), ("c", 2, None)]
    assert summaries[0].states == {State.DONE: 2, State.IN_DOUBT: 1, State.NEW: 4}


async def test_the_memory_forgets_what_belongs_to_no_batch() -> None:
    """A client that runs for months does not grow."""
    async with opened("memory", Path()) as ledger:
        for number in range(50):
            (entry,) = await ledger.add("", [NewEntry(key=str(number), index=0, request=CAT)])
            await ledger.claim([entry.id])
            await ledger.mark_sending(entry.id, f"r{number}", 1.0)
            await ledger.mark_accepted(f"r{number}", ["t"])
            await ledger.mark_finished(entry.id, State.DONE)
        assert await ledger.entries() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_credits_are_held_and_settled(kind: str, tmp_path: Path) -> None:
    """An estimate counts from the fence on, what was charged at the end; refused, unsent and released count nothing."""
    async with opened(kind, tmp_path) as ledger:

        async def used() -> float:
            (summary,) = await ledger.batches()
            return summary.used

        entries = await ledger.add("b", [item(n) for n in range(5)])
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
        kept = await ledger.entry(entries[4].id)
    assert kept is not None
    assert kept.state is State.SENDING


@pytest.mark.parametrize("kind", KINDS)
async def test_the_latest_charge_is_the_price(kind: str, tmp_path: Path) -> None:
    """What requests of one price key cost is learned from the last of them that told credits."""
    async with opened(kind, tmp_path) as ledger:
        assert await ledger.price("k") is None
        for number, told in enumerate((2.0, 3.0, None)):
            thing = NewEntry(key=str(number), index=number, request=CAT, price_key="k")
            (entry,) = await ledger.add("b", [thing], claim=True)
            await ledger.mark_sending(entry.id, f"r{number}", 1.0)
            await ledger.mark_accepted(f"r{number}", ["t"])
            await ledger.mark_finished(entry.id, State.DONE, credits=told)
        assert await ledger.price("k") == 3.0
        assert await ledger.price("other") is None


@pytest.mark.parametrize("kind", KINDS)
async def test_what_failed_tells_no_price(kind: str, tmp_path: Path) -> None:
    """A failed task is reported with 0 credits, which is what was given back, not what such a request costs."""
    async with opened(kind, tmp_path) as ledger:
        (entry,) = await ledger.add("b", [NewEntry(key="a", index=0, request=CAT, price_key="k")], claim=True)
        await ledger.mark_sending(entry.id, "r", 1.0)
        await ledger.mark_accepted("r", ["t"])
        await ledger.mark_finished(entry.id, State.FAILED, credits=0.0)
        assert await ledger.price("k") is None


async def tell(ledger: Ledger, *durations: Duration) -> None:
    """Keep durations, with ends of entries that are not there."""
    for duration in durations:
        await ledger.mark_finished(0, State.DONE, duration=duration)


@pytest.mark.parametrize("kind", KINDS)
async def test_durations_are_kept_with_the_ends(kind: str, tmp_path: Path) -> None:
    """Each with those of its kind, the latest last; an end without one adds nothing."""
    async with opened(kind, tmp_path) as ledger:
        assert await ledger.durations() == {}
        entry = await brought_to(ledger, State.ACCEPTED)
        await ledger.mark_finished(entry.id, State.DONE, duration=Duration("cat", 9.0, 12.125))
        await tell(ledger, Duration("dog", 0.0, 0.5), Duration("cat", 10.0, 11.0))
        await brought_to(ledger, State.DONE, position=1)
        kept = await ledger.entry(entry.id)
        assert await ledger.durations() == {"cat": [(9.0, 12.125), (10.0, 11.0)], "dog": [(0.0, 0.5)]}
    assert kept is not None
    assert kept.state is State.DONE


@pytest.mark.parametrize("kind", KINDS)
async def test_durations_have_an_end(kind: str, tmp_path: Path) -> None:
    """The latest 64 of a kind, of the thousand kinds that were seen last: the file does not grow by them."""
    async with opened(kind, tmp_path) as ledger:
        await asyncio.gather(*(tell(ledger, Duration("cat", float(number), 1e9)) for number in range(100)))
        assert [lower for lower, _ in (await ledger.durations())["cat"]] == list(range(36, 100))
        await asyncio.gather(*(tell(ledger, Duration(f"k{number}", 1.0, 2.0)) for number in range(999)))
        await tell(ledger, Duration("cat", 1.0, 2.0), Duration("new", 1.0, 2.0))
        kinds = list(await ledger.durations())
    assert len(kinds) == 1000
    assert {"cat", "new", "k1"} <= set(kinds)
    assert "k0" not in kinds


@pytest.mark.parametrize("kind", KINDS)
async def test_an_equal_request_is_found_on_demand(kind: str, tmp_path: Path) -> None:
    """Done before under way, never failed or in doubt, never of another host; without `reuse` each is its own."""

    def cat(key: str, host: str = "h") -> NewEntry:
        return NewEntry(key=key, index=0, request=CAT, request_hash="cat", base_url=host)

    async with opened(kind, tmp_path) as ledger:
        (first,) = await ledger.add("b", [cat("1")], claim=True)
        assert [entry.id for entry in await ledger.add("c", [cat("2"), cat("3")], reuse=True)] == [first.id] * 2
        await ledger.mark_sending(first.id, "r1", 1.0)
        await ledger.mark_in_doubt("r1", "lost")
        (second,) = await ledger.add("c", [cat("2")], reuse=True, claim=True)
        assert second.id != first.id
        await ledger.mark_sending(second.id, "r2", 1.0)
        await ledger.mark_accepted("r2", ["t"])
        await ledger.mark_finished(second.id, State.DONE)
        (third,) = await ledger.add("d", [cat("9")])
        assert third.id not in {first.id, second.id}
        assert [entry.id for entry in await ledger.add("e", [cat("7")], reuse=True)] == [second.id]
        (elsewhere,) = await ledger.add("f", [cat("8", "other")], reuse=True)
        assert elsewhere.id not in {first.id, second.id, third.id}
        with pytest.raises(LedgerError, match="begun at h, not at other"):
            await ledger.add("b", [cat("5", "other")])


@pytest.mark.parametrize("kind", KINDS)
async def test_what_belongs_to_no_batch_and_was_not_sent_is_forgotten(kind: str, tmp_path: Path) -> None:
    """Nobody would ever send it."""
    async with opened(kind, tmp_path) as ledger:
        (entry,) = await ledger.add("", [NewEntry(key="1", index=0, request=CAT)], claim=True)
        await ledger.unclaim(entry.id)
        assert await ledger.entries() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_an_end_is_done_or_failed(kind: str, tmp_path: Path) -> None:
    """Anything else is a mistake, and changes nothing."""
    async with opened(kind, tmp_path) as ledger:
        entry = await brought_to(ledger, State.ACCEPTED)
        with pytest.raises(LedgerError, match="must be DONE or FAILED"):
            await ledger.mark_finished(entry.id, State.IN_DOUBT)
        assert await ledger.entry(entry.id) == entry


@pytest.mark.parametrize("kind", KINDS)
async def test_ids_that_come_after_a_release_are_not_lost(kind: str, tmp_path: Path) -> None:
    """Released and sent again, then the first attempt wakes up with its ids: the second charge is told to the end."""
    async with opened(kind, tmp_path) as ledger:
        entry = await brought_to(ledger, State.IN_DOUBT)
        await ledger.resolve_unsent(entry.id)
        await ledger.claim([entry.id])
        await ledger.mark_sending(entry.id, "second", 13.0)
        await ledger.mark_accepted("second", ["mine"])
        await ledger.mark_accepted("ref0", ["late"])
        await ledger.mark_finished(entry.id, State.DONE)
        kept = await ledger.entry(entry.id)
    assert kept is not None
    assert (kept.task_ids, kept.late_task_ids, kept.attempts) == (("mine",), ("late",), 2)


CURIOUS = {State.SENDING, State.ACCEPTED, State.IN_DOUBT}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", State)
async def test_a_delivery_is_kept_while_its_entry_may_want_it(kind: str, state: State, tmp_path: Path) -> None:
    """Told of under a mark that is known: kept once, until the end; under any other mark: nobody's."""
    async with opened(kind, tmp_path) as ledger:
        entry = await brought_to(ledger, state)
        told = [await ledger.record_delivery("ref0", task_id) for task_id in ("t1", "t2", "t1")]
        assert await ledger.record_delivery("another", "t1") is None
        assert (await ledger.has_submission("ref0"), await ledger.has_submission("another")) == (
            told[0] is not None,
            False,
        )
        kept = await ledger.deliveries()
        assert [one.task_id for one in kept] == (["t1", "t2"] if state in CURIOUS else [])
        assert await ledger.deliveries(submission_id="ref0") == kept
        if kept:
            assert await ledger.deliveries(after=kept[0].id) == kept[1:]
        assert await ledger.deliveries(submission_id="another") == []
        known = [] if state in {State.NEW, State.CLAIMED} else [entry.id] * 3
        assert [one.id for one in told if one is not None] == known
        await ledger.mark_accepted("ref0", ["t1", "t2"])
        await ledger.mark_finished(entry.id, State.DONE)
        assert await ledger.deliveries() == []


@pytest.mark.parametrize("kind", KINDS)
async def test_what_has_not_ended_is_kept_for_doubts_alone(kind: str, tmp_path: Path) -> None:
    """A task that goes on settles a doubt as well; to those who wait for an accepted one it is no news, its end is."""
    async with opened(kind, tmp_path) as ledger:
        await brought_to(ledger, State.ACCEPTED)
        assert await ledger.record_delivery("ref0", "t1", ended=False) is not None
        assert await ledger.deliveries() == []
        await brought_to(ledger, State.IN_DOUBT, 1)
        await ledger.record_delivery("ref1", "t9", ended=False)
        (early,) = await ledger.deliveries()
        await ledger.record_delivery("ref1", "t9")
        await ledger.record_delivery("ref1", "t9", ended=False)
        (late,) = await ledger.deliveries()
    assert (early.finished, late.finished) == (False, True)
    assert late.id > early.id


async def test_what_is_told_again_later_is_news_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forged call may come before the true one, which must still reach other processes; a storm of them must not."""
    async with opened("file", tmp_path) as ledger:
        await brought_to(ledger, State.ACCEPTED)
        ids = []
        for moment in (100.0, 100.5, 101.6, 50.0):
            monkeypatch.setattr("aiowery.ledger._sqlite.time.time", lambda moment=moment: moment)
            await ledger.record_delivery("ref0", "t1")
            ids.append([one.id for one in await ledger.deliveries()])
    assert ids[0] == ids[1] < ids[2] < ids[3]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_known_mark_cannot_fill_the_ledger(kind: str, tmp_path: Path) -> None:
    """Who knows a mark may tell of 64 tasks; more are not kept."""
    async with opened(kind, tmp_path) as ledger:
        await brought_to(ledger, State.IN_DOUBT)
        await asyncio.gather(*(ledger.record_delivery("ref0", f"t{number}") for number in range(100)))
        assert len(await ledger.deliveries()) == 64


@pytest.mark.parametrize("kind", KINDS)
async def test_a_delivery_for_what_was_released_is_noted_once(kind: str, tmp_path: Path) -> None:
    """Released, and then told of: it was accepted after all, which is kept once, however often it is told."""
    async with opened(kind, tmp_path) as ledger:
        entry = await brought_to(ledger, State.IN_DOUBT)
        await ledger.record_delivery("ref0", "t1")
        await ledger.resolve_unsent(entry.id)
        assert await ledger.deliveries() == []
        for _ in range(3):
            assert await ledger.record_delivery("ref0", "late") is not None
            assert await ledger.has_submission("ref0")
        kept = await ledger.entry(entry.id)
    assert kept is not None
    assert (kept.late_task_ids, kept.state) == (("late",), State.NEW)


async def test_two_ledgers_hear_of_each_other(tmp_path: Path) -> None:
    """What another process writes is noticed, by everybody who asks; what one writes oneself is not."""
    async with opened("file", tmp_path) as one, opened("file", tmp_path) as other:
        await brought_to(one, State.ACCEPTED)
        before = await one.change_counter()
        assert await one.change_counter() == before
        await other.record_delivery("ref0", "t1")
        after = await one.change_counter()
        assert after != before
        assert await one.change_counter() == after
        assert [told.task_id for told in await one.deliveries()] == ["t1"]
        its = await other.change_counter()
        await one.record_delivery("ref0", "t2")
        assert await one.change_counter() == after
        assert await other.change_counter() != its
    async with opened("memory", tmp_path) as alone:
        assert (await alone.change_counter(), alone.is_shared) == (0, False)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_closed_ledger_says_so(kind: str, tmp_path: Path) -> None:
    """Before it is opened and after it was closed, every verb raises; it can be opened again."""
    ledger: Ledger = MemoryLedger() if kind == "memory" else SqliteLedger(tmp_path / "l.db")
    with pytest.raises(LedgerError, match="closed"):
        await ledger.batches()
    for _ in range(2):
        await ledger.open()
        assert await ledger.batches() == []
        await ledger.aclose()
    await ledger.aclose()
    with pytest.raises(LedgerError, match="closed"):
        await ledger.batches()


async def test_two_ledgers_on_one_file_never_claim_the_same(tmp_path: Path) -> None:
    """A thousand claims from two sides at once: each entry has one owner."""
    async with opened("file", tmp_path) as one, opened("file", tmp_path) as other:
        entries = await one.add("b", [item(n) for n in range(500)])
        claims = await asyncio.gather(*(ledger.claim([entry.id]) for entry in entries for ledger in (one, other)))
        won = [claim for claim in claims if claim]
        assert len(won) == 500
        assert len({entry_id for (entry_id,) in won}) == 500
        assert await one.recover_abandoned() == 0
        assert len(await one.entries(states=[State.CLAIMED])) == 500


async def test_only_the_owner_passes_the_fence(tmp_path: Path) -> None:
    """An entry that another process has claimed is not ours to send."""
    async with opened("file", tmp_path) as one, opened("file", tmp_path) as other:
        (entry,) = await one.add("b", [item()])
        await one.claim([entry.id])
        with pytest.raises(LedgerError, match="must be claimed by this process"):
            await other.mark_sending(entry.id, "r", 1.0)
        await other.unclaim(entry.id)
        await one.mark_sending(entry.id, "r", 1.0)


PROGRAM = """
import asyncio, sys
from aiowery.ledger import NewEntry, SqliteLedger

async def main():
    ledger = SqliteLedger(sys.argv[1])
    await ledger.open()
    entries = await ledger.add("b", [NewEntry(key=str(n), index=n, request={}) for n in range(3)])
    for entry in entries:
        await ledger.claim([entry.id])
    for entry in entries[1:]:
        await ledger.mark_sending(entry.id, f"r{entry.index}", 1.0)
    await ledger.mark_accepted("r2", ["t"])
    print("ready", flush=True)
    await asyncio.sleep(60)
    await ledger.mark_accepted("r1", ["late"])

asyncio.run(main())
"""


@contextlib.contextmanager
def another_process(path: Path) -> Any:
    """Run a process that leaves one entry claimed, one being sent and one accepted."""
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, os.fspath(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


async def test_what_a_killed_process_left_is_inherited(tmp_path: Path) -> None:
    """What was claimed is new again, of what was being sent nobody knows, what was accepted is whoever's that asks."""
    with another_process(tmp_path / "l.db") as process:
        async with opened("file", tmp_path) as ledger:
            assert await ledger.recover_abandoned() == 0
            process.kill()
            process.wait()
            assert await ledger.recover_abandoned() == 1
            entries = await ledger.entries("b")
            assert [entry.state for entry in entries] == [State.NEW, State.IN_DOUBT, State.ACCEPTED]
            async with opened("file", tmp_path) as other:  # not his alone who happened to notice
                assert await other.take_ownership(entries[2].id)
                assert not await ledger.take_ownership(entries[2].id)
            assert await ledger.recover_abandoned() == 0
            await ledger.mark_accepted("r1", ["late"])
            late = await ledger.entry(entries[1].id)
            assert late is not None
            assert (late.state, late.task_ids) == (State.ACCEPTED, ("late",))
    assert not list((tmp_path / "l.db.owners").glob("*.alive"))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
async def test_a_frozen_process_lives(tmp_path: Path) -> None:
    """Stopped is not dead: nothing of its is touched."""
    with another_process(tmp_path / "l.db") as process:
        process.send_signal(signal.SIGSTOP)
        async with opened("file", tmp_path) as ledger:
            assert await ledger.recover_abandoned() == 0
            states = [entry.state for entry in await ledger.entries("b")]
        process.send_signal(signal.SIGCONT)
    assert states == [State.CLAIMED, State.SENDING, State.ACCEPTED]
