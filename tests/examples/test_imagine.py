"""The steps that both bots share, without a chat platform: the pace of edits, and a message for every error."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest

from aiowery import Job, PollPolicy, Snapshot, TaskState, WeryAI, errors
from aiowery.weryai import TextToImage
from examples.fair_queue import FairQueue
from examples.imagine import Picture, imagine, report_progress
from examples.user_messages import error_message, finished_message
from tests import support


@attrs.define
class RecordingReply:
    """A reply that records each text and its time. Every edit takes `edit_seconds`."""

    edit_seconds: float = 0.0
    texts: list[tuple[float, str]] = attrs.field(factory=list)

    async def show_text(self, text: str) -> None:
        """Record the text, and take the time of an edit."""
        self.texts.append((asyncio.get_running_loop().time(), text))
        await asyncio.sleep(self.edit_seconds)

    async def show_picture(self, picture: Picture) -> None:
        """Refuse the picture, which no test here makes."""
        raise NotImplementedError


class ChangingJob:
    """A job that changes its state ten times a second for five seconds, and then only its queue position."""

    async def updates(self) -> AsyncIterator[Snapshot]:
        """Yield the newest snapshot, as a job does."""
        while (now := asyncio.get_running_loop().time()) < 10:
            state = (TaskState.WAITING, TaskState.RUNNING)[round(min(now, 5) * 10) % 2]
            yield Snapshot(task_id="task", state=state, queue_position=round(100 - now * 10))
            await asyncio.sleep(0.1)
        yield Snapshot(task_id="task", state=TaskState.DONE)

    async def wait_finished(self) -> None:
        """Return after ten seconds, the end of the job."""
        await asyncio.sleep(10 - asyncio.get_running_loop().time())


@pytest.mark.virtual_time
async def test_report_progress_frequent_changes_are_shown_every_two_seconds() -> None:
    """A message is edited every two seconds at most, and never to the text that it already has."""
    reply = RecordingReply()
    await report_progress(cast("Job[Any]", ChangingJob()), reply)
    times = [time for time, _ in reply.texts]
    texts = [text for _, text in reply.texts]
    assert len(texts) >= 3
    assert all(later - earlier >= 2 for earlier, later in pairwise(times))
    assert all(earlier != later for earlier, later in pairwise(texts))


@pytest.mark.virtual_time
async def test_report_progress_job_finished_during_pause_returns() -> None:
    """When a job finishes half a second after an edit, the pause ends then, and not after two seconds."""

    class ShortJob(ChangingJob):
        async def updates(self) -> AsyncIterator[Snapshot]:
            yield Snapshot(task_id="task", state=TaskState.RUNNING)
            yield Snapshot(task_id="task", state=TaskState.DONE)

        async def wait_finished(self) -> None:
            await asyncio.sleep(0.5)

    await report_progress(cast("Job[Any]", ShortJob()), RecordingReply())
    assert asyncio.get_running_loop().time() == pytest.approx(0.5)


@pytest.mark.virtual_time
async def test_report_progress_job_finished_during_edit_returns() -> None:
    """When a job finishes during an edit, the report ends without another wait."""
    provider, polling = support.FakeWeryAI(seconds=4), PollPolicy(min_interval=3, max_interval=3)
    async with support.client_of(provider, polling=polling) as client:
        job = await client.submit(TextToImage(prompt="a cat"))
        async with asyncio.timeout(60):
            await report_progress(job, RecordingReply(edit_seconds=5))
        assert job.age < 10


@pytest.mark.virtual_time
@pytest.mark.parametrize("prompt", ["", "x" * 2001])
async def test_imagine_invalid_prompt_takes_no_slot_and_sends_nothing(prompt: str) -> None:
    """A prompt that is too short or too long gets a message although the fair queue has no slot."""
    provider, reply = support.FakeWeryAI(), RecordingReply()
    async with support.client_of(provider) as client:
        await imagine(client, FairQueue(slots=0), "A", prompt, reply)
    assert [text for _, text in reply.texts] == ["This prompt cannot be sent. It must have 1 to 2,000 characters."]
    assert provider.posts == []


@pytest.mark.virtual_time
async def test_imagine_picture_that_cannot_be_fetched_has_its_url_and_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A picture that was paid for is not lost: the message has its address and its id, and the log its id."""

    async def fetch(*_: object) -> bytes:
        raise errors.DownloadError("cannot fetch it", url="https://files.example.com/task_0.png")

    monkeypatch.setattr(WeryAI, "fetch", fetch)
    reply = RecordingReply()
    async with support.client_of(support.FakeWeryAI()) as client:
        await imagine(client, FairQueue(slots=1), "A", "a cat", reply)
    assert reply.texts[-1][1] == (
        "The picture is finished, but it cannot be shown here. It is at https://files.example.com/task_0.png\n"
        "Its id is task_0."
    )
    assert "task_0" in caplog.text


@pytest.mark.virtual_time
async def test_imagine_picture_that_takes_too_long_has_its_id() -> None:
    """The user can ask for the picture later, by its id."""
    reply, polling = RecordingReply(), PollPolicy(image_timeout=5.0)
    async with support.client_of(support.FakeWeryAI(seconds=60), polling=polling) as client:
        await imagine(client, FairQueue(slots=1), "A", "a cat", reply)
    message = "This picture takes unusually long. It may still be finished. Its id is task_0."
    assert reply.texts[-1][1] == message


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "https://e.example/" + "x" * 1000, "ftp://e.example/a"])
def test_finished_message_without_a_short_web_address_has_the_id(url: str) -> None:
    """An address that a chat cannot show, or that is longer than a message may be, is left out."""
    message = finished_message(url, "task_1")
    assert message.endswith("Its id is task_1.")
    assert url not in message
    assert len(finished_message("https://e.example/" + "x" * 900, "task_1")) < 2000


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AioweryError)]


@pytest.mark.parametrize("kind", KINDS)
def test_error_message_any_error_has_no_technical_details(kind: type[errors.AioweryError]) -> None:
    """Every error has a sentence for the user, without any part of the error's own text."""
    message = error_message(kind("task_1 key sk-1 at 10.0.0.1"))
    assert message.endswith(".")
    assert not {"task_1", "sk-1", "10.0.0.1"} & set(message.split())
