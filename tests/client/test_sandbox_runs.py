"""The whole client against the sandbox on a real socket: connections, single faults, and nothing left after closing."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from aiowery.errors import (
    ClientClosed,
    ContentRejected,
    EmptyResult,
    InsufficientCredits,
    JobFailed,
    JobTimeout,
    SubmissionInDoubt,
)
from aiowery.sandbox import FAIL, MODERATED, STUCK, Fault, Sandbox, faults
from aiowery.weryai import TextToImage
from tests.support import CAT, sandbox_client

SPEED = 100.0
CATS = TextToImage(prompt="two cats", image_number=2)
pytestmark = [pytest.mark.anyio, pytest.mark.sandbox(speed=SPEED, picture_size=64, durations=(2.0, 5.0))]
either_transport = pytest.mark.parametrize("http", [None, "httpx"], ids=["pooled", "httpx"])


@pytest.mark.slow("a thousand jobs over real sockets")
@either_transport
async def test_run_thousand_concurrent_uses_few_connections(sandbox: Sandbox, http: Any) -> None:
    """A thousand concurrent `run` all finish with one POST each, at most 20 tasks and at most 24 connections."""
    async with sandbox_client(sandbox, http=http) as client:
        results = await asyncio.gather(*(client.run(CAT) for _ in range(1000)))
        assert client.statistics().queue.refusals == 0
    counters = sandbox.weryai.counters
    assert len({result.task_ids for result in results}) == 1000
    assert counters.posts == 1000
    assert (counters.too_many_tasks, counters.throttled) == (0, 0)
    assert counters.connections_peak <= 24
    if http is None:  # httpx opens another one now and then, though it keeps no more than these
        assert counters.connections <= 24


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_run_over_callers_own_http_client_downloads_picture(
    sandbox: Sandbox, tmp_path: Path, library: Any
) -> None:
    """Submission, polls and download also work over the caller's httpx or httpx2 client."""
    async with library.AsyncClient() as http, sandbox_client(sandbox, http=http) as client:
        (path,) = await client.download(await client.run(CAT), tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


STATUS_FAULTS: dict[str, Fault] = {
    "500": Fault(faults.SERVER_ERROR, on="status", times=3),
    "502 page": Fault(faults.BAD_GATEWAY, on="status", times=3),
    "503 page": Fault(faults.UNAVAILABLE, on="status", times=3),
    "504 page": Fault(faults.GATEWAY_TIMEOUT, on="status", times=3),
    "429": Fault(faults.RATE_LIMITED, on="status", times=2),
    "401": Fault(faults.UNAUTHORIZED, on="status", times=2),
    "403": Fault(faults.FORBIDDEN, on="status", times=2),
    "throttle code": Fault(faults.RATE_LIMITED_1001, on="status", times=3),
    "reset": Fault(faults.Reset(), on="status", times=3),
    "truncated": Fault(faults.Truncated(), on="status", times=3),
    "empty": Fault(faults.Empty(), on="status", times=3),
    "not json": Fault(faults.NotJson(), on="status", times=3),
    "slow": Fault(faults.SlowBody(0.3), on="status", times=2),
    "not found yet": Fault(faults.NotFoundYet(0.1), on="status"),
    "stale": Fault(faults.StaleStatus(), on="status", times=3),
    "unknown status": Fault(faults.StatusWords(processing="Polishing"), on="status"),
    "capitals": Fault(faults.StatusWords(waiting="PENDING", processing="RUNNING", success="Succeed"), on="status"),
    "list": Fault(faults.ListData(), on="status"),
    "objects": Fault(faults.ObjectOutputs(), on="status"),
    "image_url objects": Fault(faults.ObjectOutputs("image_url"), on="status"),
    "nested": Fault(faults.NestedOutputs(), on="status"),
    "nested in output": Fault(faults.NestedOutputs("output"), on="status"),
    "envelope 200": Fault(faults.Success200(), on="any"),
}


@either_transport
@pytest.mark.parametrize("fault", STATUS_FAULTS.values(), ids=STATUS_FAULTS.keys())
async def test_run_status_check_fault_does_not_lose_picture(sandbox: Sandbox, fault: Fault, http: Any) -> None:
    """With each fault alone, on a single job, the picture arrives after one POST."""
    sandbox.inject(fault)
    async with sandbox_client(sandbox, http=http) as client:
        result = await client.run(CAT)
        assert (await client.fetch(result.assets[0])).startswith(b"\x89PNG")
    assert sandbox.weryai.counters.posts == 1


BATCH_FAULTS: dict[str, Fault] = {
    "refused": Fault(faults.NOT_FOUND, on="batch"),
    "page": Fault(faults.NotJson(), on="batch"),
    "tasks missing": Fault(faults.MissingTasks(), on="batch"),
    "500": Fault(faults.SERVER_ERROR, on="batch", times=2),
    "single object": Fault(faults.SingleObject(), on="batch"),
    "batch id as text": Fault(faults.StringBatchId(), on="submit"),
    "task ids as numbers": Fault(faults.NumericTaskIds(), on="any"),
}


@pytest.mark.parametrize("fault", BATCH_FAULTS.values(), ids=BATCH_FAULTS.keys())
async def test_run_batch_check_fault_does_not_lose_pictures(sandbox: Sandbox, fault: Fault) -> None:
    """With each fault of the batch endpoint, both pictures of a job arrive after one POST."""
    sandbox.inject(fault)
    async with sandbox_client(sandbox) as client:
        result = await client.run(CATS)
    assert len(result.assets) == 2
    assert sandbox.weryai.counters.posts == 1


LOAD_FAULTS: dict[str, Fault] = {
    "429": Fault(faults.RATE_LIMITED, on="submit", times=3),
    "1001": Fault(faults.RATE_LIMITED_1001, on="submit", times=3),
    "6002": Fault(faults.WORKFLOW_RATE_LIMITED, on="submit", times=3),
    "1007": Fault(faults.QUEUE_FULL, on="submit", times=3),
    "6010": Fault(faults.TOO_MANY_TASKS, on="submit", times=3),
}


@pytest.mark.parametrize("fault", LOAD_FAULTS.values(), ids=LOAD_FAULTS.keys())
async def test_run_load_rejections_cost_only_time(sandbox: Sandbox, fault: Fault) -> None:
    """Three rejections among thirty submissions lead to thirty tasks and thirty credits, and no submission is lost."""
    sandbox.inject(fault)
    async with sandbox_client(sandbox) as client:
        await asyncio.gather(*(client.run(CAT) for _ in range(30)))
        assert client.statistics().queue.refusals >= 1
    assert len(sandbox.weryai.tasks) == 30
    assert sandbox.weryai.charged == 30


DOUBT_FAULTS: dict[str, Fault] = {
    "lost answer": Fault(faults.LostAnswer(0.2), on="submit", times=1),
    "reset before": Fault(faults.Reset(), on="submit", times=1),
    "reset after": Fault(faults.Reset(processed=True), on="submit", times=1),
    "500": Fault(faults.ErrorResponse(500, html=True, processed=True), on="submit", times=1),
    "502": Fault(faults.BAD_GATEWAY, on="submit", times=1),
    "504": Fault(faults.GATEWAY_TIMEOUT, on="submit", times=1),
    "truncated": Fault(faults.Truncated(), on="submit", times=1),
    "empty": Fault(faults.Empty(), on="submit", times=1),
    "no ids": Fault(faults.NoIds(), on="submit", times=1),
}


@either_transport
@pytest.mark.parametrize("fault", DOUBT_FAULTS.values(), ids=DOUBT_FAULTS.keys())
async def test_run_submission_without_clear_answer_is_sent_once(sandbox: Sandbox, fault: Fault, http: Any) -> None:
    """If one of ten submissions gets no clear answer, there are ten POSTs, nine results and one doubt."""
    sandbox.inject(fault)
    async with sandbox_client(sandbox, http=http) as client:
        outcomes = await asyncio.gather(*(client.run(CAT) for _ in range(10)), return_exceptions=True)
        assert client.statistics().in_doubt == 1
    assert sum(isinstance(outcome, SubmissionInDoubt) for outcome in outcomes) == 1
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 9
    assert sandbox.weryai.counters.posts == 10


async def test_run_response_with_single_task_id_is_accepted(sandbox: Sandbox) -> None:
    """A single `task_id` with a status instead of `task_ids` is a job like any other."""
    sandbox.inject(Fault(faults.SingleTaskId(), on="submit"))
    async with sandbox_client(sandbox) as client:
        assert (await client.run(CAT)).credits == 1


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [(f"a cat {MODERATED}", ContentRejected), (f"a cat {FAIL}", JobFailed), (f"a cat {STUCK}", JobTimeout)],
)
async def test_run_moderated_failed_or_stuck_prompt_raises_its_error(
    sandbox: Sandbox, prompt: str, expected: type[Exception]
) -> None:
    """Moderation, failure and a task that never ends are three different errors."""
    async with sandbox_client(sandbox) as client:
        with pytest.raises(expected):
            await client.run(TextToImage(prompt=prompt), timeout=1)


