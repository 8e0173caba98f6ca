"""The item runner: reasons to stop, and the records that result."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from aiowery import File, Limits, PollPolicy, WeryAI
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.records import ItemStatus, Record
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.cli.run.manifest import ManifestWriter, NoManifest
from aiowery.cli.run.runner import ItemRunner
from aiowery.cli.run.saver import SavedFiles, Saver
from aiowery.errors import DownloadError
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.weryai import Chat, ImageUpscale, TextToImage
from tests.cli.conftest import make_runner
from tests.support import FakeWeryAI, client_of, envelope, sandbox_client

pytestmark = pytest.mark.anyio

SPEED = 200.0


def _client(sandbox: Sandbox, **limits: int) -> WeryAI:
    return sandbox_client(
        sandbox,
        limits=Limits(**limits).faster(SPEED),  # type: ignore[arg-type]
        polling=PollPolicy(image_timeout=6000).faster(SPEED),
    )


def _items(*prompts: str, **fields: Any) -> list[InputItem]:
    requests = (TextToImage(prompt=prompt, **fields) for prompt in prompts)
    return [InputItem(index=index, line=index, request=request) for index, request in enumerate(requests, 1)]


def _runner(client: WeryAI, out: Path, manifest: ManifestWriter | None = None, *, check: bool = False) -> ItemRunner:
    return make_runner(client, out, SingleJobSource(client, check=check), manifest)


def _statuses(records: Sequence[Record]) -> Counter[ItemStatus]:
    return Counter(record.status for record in records)


def _pictures(out: Path) -> int:
    return len(list(out.glob("*.png")))


@pytest.fixture
async def poor_sandbox() -> AsyncIterator[Sandbox]:
    """Run a sandbox with credits for three pictures."""
    async with Sandbox(speed=SPEED, credits=3) as sandbox:
        yield sandbox


async def test_runner_without_credits_keeps_accepted_items(
    poor_sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first refusal for missing credits stops submitting. Accepted items are finished and saved."""
    async with _client(poor_sandbox, in_flight=2) as client:
        runner = _runner(client, tmp_path)
        records = await runner.finish(_items(*("a cat",) * 50))
    assert _statuses(records) == {ItemStatus.DONE: 3, ItemStatus.NOT_SUBMITTED: 47}
    assert _pictures(tmp_path) == 3
    assert runner.stopped is not None
    assert runner.stopped.exit_code == 1
    assert "no credits left" in runner.stopped.reason
    assert poor_sandbox.weryai.counters.posts <= 10
    assert "Nothing more is submitted: no credits left" in capsys.readouterr().err


async def test_runner_with_a_lost_response_records_a_doubt(tmp_path: Path) -> None:
    """A paid POST without a response is recorded as in doubt, and is not sent again."""
    async with Sandbox(speed=SPEED, faults=[Fault(faults.Reset(processed=True), on="submit", times=1)]) as sandbox:
        async with _client(sandbox) as client:
            (record,) = await _runner(client, tmp_path).finish(_items("a cat"))
        assert record.status is ItemStatus.IN_DOUBT
        assert record.problem is not None
        assert sandbox.weryai.counters.posts == 1
        assert len(sandbox.weryai.tasks) == 1


