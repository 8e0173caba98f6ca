"""Ledgers that are moved or copied, on the command line."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiowery import Job
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.records import ItemStatus
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.errors import LedgerError
from aiowery.ledger import NewEntry
from aiowery.weryai import TextToImage
from tests.cli.conftest import Command, Manifest, Start, make_runner, open_ledger, outcomes
from tests.support import FakeWeryAI, client_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="other systems do not move open files")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Make a ledger of two new entries, and a copy of it."""

    async def fill() -> None:
        request = {"type": "text-to-image", "prompt": "a cat", "model": "M"}
        async with open_ledger(tmp_path / "jobs.db") as ledger:
            await ledger.add("cats", [NewEntry(key=str(n), index=n, request=request) for n in range(2)])

    asyncio.run(fill())
    return Path(shutil.copy(tmp_path / "jobs.db", tmp_path / "copy.db"))


def test_batch_with_a_moved_ledger_saves_accepted_items_and_ends(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path
) -> None:
    """The batch prints the reason and exits with 1. Accepted items are saved, and all further ones not submitted."""
    (tmp_path / "cats.txt").write_text("".join(f"cat {number}\n" for number in range(50)))
    arguments = ("batch", "cats.txt", "--out", "out", "--in-flight", "2", "--ledger", "jobs.db", "--json")
    batch = aiowery_process(*arguments, "--sandbox", "--speed", "100")
    assert batch.stdout is not None
    next(line for line in batch.stdout if json.loads(line)["event"] == "accepted")
    (tmp_path / "jobs.db").rename(tmp_path / "new.db")
    _, message = batch.communicate(timeout=20)
    assert batch.returncode == 1, message
    assert "jobs.db was removed or renamed while the ledger is open" in message
    counts = outcomes(manifest())
    assert set(counts) == {"done", "not submitted"}
    assert len(list((tmp_path / "out").glob("*.png"))) == counts["done"]


@attrs.define
class FailingJobSource(SingleJobSource):
    """A job source whose ledger fails. `earlier_status` is the status left by an earlier run."""

    earlier_status: ItemStatus

    async def job(self, item: InputItem) -> Job[Any] | None:
        """Raise LedgerError."""
        raise LedgerError(f"item {item.index} cannot be written")

    def unprocessed_status(self, item: InputItem) -> ItemStatus:  # noqa: ARG002 - the same for all items
        """Return the status left by an earlier run."""
        return self.earlier_status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("earlier_status", "status", "stops"),
    [(ItemStatus.NOT_SUBMITTED, ItemStatus.NOT_SUBMITTED, True), (ItemStatus.INTERRUPTED, ItemStatus.FAILED, False)],
)
async def test_runner_with_a_failing_ledger_stops_only_for_unsent_items(
    earlier_status: ItemStatus, status: ItemStatus, *, stops: bool
) -> None:
    """A failing ledger stops submitting, unless the items were sent by an earlier run: those may have been charged."""
    async with client_of(FakeWeryAI()) as client:
        items = [InputItem(index=n, line=n, request=TextToImage(prompt=f"cat {n}")) for n in (1, 2)]
        runner = make_runner(client, None, FailingJobSource(earlier_status))
        records = await runner.finish(items)
    assert {record.status for record in records} == {status}
    assert (runner.stopped is not None) == stops


def test_ledger_commands_on_a_copy_only_read_until_it_is_accepted(aiowery_command: Command, copy: Path) -> None:
    """A copy is opened read-only, with a message. Until it is accepted, commands that write or send are refused."""
    for command in (("ledger", "list"), ("ledger", "show", "1"), ("ledger", "export"), ("doubts", "list")):
        shown = aiowery_command(*command, "--ledger", str(copy))
        assert shown.returncode == 0, shown.stderr
        assert "Opened read-only: " in shown.stderr
        assert "is a copy of a ledger" in shown.stderr
    for subcommand in ("release", "adopt", "resubmit"):
        refused = aiowery_command("doubts", subcommand, "1", "--ledger", str(copy))
        assert refused.returncode != 0
        assert "is a copy of a ledger" in refused.stderr
    accepted = aiowery_command("ledger", "accept-copy", "--ledger", str(copy))
    assert accepted.returncode == 0, accepted.stderr
    assert "2 of its entries are new" in accepted.stdout
    shown = aiowery_command("ledger", "list", "--ledger", str(copy))
    assert (shown.returncode, shown.stderr) == (0, "")