async def test_run_success_without_outputs_raises_empty_result(sandbox: Sandbox) -> None:
    """If the provider reports success and lists no outputs, EmptyResult is raised."""
    sandbox.inject(Fault(faults.NoOutputs(), on="status"))
    async with sandbox_client(sandbox) as client:
        with pytest.raises(EmptyResult):
            await client.run(CAT)


async def test_run_credits_run_out_raises_for_the_rest() -> None:
    """Submissions within the balance succeed, the others raise InsufficientCredits, and none is charged twice."""
    async with Sandbox(speed=SPEED, credits=7, picture_size=64) as poor:
        async with sandbox_client(poor) as client:
            outcomes = await asyncio.gather(*(client.run(CAT) for _ in range(10)), return_exceptions=True)
            assert await client.balance() == 0
        assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 3
        assert poor.weryai.charged == 7


FILE_FAULTS: dict[str, Fault] = {
    "cut off": Fault(faults.TruncatedFile(), on="file", times=2),
    "404 at first": Fault(faults.NOT_FOUND, on="file", times=2),
    "403 at first": Fault(faults.FORBIDDEN, on="file", times=2),
    "503 at first": Fault(faults.UNAVAILABLE, on="file", times=2),
    "page at first": Fault(faults.ContentType("text/html"), on="file", times=1),
    "odd type": Fault(faults.ContentType("application/octet-stream"), on="file"),
    "slow": Fault(faults.SlowBody(0.3), on="file", times=1),
    "reset": Fault(faults.Reset(), on="file", times=2),
}


