"""Error responses that name tasks, on the command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.cli.file_names import LEDGER, MANIFEST
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.output.progress import PlainProgress
from aiowery.cli.run.job_source import BatchJobSource, BatchTerms
from aiowery.cli.run.manifest import Manifest, remove_run_files
from aiowery.cli.run.runner import ItemRunner
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.weryai import TextToImage

Command = Callable[..., subprocess.CompletedProcess[str]]

SPEED = 200.0
THROTTLED = Fault(faults.ErrorResponse(429, 1001, "Request rate limit exceeded", ids=True), on="submit", match="lost")
ITEMS = [InputItem(index=1, line=1, request=TextToImage(prompt="a lost cat"))]


def run_batch(sandbox: Sandbox, out: Path) -> None:
    """Run the items as `aiowery batch --out` does, as fast as the sandbox."""
    remove_run_files(out)
    with Manifest(out, len(ITEMS), batch="cats") as manifest:
        asyncio.run(finished(sandbox, out, manifest))


async def finished(sandbox: Sandbox, out: Path, manifest: Manifest) -> None:
    """Run all items."""
    client = WeryAI(
        sandbox.key,
        base_url=sandbox.url,
        limits=Limits().faster(SPEED),
        polling=PollPolicy().faster(SPEED),
        retries=RetryPolicy().faster(SPEED),
        ledger=out / LEDGER,
    )
    async with client:
        job_source = BatchJobSource(client, BatchTerms(name="cats"), check=False)
        progress = PlainProgress()
        run = ItemRunner(
            client, out, stem=lambda item: str(item.index), manifest=manifest, progress=progress, job_source=job_source
        )
        await run.finish(ITEMS)


def line_of(out: Path) -> Any:
    """Return the one line of the manifest."""
    return json.loads((out / MANIFEST).read_text())


def test_batch_with_named_tasks_fetches_them_in_the_next_run(aiowery_command: Command, tmp_path: Path) -> None:
    """The ids are in the manifest and in the list of doubts; the next run adopts the task and pays nothing."""
    with Sandbox(speed=SPEED, picture_size=64) as sandbox:
        sandbox.inject(THROTTLED, Fault(faults.ErrorResponse(200, 1009, "no"), on="status", match="lost", times=1))
        run_batch(sandbox, tmp_path)
        lost = sandbox.weryai.tasks[0].id
        doubt = line_of(tmp_path)
        assert (doubt["outcome"], doubt["task_ids"]) == ("in_doubt", [lost])
        assert lost in doubt["error"]["message"]
        listed = aiowery_command("doubts", "list", "--ledger", str(tmp_path), "--json")
        assert (listed.returncode, json.loads(listed.stdout)["named"]) == (3, [lost])
        run_batch(sandbox, tmp_path)
        adopted = line_of(tmp_path)
        assert (adopted["outcome"], adopted["task_ids"]) == ("done", [lost])
        assert sandbox.weryai.counters.posts == sandbox.weryai.charged == 1


def test_generate_with_named_tasks_prints_the_ids(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The command exits with 3, and prints the ids and the status command."""
    aiowery_sandbox.inject(THROTTLED, Fault(faults.ErrorResponse(200, 1009, "no"), on="status"))
    ended = aiowery_command("generate", "a lost cat", "--out", "out", "--no-check")
    assert ended.returncode == 3, ended.stderr
    assert f"task ids: {aiowery_sandbox.weryai.tasks[0].id} (aiowery status" in ended.stderr
    assert aiowery_sandbox.weryai.counters.posts == 1
