"""What both bots do, without a chat: the pace of edits, and words for every error."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest

from aiowery import Job, PollPolicy, Snapshot, TaskState, errors
from aiowery.testing import run_virtual
from aiowery.weryai import TextToImage
from examples.fair import FairTurns
from examples.imagine import imagine, tell_progress
from examples.words import in_words
from tests import support


@attrs.define
class Words:
    """A reply that remembers what it was told, and when."""

    seconds: float = 0.0
    told: list[tuple[float, str]] = attrs.field(factory=list)

    async def tell(self, words: str) -> None:
        """Remember the words; a chat takes its time for them."""
        self.told.append((asyncio.get_running_loop().time(), words))
        await asyncio.sleep(self.seconds)

    async def show(self, picture: bytes) -> None:
        """Refuse a picture, which no test here makes."""
        raise NotImplementedError


class Restless:
    """A job that changes its state ten times a second for five seconds, and then only its place in the line."""

    async def updates(self) -> AsyncIterator[Snapshot]:
        """Yield what is newest, as a job does."""
        while (now := asyncio.get_running_loop().time()) < 10:
            state = (TaskState.WAITING, TaskState.RUNNING)[round(min(now, 5) * 10) % 2]
            yield Snapshot(task_id="task", state=state, queue_position=round(100 - now * 10))
            await asyncio.sleep(0.1)
        yield Snapshot(task_id="task", state=TaskState.DONE)

    async def wait_finished(self) -> None:
        """Return at the end."""
        await asyncio.sleep(10 - asyncio.get_running_loop().time())


def test_edits_come_two_seconds_apart_and_tell_something_new() -> None:
    """However restless a job is, a message is edited every two seconds at most, and never to what it says already."""
    reply = Words()
    run_virtual(tell_progress(cast("Job[Any]", Restless()), reply))
    times = [time for time, _ in reply.told]
    words = [words for _, words in reply.told]
    assert len(words) >= 3
    assert all(later - earlier >= 2 for earlier, later in pairwise(times))
    assert all(earlier != later for earlier, later in pairwise(words))


def test_a_pause_between_edits_does_not_delay_the_end() -> None:
    """A job that ends a moment after an edit is over for the message at that moment, not two seconds later."""

    class Short(Restless):
        async def updates(self) -> AsyncIterator[Snapshot]:
            yield Snapshot(task_id="task", state=TaskState.RUNNING)
            yield Snapshot(task_id="task", state=TaskState.DONE)

        async def wait_finished(self) -> None:
            await asyncio.sleep(0.5)

    async def play() -> float:
        await tell_progress(cast("Job[Any]", Short()), Words())
        return asyncio.get_running_loop().time()

    assert run_virtual(play()) == pytest.approx(0.5)


def test_a_job_that_ends_between_two_edits_ends_the_telling() -> None:
    """A picture that is finished while the message rests after an edit is not waited for any longer."""

    async def play() -> float:
        async with support.client_of(
            support.FakeWeryAI(seconds=4), polling=PollPolicy(min_interval=3, max_interval=3)
        ) as client:
            job = await client.submit(TextToImage(prompt="a cat"))
            async with asyncio.timeout(60):
                await tell_progress(job, Words(seconds=5))
            return job.age

    assert run_virtual(play()) < 10


@pytest.mark.parametrize("prompt", ["", "x" * 2001])
def test_a_prompt_that_cannot_be_sent_costs_no_turn_and_no_post(prompt: str) -> None:
    """A prompt outside of the bounds is answered in words, before the line."""

    async def play() -> None:
        world, reply = support.FakeWeryAI(), Words()
        async with support.client_of(world) as client:
            await imagine(client, FairTurns(at_once=0), "A", prompt, reply)
        assert [words for _, words in reply.told] == ["This prompt cannot be sent. It needs 1 to 2,000 characters."]
        assert world.posts == []

    run_virtual(play())


KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.AioweryError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_words_of_its_own(kind: type[errors.AioweryError]) -> None:
    """What a person hears of an error is a sentence, without anything from the error's own message."""
    words = in_words(kind("task_1 key sk-1 at 10.0.0.1"))
    assert words.endswith(".")
    assert not {"task_1", "sk-1", "10.0.0.1"} & set(words.split())