async def test_runner_on_a_full_disk_keeps_urls_and_stops(
    aiowery_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of an output that cannot be saved holds its URL. Nothing more is submitted or saved."""
    async with _client(aiowery_sandbox, in_flight=2) as client:
        download = client.download

        async def download_until_full(asset: Any, directory: Any, *, name: str | None = None) -> tuple[Path, ...]:
            if name == "0001-2":
                fault = OSError(errno.ENOSPC, "No space left on device")
                raise DownloadError(f"cannot save {asset.url}", url=asset.url, path=tmp_path / "x.part") from fault
            return await download(asset, directory, name=name)

        monkeypatch.setattr(client, "download", download_until_full)
        runner = _runner(client, tmp_path)
        records = await runner.finish(_items(*("a cat",) * 30, image_number=2))
    assert records[0].status is ItemStatus.FAILED
    assert records[0].files == ("0001-1.png",)
    assert len(records[0].urls) == 1
    assert len(records[0].task_ids) == 2
    assert runner.stopped is not None
    assert runner.stopped.exit_code == 1
    assert _statuses(records)[ItemStatus.NOT_SUBMITTED] > 0
    for record in records:
        assert len(record.files) + len(record.urls) == len(record.task_ids)


async def test_runner_with_an_unwritable_manifest_stops(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """If the manifest cannot be written, nothing more is submitted."""

    class FullManifest:
        def add_accepted(self, _index: int, _task_ids: tuple[str, ...], /) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def add_record(self, _record: Record, /) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    async with _client(aiowery_sandbox, in_flight=1, submissions=1) as client:
        runner = _runner(client, tmp_path, FullManifest())
        records = await runner.finish(_items(*("a cat",) * 20))
    assert _statuses(records) == {ItemStatus.FAILED: 1, ItemStatus.NOT_SUBMITTED: 19}
    assert (len(records[0].task_ids), len(records[0].urls)) == (1, 1)
    assert runner.stopped is not None
    assert "cannot write the manifest: No space left" in runner.stopped.reason


async def test_runner_with_an_unexpected_error_fails_one_item(
    aiowery_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error of one item does not affect further items, and its message requests a report."""
    async with _client(aiowery_sandbox) as client:
        submit = client.submit

        async def submit_or_raise(request: Any) -> Any:
            if request.prompt == "b":
                raise ZeroDivisionError("oh")
            return await submit(request)

        monkeypatch.setattr(client, "submit", submit_or_raise)
        records = await _runner(client, tmp_path).finish(_items("a", "b", "c"))
    assert [record.status for record in records] == [ItemStatus.DONE, ItemStatus.FAILED, ItemStatus.DONE]
    assert records[1].problem is not None
    assert "ZeroDivisionError: oh; please report this" in records[1].problem.message


async def test_runner_left_while_sending_records_the_ids(tmp_path: Path) -> None:
    """If the run ends during a POST, the record still holds the ids of the accepted task."""
    slow = Fault(faults.SlowBody(0.3), on="submit")
    async with Sandbox(speed=SPEED, faults=[slow]) as sandbox:
        async with _client(sandbox) as client:
            runner = _runner(client, tmp_path)
            asyncio.get_running_loop().call_later(0.1, runner.leave)
            (record,) = await runner.finish(_items("a [[stuck]]"))
        assert record.status is ItemStatus.INTERRUPTED
        assert record.task_ids == tuple(task.id for task in sandbox.weryai.tasks)


async def test_runner_left_with_half_of_the_outputs_records_their_urls(tmp_path: Path) -> None:
    """What some tasks of a request have made was paid for: the record has its URL, although there is no result."""
    polls = 0

    async def provider(request: httpx.Request) -> httpx.Response:
        nonlocal polls
        if request.method == "POST":
            return envelope({"task_ids": ["t1", "t2"]})
        if "/t2/" not in request.url.path:
            return envelope({"task_id": "t1", "task_status": "SUCCESS", "images": ["https://example.com/1.png"]})
        polls += 1
        if polls == 2:
            runner.leave()
        return envelope({"task_id": "t2", "task_status": "RUNNING", "images": []})

    async with client_of(provider, polling=PollPolicy().faster(SPEED)) as client:
        runner = _runner(client, tmp_path)
        (record,) = await runner.finish(_items("a cat", image_number=2))
    assert (record.status, record.task_ids) == (ItemStatus.INTERRUPTED, ("t1", "t2"))
    assert record.urls == ("https://example.com/1.png",)


async def test_runner_left_records_queued_items_as_not_submitted(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """If the run ends, requests that waited in the queue are not in doubt."""
    async with _client(aiowery_sandbox, in_flight=1, submissions=3) as client:
        runner = _runner(client, tmp_path)
        asyncio.get_running_loop().call_later(0.2, runner.leave)
        records = await runner.finish(_items(*("a [[stuck]]",) * 6))
    assert [record.status for record in records] == [ItemStatus.INTERRUPTED, *(ItemStatus.NOT_SUBMITTED,) * 5]
    assert aiowery_sandbox.weryai.charged == 1


@pytest.mark.parametrize("iterations", range(20))
async def test_runner_left_at_acceptance_records_the_ids(tmp_path: Path, iterations: int) -> None:
    """At any distance between acceptance and Ctrl-C, an accepted item is not recorded as not submitted."""
    provider = FakeWeryAI(seconds=1000)

    async def leave_during_post(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            runner.leave()
            for _ in range(iterations):
                await asyncio.sleep(0)
        return await provider(request)

    async with client_of(leave_during_post) as client:
        runner = _runner(client, tmp_path)
        (record,) = await runner.finish(_items("a cat"))
    assert (record.status, record.task_ids) == (ItemStatus.INTERRUPTED, ("task_0",))


async def test_runner_left_during_check_or_upload_records_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item without a paid POST is not in doubt, even if another item is."""
    release, requests_by_path = asyncio.Event(), Counter[str]()

    async def respond_after_release(request: httpx.Request) -> httpx.Response:
        requests_by_path[request.url.path] += 1
        if requests_by_path.total() == 2:
            runner.leave()
        await release.wait()
        return envelope({"task_ids": ["t1"]})

    picture = File(b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png")
    requests = TextToImage(prompt="checked"), ImageUpscale(image_url=picture), TextToImage(prompt="sent")
    items = [InputItem(index=index, line=index, request=request) for index, request in enumerate(requests, 1)]
    async with client_of(respond_after_release) as client:

        async def check(request: Any) -> tuple[()]:
            if request is requests[0]:
                await release.wait()
            return ()

        monkeypatch.setattr(client, "check", check)
        runner = _runner(client, tmp_path, check=True)
        records = await runner.finish(items)
        release.set()
    assert [record.status for record in records] == [
        ItemStatus.NOT_SUBMITTED,
        ItemStatus.NOT_SUBMITTED,
        ItemStatus.IN_DOUBT,
    ]
    assert requests_by_path == {"/v1/generation/upload-file": 1, "/v1/generation/text-to-image": 1}


async def test_runner_with_an_unwritable_record_keeps_other_records(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """After any error of the manifest, the run stops submitting, and every item has its record."""

    class FailingManifest(NoManifest):
        def add_record(self, _record: Record, /) -> None:
            raise UnicodeError("no such character")

    async with _client(aiowery_sandbox, in_flight=1, submissions=1) as client:
        runner = _runner(client, tmp_path, FailingManifest())
        records = await runner.finish(_items(*("a cat",) * 5))
    assert len(records) == 5
    assert records[0].status is ItemStatus.DONE
    assert runner.stopped is not None
    assert runner.stopped.reason == "cannot write the manifest: no such character"


async def test_saver_with_invalid_characters_saves_the_text(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """A text with an invalid character is saved with a replacement character, because it was paid for."""
    saved = SavedFiles()
    async with _client(aiowery_sandbox) as client:
        result = attrs.evolve(await client.chat("hi"), text="half \ud83d of it")
        await Saver(client, tmp_path).save(Chat(messages="hi"), result, "a", saved)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "half ? of it\n"
    assert (saved.files, saved.error) == (["a.txt"], None)


async def test_runner_with_failing_polls_finishes_all_items(tmp_path: Path) -> None:
    """If one poll in twenty fails, all items are still finished and saved."""
    flaky = Fault(faults.SERVER_ERROR, on="status", share=0.05)
    async with Sandbox(speed=SPEED, faults=[flaky]) as sandbox:
        async with _client(sandbox) as client:
            records = await _runner(client, tmp_path).finish(_items(*("a cat",) * 60))
        assert _statuses(records) == {ItemStatus.DONE: 60}
        assert _pictures(tmp_path) == 60