@either_transport
@pytest.mark.parametrize("fault", FILE_FAULTS.values(), ids=FILE_FAULTS.keys())
async def test_download_file_host_fault_does_not_spoil_file(
    sandbox: Sandbox, tmp_path: Path, fault: Fault, http: Any
) -> None:
    """With each fault of the file host, the saved picture is complete, and no other file is beside it."""
    async with sandbox_client(sandbox, http=http) as client:
        result = await client.run(CAT)
        expected = await client.fetch(result.assets[0])
        sandbox.inject(fault)
        (path,) = await client.download(result, tmp_path)
    assert path.suffix == ".png"
    assert path.read_bytes() == expected
    assert [entry.name for entry in os.scandir(tmp_path)] == [path.name]


async def test_fetch_file_sends_no_key(sandbox: Sandbox) -> None:
    """The file host receives no Authorization header, and the API receives one with every request."""
    async with sandbox_client(sandbox) as client:
        await client.fetch((await client.run(CAT)).assets[0])
    requests = sandbox.weryai.counters.requests
    assert {request.path.startswith("/files") for request in requests} == {True, False}
    for request in requests:
        assert request.authorization is not request.path.startswith("/files")


async def test_run_two_clients_same_key_share_twenty_slots(sandbox: Sandbox) -> None:
    """The provider counts per key. Two clients in one event loop never make it reject a submission."""
    async with sandbox_client(sandbox) as one, sandbox_client(sandbox) as two:
        await asyncio.gather(*(client.run(CAT) for client in (one, two) for _ in range(40)))
    assert sandbox.weryai.counters.too_many_tasks == 0


@pytest.mark.two_loops
async def test_run_two_event_loops_same_key_finish_all_jobs(sandbox: Sandbox) -> None:
    """Two separate queues (two event loops) share the provider's task limit through its rejections."""

    async def elsewhere() -> int:
        async with sandbox_client(sandbox) as client:
            return len(await asyncio.gather(*(client.run(CAT) for _ in range(40))))

    other = asyncio.to_thread(asyncio.run, elsewhere())
    here, there = await asyncio.gather(elsewhere(), other)
    assert here + there == 80
    assert len(sandbox.weryai.tasks) == 80


async def test_close_leaves_no_task_thread_socket_or_file(sandbox: Sandbox) -> None:
    """No asyncio task, thread, socket or open file of the client is left, with jobs under way and without."""
    tasks_before = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        async with sandbox_client(sandbox) as client:
            await client.run(CAT)
            await client.submit(TextToImage(prompt=f"a cat {STUCK}"))
            streaming = client.stream([CAT] * 100)
            await anext(streaming)
            raise ZeroDivisionError
    with pytest.raises(ClientClosed):
        [outcome async for outcome in streaming]
    await asyncio.sleep(0.05)
    gc.collect()
    assert asyncio.all_tasks() == tasks_before
    async with asyncio.timeout(5):
        while sandbox.weryai.counters.connections_open:  # noqa: ASYNC110 - another thread counts them
            await asyncio.sleep(0.01)
    threads = [thread for thread in threading.enumerate() if "aiowery" in thread.name and "sandbox" not in thread.name]
    assert threads == []
    assert not [name for name in _open_files() if name.endswith((".part", ".png"))]


def _open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()] if folder.exists() else []
