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

from aiowery import File, Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.output.progress import PlainProgress
from aiowery.cli.records import ItemStatus, Record
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.cli.run.manifest import NoManifest
from aiowery.cli.run.runner import ItemRunner
from aiowery.cli.run.saver import SavedFiles, Saver
from aiowery.errors import DownloadError
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.weryai import Chat, ImageUpscale, TextToImage
from tests.support import FakeWeryAI, client_of, envelope

pytestmark = pytest.mark.anyio

SPEED = 200.0


def _client(sandbox: Sandbox, **limits: int) -> WeryAI:
    return WeryAI(
        sandbox.key,
        base_url=sandbox.url,
        limits=Limits(**limits).faster(SPEED),  # type: ignore[arg-type]
        polling=PollPolicy(image_timeout=6000).faster(SPEED),
        retries=RetryPolicy().faster(SPEED),
    )


def _items(*prompts: str, **fields: Any) -> list[InputItem]:
    requests = (TextToImage(prompt=prompt, **fields) for prompt in prompts)
    return [InputItem(index=place, line=place, request=request) for place, request in enumerate(requests, 1)]


def _run(client: WeryAI, out: Path, manifest: Any = None, *, check: bool = False) -> ItemRunner:
    return ItemRunner(
        client,
        out,
        stem=lambda item: f"{item.index:04}",
        manifest=manifest or NoManifest(),
        progress=PlainProgress(),
        job_source=SingleJobSource(client, check=check),
    )


def _statuses(records: Sequence[Record]) -> Counter[ItemStatus]:
    return Counter(record.status for record in records)


def _pictures(out: Path) -> int:
    return len(list(out.glob("*.png")))


@pytest.fixture
async def poor_sandbox() -> AsyncIterator[Sandbox]:
    """An account that can pay for three pictures."""
    async with Sandbox(speed=SPEED, credits=3) as sandbox:
        yield sandbox


