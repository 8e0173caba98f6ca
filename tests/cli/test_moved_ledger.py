"""A ledger that is moved or copied, on the command line."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiowery import Job
from aiowery.cli.input.prompt_files import InputItem as Line
from aiowery.cli.output.progress import PlainProgress
from aiowery.cli.records import ItemStatus
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.cli.run.manifest import NoManifest
from aiowery.cli.run.runner import ItemRunner
from aiowery.errors import LedgerError
from aiowery.ledger import NewEntry, SqliteLedger
from aiowery.weryai import TextToImage
from tests.support import FakeWeryAI, client_of

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Manifest = Callable[[], Sequence[dict[str, Any]]]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="open files cannot be moved there")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Make a ledger of two new entries, and a copy of it."""

    async def fill() -> None:
        ledger = SqliteLedger(tmp_path / "jobs.db")
        await ledger.open()
        request = {"type": "text-to-image", "prompt": "a cat", "model": "M"}
        await ledger.add("cats", [NewEntry(key=str(n), index=n, request=request) for n in range(2)])
        await ledger.aclose()

    asyncio.run(fill())
    return Path(shutil.copy(tmp_path / "jobs.db", tmp_path / "copy.db"))


def test_batch_with_a_moved_ledger_saves_accepted_items_and_ends(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path
) -> None:
    """The batch exits with 1 and the reason; accepted items are saved, others recorded as not submitted."""
    (tmp_path / "cats.txt").write_text("".join(f"cat {number}\n" for number in range(50)))
    arguments = ("batch", "cats.txt", "--out", "out", "--in-flight", "2", "--ledger", "jobs.db", "--json")
    batch = aiowery_process(*arguments, "--sandbox", "--speed", "100")
    assert batch.stdout is not None
    next(line for line in batch.stdout if json.loads(line)["event"] == "accepted")
    (tmp_path / "jobs.db").rename(tmp_path / "new.db")
    _, message = batch.communicate(timeout=20)
    assert batch.returncode == 1, message
    assert "jobs.db was removed or renamed while the ledger is open" in message
    outcomes = Counter(line["outcome"] for line in manifest())
    assert set(outcomes) == {"done", "not submitted"}
    assert len(list((tmp_path / "out").glob("*.png"))) == outcomes["done"]


@attrs.define
class BrokenJobSource(SingleJobSource):
    """A job source whose ledger fails; `before` is the status left by an earlier run."""

    before: ItemStatus

    async def job(self, item: Line) -> Job[Any] | None:
        """Fail."""
        raise LedgerError(f"nothing of {item.index} can be written down")

    def unprocessed_status(self, item: Line) -> ItemStatus:  # noqa: ARG002 - all alike
        """Return the status left by an earlier run."""
        return self.before


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("before", "status", "stops"),
    [(ItemStatus.NOT_SUBMITTED, ItemStatus.NOT_SUBMITTED, True), (ItemStatus.INTERRUPTED, ItemStatus.FAILED, False)],
)
async def test_runner_with_a_failing_ledger_stops_only_for_unsent_items(
    before: ItemStatus, status: ItemStatus, *, stops: bool
) -> None:
    """A failing ledger stops submitting; items sent by an earlier run do not count as free of charge."""
    async with client_of(FakeWeryAI()) as client:
        lines = [Line(index=n, line=n, request=TextToImage(prompt=f"cat {n}")) for n in (1, 2)]
        run = ItemRunner(
            client, None, stem=str, manifest=NoManifest(), progress=PlainProgress(), job_source=BrokenJobSource(before)
        )
        records = await run.finish(lines)
    assert {record.status for record in records} == {status}
    assert (run.stopped is not None) == stops


def test_ledger_copy_is_read_only_until_accepted(aiowery_command: Command, copy: Path) -> None:
    """A copy can be read, with a note; commands that resolve doubts or send are refused until it is accepted."""
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
