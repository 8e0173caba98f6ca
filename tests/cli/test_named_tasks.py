"""Error responses that name tasks, on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiowery.cli.file_names import LEDGER
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.run.job_source import BatchJobSource, BatchTerms
from aiowery.cli.run.manifest import Manifest, remove_run_files
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.weryai import TextToImage
from tests.cli.conftest import Command, make_runner, read_manifest
from tests.support import sandbox_client

SPEED = 200.0
THROTTLED = Fault(faults.ErrorResponse(429, 1001, "Request rate limit exceeded", ids=True), on="submit", match="lost")
ITEMS = [InputItem(index=1, line=1, request=TextToImage(prompt="a lost cat"))]


def _run_batch(sandbox: Sandbox, out: Path) -> None:
    """Run the items as `aiowery batch --out` does, as fast as the sandbox."""
    remove_run_files(out)
    with Manifest(out, len(ITEMS), batch="cats") as manifest:
        asyncio.run(_run_items(sandbox, out, manifest))


async def _run_items(sandbox: Sandbox, out: Path, manifest: Manifest) -> None:
    async with sandbox_client(sandbox, ledger=out / LEDGER) as client:
        job_source = BatchJobSource(client, BatchTerms(name="cats"), check=False)
        await make_runner(client, out, job_source, manifest).finish(ITEMS)


def test_batch_with_named_tasks_fetches_them_in_the_next_run(aiowery_command: Command, tmp_path: Path) -> None:
    """The ids are in the manifest and in the list of doubts. The next run fetches the task and pays nothing."""
    with Sandbox(speed=SPEED, picture_size=64) as sandbox:
        sandbox.inject(THROTTLED, Fault(faults.ErrorResponse(200, 1009, "no"), on="status", match="lost", times=1))
        _run_batch(sandbox, tmp_path)
        task_id = sandbox.weryai.tasks[0].id
        (doubt,) = read_manifest(tmp_path)
        assert (doubt["outcome"], doubt["task_ids"]) == ("in_doubt", [task_id])
        assert task_id in doubt["error"]["message"]
        listed = aiowery_command("doubts", "list", "--ledger", str(tmp_path), "--json")
        assert (listed.returncode, json.loads(listed.stdout)["named"]) == (3, [task_id])
        _run_batch(sandbox, tmp_path)
        (fetched,) = read_manifest(tmp_path)
        assert (fetched["outcome"], fetched["task_ids"]) == ("done", [task_id])
        assert sandbox.weryai.counters.posts == sandbox.weryai.charged == 1


def test_generate_with_named_tasks_prints_the_ids(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The command exits with 3, and prints the task ids and the status command."""
    aiowery_sandbox.inject(THROTTLED, Fault(faults.ErrorResponse(200, 1009, "no"), on="status"))
    ended = aiowery_command("generate", "a lost cat", "--out", "out", "--no-check")
    assert ended.returncode == 3, ended.stderr
    assert f"task ids: {aiowery_sandbox.weryai.tasks[0].id} (aiowery status" in ended.stderr
    assert aiowery_sandbox.weryai.counters.posts == 1
