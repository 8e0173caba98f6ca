"""Both stores against the conformance suite, and what the suite cannot express."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aiowery.errors import LedgerError
from aiowery.ledger import (
    NO_BATCH,
    TRANSITIONS,
    Ledger,
    MemoryLedger,
    NewEntry,
    SqliteLedger,
    State,
    Verb,
    hash_request,
)
from aiowery.testing import ledger as conformance
from aiowery.testing.ledger import LedgerConformance, SharedLedgerConformance

pytestmark = pytest.mark.anyio

REQUEST = {"type": "text-to-image", "prompt": "a cat"}


class TestMemoryLedger(LedgerConformance):
    """The store in memory."""

    def make_ledger(self, directory: Path) -> Ledger:
        """Return a ledger of its own."""
        del directory
        return MemoryLedger()


class TestRememberingMemoryLedger(LedgerConformance):
    """The store in memory, as clients with `reuse` use it."""

    def make_ledger(self, directory: Path) -> Ledger:
        """Return a ledger of its own."""
        del directory
        return MemoryLedger(remember=10)


class TestSqliteLedger(SharedLedgerConformance):
    """The store in a file."""

    def make_ledger(self, directory: Path) -> Ledger:
        """Return an opening of the file in a directory."""
        return SqliteLedger(directory / "jobs.db")


# Written a second time on purpose: a change of the table must be a decision.
LEGAL: dict[tuple[str, str], tuple[str, set[str]]] = {
    ("claim", "new"): ("claimed", set()),
    ("unclaim", "claimed"): ("new", {"owner"}),
    ("mark_sending", "claimed"): ("sending", set()),
    ("mark_unsent", "sending"): ("claimed", {"submission_id", "sent_at", "cost"}),
    ("mark_accepted", "sending"): ("accepted", {"reason", "excerpt"}),
    ("mark_accepted", "in doubt"): ("accepted", {"reason", "excerpt"}),
    ("mark_refused", "sending"): ("failed", {"owner", "cost"}),
    ("mark_refused again", "sending"): ("claimed", {"submission_id", "cost"}),
    ("mark_in_doubt", "sending"): ("in doubt", {"owner"}),
    ("mark_finished done", "accepted"): ("done", {"owner"}),
    ("mark_finished failed", "accepted"): ("failed", {"owner"}),
    ("take_ownership", "accepted"): ("accepted", set()),
    ("give_up_ownership", "accepted"): ("accepted", {"owner"}),
    ("resolve_accepted", "in doubt"): ("accepted", {"reason", "excerpt"}),
    ("resolve_unsent", "in doubt"): ("new", {"submission_id", "cost", "reason", "excerpt"}),
}
STRICT = {"mark_sending", "resolve_accepted", "resolve_unsent"}
DEFAULTS = {"cost": 0.0, "excerpt": "", "owner": None, "reason": "", "sent_at": None, "submission_id": None}


def test_transitions_equal_their_second_copy() -> None:
    """The table that both stores and the suite use is the one that is written down here."""
    table = {
        (verb.value, start.value): (transition.end.value, set(transition.resets))
        for verb, transition in TRANSITIONS.items()
        for start in transition.start
    }
    assert table == LEGAL
    assert {verb.value for verb, transition in TRANSITIONS.items() if transition.is_strict} == STRICT
    assert set(TRANSITIONS) == set(Verb)
    for transition in TRANSITIONS.values():
        assert transition.resets.items() <= DEFAULTS.items()


def test_conformance_covers_every_operation() -> None:
    """The suite tries each operation of the table."""
    assert set(conformance._OPERATIONS) == {*Verb, "record_delivery"}


ERRORS: list[tuple[Callable[[Ledger, int], Awaitable[object]], str]] = [
    (
        lambda ledger, id_: ledger.mark_sending(id_, "r", 1.0),
        r"entry 1 must be claimed by this process .* nothing was sent: claim it",
    ),
    (
        lambda ledger, id_: ledger.resolve_unsent(id_),
        r"entry 1 is not in doubt; nothing was changed: aiowery doubts list",
    ),
    (
        lambda ledger, id_: ledger.mark_finished(id_, State.NEW),
        r"must be DONE or FAILED, got 'new'; nothing was changed: use",
    ),
    (
        lambda ledger, _: ledger.add("b", [NewEntry(key="2", index=1, request=REQUEST, base_url="https://other")]),
        r"begun at https://api, not at https://other; nothing was sent: give",
    ),
]


@pytest.mark.parametrize("make", [MemoryLedger, lambda: SqliteLedger("jobs.db")], ids=["memory", "file"])
@pytest.mark.parametrize(("operation", "message"), ERRORS)
async def test_errors_have_three_parts(
    make: Callable[[], Ledger],
    operation: Callable[[Ledger, int], Awaitable[object]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error reports what is wrong, that nothing was sent or changed, and what to do; the same in both stores."""
    monkeypatch.chdir(tmp_path)
    ledger = make()
    with pytest.raises(LedgerError, match="the ledger is closed; nothing was sent or changed: open it first"):
        await ledger.batches()
    await ledger.open()
    (entry,) = await ledger.add("b", [NewEntry(key="1", index=0, request=REQUEST, base_url="https://api")])
    with pytest.raises(LedgerError, match=message):
        await operation(ledger, entry.id)
    await ledger.aclose()


def test_hash_request_ignores_the_composition_of_letters() -> None:
    """Composed and decomposed letters are one text. The hash of composed ones, as in older ledgers, stays."""
    composed = {"type": "text-to-image", "prompt": "zw\u00f6lf", "list": [{"text": "M\u00f6we"}]}
    decomposed = {"type": "text-to-image", "prompt": "zwo\u0308lf", "list": [{"text": "Mo\u0308we"}]}
    assert hash_request(decomposed) == hash_request(composed) == "4610f0f9278f7a09cd1ed9fc1bacc60b"
    assert hash_request({"prompt": "zwolf"}) != hash_request({"prompt": "zw\u00f6lf"})


def test_hash_request_ignores_order_of_names_only() -> None:
    """The order of names does not matter; every value does."""
    digest = hash_request({"a": 1, "b": [2]})
    assert digest == hash_request({"b": [2], "a": 1})
    assert digest not in {hash_request({"a": 1, "b": [3]}), hash_request({"a": 1}), hash_request({"a": "1", "b": [2]})}


@pytest.mark.parametrize("remember", [0, 10])
async def test_memory_ledger_finished_without_batch_deletes_oldest(remember: int) -> None:
    """A client that runs for months does not grow."""
    ledger = MemoryLedger(remember=remember)
    await ledger.open()
    for number in range(50):
        (entry,) = await ledger.add(NO_BATCH, [NewEntry(key=str(number), index=0, request=REQUEST)])
        await ledger.claim([entry.id])
        await ledger.mark_sending(entry.id, f"r{number}", 1.0)
        await ledger.mark_accepted(f"r{number}", ["t"])
        await ledger.mark_finished(entry.id, State.DONE)
    kept = [entry.key for entry in await ledger.entries()]
    assert kept == [str(number) for number in range(50 - remember, 50)]
    await ledger.aclose()


async def test_memory_ledger_has_no_other_process() -> None:
    """The store in memory is not shared, and its change counter stands still."""
    ledger = MemoryLedger()
    await ledger.open()
    assert (await ledger.change_counter(), await ledger.recover_abandoned(), ledger.is_shared) == (0, 0, False)
    await ledger.aclose()
