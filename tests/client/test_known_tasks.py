"""An acceptance with the tasks of another submission is a doubt: no two jobs have the same task."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from aiowery import BetterWaifu, Limits
from aiowery.betterwaifu import GenerateImage
from aiowery.errors import SubmissionInDoubt
from aiowery.ledger import State
from aiowery.weryai import Chat, Podcast, PodcastVoice, TextToImage
from tests.support import LEDGER_KINDS, FailingLedger, http_response, ledger_of, peer, responding
from tests.support.fake_betterwaifu import KEY as BETTERWAIFU_KEY
from tests.support.fake_betterwaifu import finished_v1
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider, accepting_server

pytestmark = pytest.mark.anyio

WERYAI = RAW_PROVIDERS["weryai"]


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.fixture(params=["none", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Return no ledger, and one in a file."""
    return None if request.param == "none" else tmp_path / "jobs.db"


async def in_doubt(submitting: Any) -> SubmissionInDoubt:
    """Return the doubt in which a submission ends."""
    with pytest.raises(SubmissionInDoubt) as caught:
        await submitting
    return caught.value


async def test_submit_accepted_with_task_of_live_job_is_in_doubt(raw: RawProvider, ledger: Any) -> None:
    """A second acceptance with the same id, such as a stale one, starts no second job."""
    async with accepting_server(raw, raw.accepting("t1"), raw.accepting("t1"), raw.accepting("t2")) as server:
        async with raw.client(server.url, ledger=ledger) as client:
            job = await client.submit(raw.request)
            doubt = await in_doubt(client.submit(raw.request))
            other = await client.submit(raw.request)
            assert {one.task_ids for one in client.jobs()} == {job.task_ids, other.task_ids} == {("t1",), ("t2",)}
            statistics = client.statistics()
    assert "accepted with t1, of another submission" in str(doubt)
    assert doubt.task_ids == ()
    assert (statistics.accepted, statistics.in_doubt, statistics.queue.in_use) == (2, 1, 2)
    assert server.posts == 3


async def test_submit_concurrently_accepted_with_one_task_makes_one_job(raw: RawProvider, ledger: Any) -> None:
    """Of two submissions under way at the same time, one gets the job, and the other one is in doubt."""
    async with accepting_server(raw, raw.accepting("t1"), raw.accepting("t1")) as server:
        async with raw.client(server.url, ledger=ledger) as client:
            got = await asyncio.gather(*(client.submit(raw.request) for _ in range(2)), return_exceptions=True)
            assert sorted(type(one).__name__ for one in got) == ["Job", "SubmissionInDoubt"]
            assert len(client.jobs()) == 1
    assert server.posts == 2


async def test_submit_accepted_with_task_of_finished_entry_is_in_doubt(raw: RawProvider, tmp_path: Path) -> None:
    """The ledger knows the tasks of jobs that have finished in an earlier run."""
    responses = (raw.accepting("t1"), http_response(raw.done("t1")), raw.accepting("t1"))
    async with peer(*responses) as server, ledger_of("file", tmp_path) as ledger:
        async with raw.client(server.url, ledger=ledger) as client:
            await client.run(raw.request)
        async with raw.client(server.url, ledger=ledger) as client:
            assert "t1, of another submission" in str(await in_doubt(client.run(raw.request)))
        entries = await ledger.entries()
    assert [(entry.state, entry.task_ids) for entry in entries] == [(State.DONE, ("t1",)), (State.IN_DOUBT, ())]
    assert "t1, of another submission" in entries[1].reason
    assert server.posts == 2


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_submit_accepted_with_known_and_new_tasks_is_in_doubt_with_new_ones(kind: str, tmp_path: Path) -> None:
    """If one of several tasks is known, none is believed. The new ones are hints, which a person can check."""
    request = TextToImage(prompt="cats", image_number=3)
    acceptances = (WERYAI.accepting("t1", "t2", "t3"), WERYAI.accepting("t4", "t2", "t5"))
    async with accepting_server(WERYAI, *acceptances) as server, ledger_of(kind, tmp_path) as ledger:
        async with WERYAI.client(server.url, ledger=ledger) as client:
            await client.submit(request)
            doubt = await in_doubt(client.submit(request))
            (entry,) = await ledger.entries(states=[State.IN_DOUBT])
            hints = await ledger.deliveries(submission_id=entry.submission_id)
    assert "accepted with t2, of another submission" in str(doubt)
    assert doubt.task_ids == tuple(hint.task_id for hint in hints) == ("t4", "t5")
    assert server.posts == 2


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_submit_accepted_with_hint_of_another_doubt_is_in_doubt(
    raw: RawProvider, kind: str, tmp_path: Path
) -> None:
    """A task that was named for a doubt may be the doubt's: no second submission is accepted with it."""
    posts = [http_response(raw.accepted("t1"), "502 Bad Gateway"), raw.accepting("t1"), raw.accepting("t2")]

    def respond(request: bytes) -> bytes:
        return posts.pop(0) if request.startswith(b"POST") else http_response("<html>", "502 Bad Gateway")

    async with responding(respond) as server, ledger_of(kind, tmp_path) as ledger:
        async with raw.client(server.url, ledger=ledger) as client:
            doubts = [await in_doubt(client.submit(raw.request)) for _ in range(2)]
            assert (await client.submit(raw.request)).task_ids == ("t2",)
            assert {job.task_ids for job in client.jobs()} == {("t2",)}
    assert "accepted with t1, of another submission" in str(doubts[1])
    assert [doubt.task_ids for doubt in doubts] == [("t1",)] * 2
    assert server.posts == 3


