"""The fuzz of answers to paid POSTs, in a short run for each provider and transport.

Longer runs: `python -m tests.client.fuzz 10000`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from aiowery.ledger import Entry, State
from tests.client.fuzz import PROVIDERS, TRANSPORTS, Account, compare, run_fuzz

pytestmark = pytest.mark.anyio

POSTS = 150


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_fuzz_any_answer_charges_nothing_twice_or_invisibly(
    provider: str, transport: str, tmp_path: Path
) -> None:
    """Whatever answers a paid POST, the server's charges and the client's ledger agree."""
    report = await run_fuzz(provider, transport, 0, POSTS, tmp_path)
    assert not report.failures, report.describe()


def entry(prompt: str, state: State, *task_ids: str) -> Entry:
    """Return an entry with these tasks."""
    return Entry(id=1, batch="b", key=prompt, index=0, request={"prompt": prompt}, state=state, task_ids=task_ids)


@pytest.mark.parametrize(
    ("stored", "failure"),
    [
        (entry("a", State.DONE, "task_0"), ""),
        (entry("a", State.IN_DOUBT), ""),
        (entry("a", State.FAILED), "invisible"),
        (entry("a", State.NEW), "invisible"),
        (entry("a", State.DONE, "task_0", "task_1"), "of another request"),
    ],
    ids=["known", "in doubt", "failed", "new", "of another"],
)
def test_compare_finds_what_must_not_be(stored: Entry, failure: str) -> None:
    """The comparison itself notices an invisible charge and a task of another request."""
    account = Account()
    account.charge("a")
    assert [failure in text for text in compare(account, [stored])] == ([True] if failure else [])


def test_compare_finds_second_charge() -> None:
    """A request that was charged twice is named with its answers."""
    account = Account(posts=[("a", "whole: HTTP 200")])
    account.charge("a")
    account.charge("a")
    (failure,) = compare(account, [entry("a", State.DONE, "task_0", "task_1")])
    assert "'a' was charged 2 times: ['whole: HTTP 200']" in failure