async def test_runner_without_credits_keeps_accepted_items(
    poor_sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first refusal for missing credits stops submitting; paid items are finished and saved."""
    async with _client(poor_sandbox, in_flight=2) as client:
        run = _run(client, tmp_path)
        records = await run.finish(_items(*("a cat",) * 50))
    assert _statuses(records) == {ItemStatus.DONE: 3, ItemStatus.NOT_SUBMITTED: 47}
    assert _pictures(tmp_path) == 3
    assert run.stopped is not None
    assert run.stopped.exit_code == 1
    assert "no credits left" in run.stopped.reason
    assert poor_sandbox.weryai.counters.posts <= 10
    assert "Nothing more is submitted: no credits left" in capsys.readouterr().err


async def test_runner_with_a_lost_response_records_a_doubt(tmp_path: Path) -> None:
    """A paid POST without a response is recorded as in doubt, and is not sent again."""
    async with Sandbox(speed=SPEED, faults=[Fault(faults.Reset(processed=True), on="submit", times=1)]) as sandbox:
        async with _client(sandbox) as client:
            (record,) = await _run(client, tmp_path).finish(_items("a cat"))
        assert record.status is ItemStatus.IN_DOUBT
        assert record.problem is not None
        assert sandbox.weryai.counters.posts == 1
        assert len(sandbox.weryai.tasks) == 1


async def test_runner_on_a_full_disk_keeps_urls_and_stops(
    aiowery_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that cannot be saved leaves its url in the record; nothing more is submitted, or saved in vain."""
    async with _client(aiowery_sandbox, in_flight=2) as client:
        download = client.download

        async def sometimes(asset: Any, directory: Any, *, name: str | None = None) -> tuple[Path, ...]:
            if name == "0001-2":
                fault = OSError(errno.ENOSPC, "No space left on device")
                raise DownloadError(f"cannot save {asset.url}", url=asset.url, path=tmp_path / "x.part") from fault
            return await download(asset, directory, name=name)

        monkeypatch.setattr(client, "download", sometimes)
        run = _run(client, tmp_path)
        records = await run.finish(_items(*("a cat",) * 30, image_number=2))
    assert records[0].status is ItemStatus.FAILED
    assert records[0].files == ("0001-1.png",)
    assert len(records[0].urls) == 1
    assert len(records[0].task_ids) == 2
    assert run.stopped is not None
    assert run.stopped.exit_code == 1
    assert _statuses(records)[ItemStatus.NOT_SUBMITTED] > 0
    for record in records:
        assert len(record.files) + len(record.urls) == len(record.task_ids)


async def test_runner_with_an_unwritable_manifest_stops(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """If the manifest cannot be written, nothing more is submitted."""

    class Full:
        def add_accepted(self, _index: int, _task_ids: tuple[str, ...], /) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def add_record(self, _record: Record, /) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    async with _client(aiowery_sandbox, in_flight=1, submissions=1) as client:
        run = _run(client, tmp_path, Full())
        records = await run.finish(_items(*("a cat",) * 20))
    assert _statuses(records) == {ItemStatus.FAILED: 1, ItemStatus.NOT_SUBMITTED: 19}
    assert (len(records[0].task_ids), len(records[0].urls)) == (1, 1)
    assert run.stopped is not None
    assert "cannot write the manifest: No space left" in run.stopped.reason


async def test_runner_with_an_unexpected_error_fails_one_item(
    aiowery_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error of one item does not affect the other items, and asks for a report."""
    async with _client(aiowery_sandbox) as client:
        submit = client.submit

        async def sometimes(request: Any) -> Any:
            if request.prompt == "b":
                raise ZeroDivisionError("oh")
            return await submit(request)

        monkeypatch.setattr(client, "submit", sometimes)
        records = await _run(client, tmp_path).finish(_items("a", "b", "c"))
    assert [record.status for record in records] == [ItemStatus.DONE, ItemStatus.FAILED, ItemStatus.DONE]
    assert records[1].problem is not None
    assert "ZeroDivisionError: oh; please report this" in records[1].problem.message


async def test_runner_left_while_sending_records_the_ids(tmp_path: Path) -> None:
    """Leaving during a POST still records the ids of the accepted task."""
    slow = Fault(faults.SlowBody(0.3), on="submit")
    async with Sandbox(speed=SPEED, faults=[slow]) as sandbox:
        async with _client(sandbox) as client:
            run = _run(client, tmp_path)
            asyncio.get_running_loop().call_later(0.1, run.leave)
            (record,) = await run.finish(_items("a [[stuck]]"))
        assert record.status is ItemStatus.INTERRUPTED
        assert record.task_ids == tuple(task.id for task in sandbox.weryai.tasks)


async def test_runner_left_records_queued_items_as_not_submitted(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """Requests that waited in the queue are not in doubt."""
    async with _client(aiowery_sandbox, in_flight=1, submissions=3) as client:
        run = _run(client, tmp_path)
        asyncio.get_running_loop().call_later(0.2, run.leave)
        records = await run.finish(_items(*("a [[stuck]]",) * 6))
    assert [record.status for record in records] == [ItemStatus.INTERRUPTED, *(ItemStatus.NOT_SUBMITTED,) * 5]
    assert aiowery_sandbox.weryai.charged == 1


@pytest.mark.parametrize("iterations", range(20))
async def test_runner_left_at_acceptance_records_the_ids(tmp_path: Path, iterations: int) -> None:
    """However close acceptance and Ctrl-C are, an accepted item is never recorded as not submitted."""
    world = FakeWeryAI(seconds=1000)

    async def leaving(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            run.leave()
            for _ in range(iterations):
                await asyncio.sleep(0)
        return await world(request)

    async with client_of(leaving) as client:
        run = _run(client, tmp_path)
        (record,) = await run.finish(_items("a cat"))
    assert (record.status, record.task_ids) == (ItemStatus.INTERRUPTED, ("task_0",))


async def test_runner_left_during_check_or_upload_records_no_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An item whose paid POST was not sent is not in doubt, even if another item is."""
    release, calls = asyncio.Event(), Counter[str]()

    async def silent(request: httpx.Request) -> httpx.Response:
        calls[request.url.path] += 1
        if calls.total() == 2:
            run.leave()
        await release.wait()
        return envelope({"task_ids": ["t1"]})

    picture = File(b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png")
    requests = TextToImage(prompt="checked"), ImageUpscale(image_url=picture), TextToImage(prompt="sent")
    items = [InputItem(index=place, line=place, request=request) for place, request in enumerate(requests, 1)]
    async with client_of(silent) as client:

        async def check(request: Any) -> tuple[()]:
            if request is requests[0]:
                await release.wait()
            return ()

        monkeypatch.setattr(client, "check", check)
        run = _run(client, tmp_path, check=True)
        records = await run.finish(items)
        release.set()
    assert [record.status for record in records] == [
        ItemStatus.NOT_SUBMITTED,
        ItemStatus.NOT_SUBMITTED,
        ItemStatus.IN_DOUBT,
    ]
    assert calls == {"/v1/generation/upload-file": 1, "/v1/generation/text-to-image": 1}


async def test_runner_with_an_unwritable_record_keeps_other_records(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """Whatever a journal raises, the run ends in order, and every item has its record."""

    class Broken(NoManifest):
        def add_record(self, _record: Record, /) -> None:
            raise UnicodeError("no such character")

    async with _client(aiowery_sandbox, in_flight=1, submissions=1) as client:
        run = _run(client, tmp_path, Broken())
        records = await run.finish(_items(*("a cat",) * 5))
    assert len(records) == 5
    assert records[0].status is ItemStatus.DONE
    assert run.stopped is not None
    assert run.stopped.reason == "cannot write the manifest: no such character"


async def test_saver_with_invalid_characters_saves_the_text(aiowery_sandbox: Sandbox, tmp_path: Path) -> None:
    """A paid text with an invalid character is saved."""
    kept = SavedFiles()
    async with _client(aiowery_sandbox) as client:
        result = attrs.evolve(await client.chat("hi"), text="half \ud83d of it")
        await Saver(client, tmp_path).save(Chat(messages="hi"), result, "a", kept)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "half ? of it\n"
    assert (kept.files, kept.error) == (["a.txt"], None)


async def test_runner_with_failing_polls_finishes_all_items(tmp_path: Path) -> None:
    """A batch with occasional failing polls finishes all items."""
    flaky = Fault(faults.SERVER_ERROR, on="status", share=0.05)
    async with Sandbox(speed=SPEED, faults=[flaky]) as sandbox:
        async with _client(sandbox) as client:
            records = await _run(client, tmp_path).finish(_items(*("a cat",) * 60))
        assert _statuses(records) == {ItemStatus.DONE: 60}
        assert _pictures(tmp_path) == 60