async def test_submit_accepted_with_task_of_attached_job_is_in_doubt(raw: RawProvider) -> None:
    """A job that was attached by its task id is a live job too."""
    async with accepting_server(raw, raw.accepting("t1")) as server, raw.client(server.url) as client:
        attached = client.job("t1")
        await in_doubt(client.submit(raw.request))
        assert client.jobs() == (attached,)


async def test_submit_v1_images_accepted_with_known_picture_is_in_doubt(tmp_path: Path) -> None:
    """The same picture is not the response to two paid requests."""
    async with peer(http_response(finished_v1(1))) as server, ledger_of("file", tmp_path) as ledger:
        async with BetterWaifu(
            BETTERWAIFU_KEY, edition="v1-images", base_url=server.url, limits=Limits(cool_down=0.0), ledger=ledger
        ) as client:
            await client.run(GenerateImage(prompt="1girl"))
            await in_doubt(client.run(GenerateImage(prompt="1boy")))
    assert server.posts == 2


async def test_submit_second_step_of_podcast_goes_on_with_known_task(ledger: Any) -> None:
    """A request that names a task itself is accepted with it."""
    accepted = WERYAI.accepting("t1")
    async with accepting_server(WERYAI, accepted, accepted) as server:
        async with WERYAI.client(server.url, ledger=ledger) as client:
            await client.submit(Podcast(query="cats", speakers=["a"]))
            job = await client.submit(PodcastVoice(task_id="t1"))
    assert (job.task_ids, server.posts) == (("t1",), 2)


async def test_run_direct_calls_with_one_id_have_their_results(ledger: Any) -> None:
    """The id of a direct call is that of its response, and no task: some servers send the same one each time."""
    completion = http_response({"id": "chat-1", "choices": [{"message": {"content": "hi"}}]})
    async with peer(completion) as server, WERYAI.client(server.url, ledger=ledger) as client:
        results = await asyncio.gather(*(client.run(Chat(messages="hello")) for _ in range(3)))
    assert [result.text for result in results] == ["hi"] * 3


async def test_submit_same_task_id_at_another_url_is_accepted(raw: RawProvider, tmp_path: Path) -> None:
    """Providers that share a ledger may use the same ids."""
    async with ledger_of("file", tmp_path) as ledger:
        for _ in range(2):
            async with accepting_server(raw, raw.accepting("t1")) as server:
                async with raw.client(server.url, ledger=ledger) as client:
                    assert (await client.submit(raw.request)).task_ids == ("t1",)


async def test_stream_accepted_with_late_task_of_same_entry_has_result(raw: RawProvider, tmp_path: Path) -> None:
    """A provider that recognizes the repeat returns the task of the first attempt, which belongs to this entry."""
    posts = [http_response("", "502 Bad Gateway"), raw.accepting("t1")]
    done = http_response(raw.done("t1"))

    def respond(request: bytes) -> bytes:
        return posts.pop(0) if request.startswith(b"POST") else done

    async with responding(respond) as server, ledger_of("file", tmp_path) as ledger:
        async with raw.client(server.url, ledger=ledger) as client:
            (first,) = [outcome async for outcome in client.stream([raw.request], batch="b")]
            (entry,) = await ledger.entries()
            await ledger.resolve_unsent(entry.id)
            await ledger.mark_accepted(entry.submission_id or "", ["t1"])
            (second,) = [outcome async for outcome in client.stream([raw.request], batch="b")]
        assert await ledger.entries_with_task("t1") == [entry.id]
    assert isinstance(first.error, SubmissionInDoubt)
    assert second.unwrap().task_ids == ("t1",)
    assert server.posts == 2


async def test_submit_ledger_cannot_be_searched_is_accepted(raw: RawProvider) -> None:
    """What was accepted and paid for is not lost because a ledger fails."""
    ledger = FailingLedger("entries_with_task", RuntimeError("out of order"))
    await ledger.open()
    async with accepting_server(raw, raw.accepting("t1")) as server, raw.client(server.url, ledger=ledger) as client:
        assert (await client.submit(raw.request)).task_ids == ("t1",)


async def test_job_collected_and_attached_again_is_new(raw: RawProvider) -> None:
    """A finished job whose result was received no longer has its tasks in memory."""
    async with peer(http_response(raw.done("t1"))) as server, raw.client(server.url) as client:
        first = client.job("t1")
        assert client.job("t1") is first
        await first
        assert client.job("t1") is not first
