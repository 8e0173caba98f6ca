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

import pytest

from aiowery.ledger import Item, SqliteLedger

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
        await ledger.enter("cats", [Item(key=str(n), position=n, request=request) for n in range(2)])
        await ledger.aclose()

    asyncio.run(fill())
    return Path(shutil.copy(tmp_path / "jobs.db", tmp_path / "copy.db"))


def test_a_batch_whose_ledger_is_moved_saves_what_it_has_and_ends(
    aiowery_process: Start, manifest: Manifest, tmp_path: Path
) -> None:
    """It says why, with exit code 1; what was accepted is saved, the rest is told as not submitted."""
    (tmp_path / "cats.txt").write_text("".join(f"cat {number}\n" for number in range(50)))
    order = ("batch", "cats.txt", "--out", "out", "--in-flight", "2", "--ledger", "jobs.db", "--json")
    batch = aiowery_process(*order, "--sandbox", "--speed", "100")
    assert batch.stdout is not None
    next(line for line in batch.stdout if json.loads(line)["event"] == "accepted")
    (tmp_path / "jobs.db").rename(tmp_path / "new.db")
    _, said = batch.communicate(timeout=20)
    assert batch.returncode == 1, said
    assert "jobs.db was removed or renamed while the ledger is open" in said
    fates = Counter(line["outcome"] for line in manifest())
    assert set(fates) == {"done", "not submitted"}
    assert len(list((tmp_path / "out").glob("*.png"))) == fates["done"]


def test_a_copy_is_shown_and_sends_nothing_until_it_is_accepted(aiowery_here: Command, copy: Path) -> None:
    """Looking works and says why no more does; what settles doubts or sends is refused; accepted, it is a ledger."""
    for command in (("jobs", "list"), ("jobs", "show", "1"), ("jobs", "export"), ("doubts", "list")):
        shown = aiowery_here(*command, "--ledger", str(copy))
        assert shown.returncode == 0, shown.stderr
        assert "Only shown: " in shown.stderr
        assert "is a copy of a ledger" in shown.stderr
    for way in ("release", "adopt", "resubmit"):
        refused = aiowery_here("doubts", way, "1", "--ledger", str(copy))
        assert refused.returncode != 0
        assert "is a copy of a ledger" in refused.stderr
    accepted = aiowery_here("jobs", "accept-copy", "--ledger", str(copy))
    assert accepted.returncode == 0, accepted.stderr
    assert "2 of its entries are new" in accepted.stdout
    shown = aiowery_here("jobs", "list", "--ledger", str(copy))
    assert (shown.returncode, shown.stderr) == (0, "")
