"""A podcast in two steps: each step is paid for once, and both can be attached to by the task id."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import attrs
import httpx
import pytest

from aiowery import PollPolicy, ScriptLine, WeryAI
from aiowery.errors import ConfigurationError, InvalidRequest, JobError, JobFailed, JobTimeout, SubmissionInDoubt
from aiowery.sandbox import Sandbox
from aiowery.testing import run_virtual
from aiowery.weryai import Podcast, PodcastResult, PodcastScript, PodcastVoice
from tests.support import client_of, envelope

REQUEST = Podcast(query="tides", speakers=["spk-1"])
SCRIPT = [{"speaker_id": "spk-1", "speaker_name": "Mira", "content": "Hello."}]
TEXT, AUDIO = "/v1/generation/podcast/generate/text", "/v1/generation/podcast/generate/Ab12/audio"


@attrs.define
class PodcastProvider:
    """A provider that finishes each step of a podcast with its second poll."""

    step: str = "new"
    polls: int = 0
    fails: str = ""
    new_id: str = "Ab12"
    posts: list[tuple[str, Any]] = attrs.field(factory=list)
    refusals: list[tuple[int, str]] = attrs.field(factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        if request.method == "GET":
            return envelope(self.status(path.split("/")[-2]))
        self.posts.append((path, json.loads(request.content)))
        if path == TEXT:
            return self.accept("writing", "waiting")
        if self.refusals:
            return envelope(None, *self.refusals.pop(0))
        if self.step in {"speaking", "spoken"}:
            return envelope(None, 8002, "podcast audio already submitted")
        return self.accept("speaking", "processing")

    def accept(self, step: str, raw_status: str) -> httpx.Response:
        """Start a step."""
        self.step, self.polls = step, 0
        id_ = self.new_id if step == "speaking" else "Ab12"
        return httpx.Response(
            200, json={"status": 200, "success": True, "data": {"task_id": id_, "task_status": raw_status}}
        )

    def status(self, task_id: str) -> dict[str, Any]:
        """Return the status of the podcast. Every second poll ends a step."""
        self.polls += 1
        if self.polls > 1:
            self.step = {"writing": "written", "speaking": "spoken"}.get(self.step, self.step)
        data: dict[str, Any] = {"task_id": task_id, "task_status": "processing"}
        if self.fails and self.step in {"written", "spoken"} and self.fails.startswith(self.step[:1]):
            substatus = "text-fail" if self.step == "written" else "audio-fail"
            return {**data, "task_status": "failed", "content_status": substatus, "msg": self.fails}
        if self.step == "spoken":
            done = {"task_status": "SUCCESS", "content_status": "audio-success", "audios": ["https://f.example/1.mp3"]}
            return {**data, **done, "scripts": SCRIPT}
        if self.step in {"written", "speaking"}:
            return {**data, "content_status": "text-success", "scripts": SCRIPT}
        return data


def paths(provider: PodcastProvider) -> list[str]:
    """Return the paths of all POSTs."""
    return [path for path, _ in provider.posts]


def with_client(provider: PodcastProvider, main: Any) -> None:
    """Run a coroutine function with a client of the provider, in virtual time."""

    async def run() -> None:
        async with client_of(provider) as client:
            await main(client)

    run_virtual(run())


def test_podcast_awaited_sends_one_post_per_step() -> None:
    """`await podcast` waits for the script, starts the voices and returns the result, with two POSTs."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        result = await podcast
        assert isinstance(result, PodcastResult)
        assert (result.url, result.script[0].content) == ("https://f.example/1.mp3", "Hello.")
        assert await podcast == result

    with_client(provider, main)
    assert provider.posts[1:] == [(AUDIO, {})]
    assert paths(provider) == [TEXT, AUDIO]


def test_podcast_voice_with_edited_script_sends_the_edit() -> None:
    """The edited turns are sent, and a second call of `voice` returns the same job."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        script = await podcast.script()
        assert isinstance(script, PodcastScript)
        assert script.script == (ScriptLine("spk-1", "Hello.", "Mira"),)
        first = await podcast.voice([attrs.evolve(script.script[0], content="Good day.")])
        assert await podcast.voice() is first
        await podcast

    with_client(provider, main)
    assert provider.posts[1:] == [(AUDIO, {"scripts": [{**SCRIPT[0], "content": "Good day."}]})]


@pytest.mark.parametrize(
    ("step", "posts"),
    [("writing", [AUDIO]), ("written", [AUDIO]), ("speaking", [AUDIO]), ("spoken", [])],
)
def test_podcast_by_task_id_continues_from_each_step(step: str, posts: list[str]) -> None:
    """The task id is enough to continue a podcast. If its voices exist, they are joined and not paid for again."""
    provider = PodcastProvider(step=step)

    async def main(client: WeryAI) -> None:
        result = await (await client.podcast(task_id="Ab12"))
        assert result.url == "https://f.example/1.mp3"

    with_client(provider, main)
    assert paths(provider) == posts


def test_podcast_voice_concurrent_calls_send_one_post() -> None:
    """Five concurrent calls with different scripts get one job, and one of the scripts is sent."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        jobs = await asyncio.gather(*(podcast.voice([ScriptLine("spk-1", f"Take {take}.")]) for take in range(5)))
        assert len(set(jobs)) == 1

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO]


def test_podcast_wait_timeout_during_script_sends_no_voice_post() -> None:
    """If the timeout passes while the script is written, no voices are requested.

    A later wait continues the podcast.
    """
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(JobTimeout):
            await podcast.wait(timeout=0.1)
        assert paths(provider) == [TEXT]
        assert (await podcast).url

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO]


def test_podcast_voice_already_submitted_joins_existing_voices() -> None:
    """Code 8002 means that the voices are paid for. They are joined, and an edited script is not sent again."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        provider.accept("speaking", "processing")
        job = await podcast.voice([ScriptLine("spk-1", "Too late.")])
        assert (await job).script[0].content == "Hello."

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO]


@pytest.mark.anyio
async def test_podcast_in_sandbox_with_edited_script_is_attached_by_id() -> None:
    """Over a real socket, the result has the edited script, also for a later client that has only the task id."""
    async with Sandbox(speed=1000, picture_size=64) as sandbox:
        async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(1000)) as client:
            podcast = await client.podcast(Podcast(query="tides", speakers=["spk-en-07"]))
            script = await podcast.script()
            await podcast.voice([attrs.evolve(script.script[0], content="Good day.")])
            result = await podcast
            assert [line.content for line in result.script] == ["Good day."]
        posts = sandbox.weryai.counters.posts
        async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(1000)) as client:
            again = await (await client.podcast(task_id=podcast.task_id))
            assert (again.url, again.script) == (result.url, result.script)
        assert sandbox.weryai.counters.posts == posts == 2


def test_podcast_voice_refused_then_awaited_again_succeeds() -> None:
    """A refusal of the voices is raised and does not end the podcast."""
    provider = PodcastProvider(refusals=[(8001, "script not ready")])

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(InvalidRequest, match="not ready"):
            await podcast
        assert (await podcast).url

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO, AUDIO]


@pytest.mark.parametrize("reason", ["w: no words", "s: no voice"])
def test_podcast_failed_step_raises_its_reason(reason: str) -> None:
    """`text-fail` and `audio-fail` end the podcast, and no voices are requested after a failed script."""
    provider = PodcastProvider(fails=reason)

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(JobFailed, match=reason):
            await podcast

    with_client(provider, main)
    assert paths(provider) == ([TEXT] if reason.startswith("w") else [TEXT, AUDIO])


def test_podcast_voice_with_own_task_id_is_polled_by_it() -> None:
    """If the provider gives the voices a task id of their own, that task is polled."""
    provider = PodcastProvider(new_id="Zz99")

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        assert (await podcast).task_ids == ("Zz99",)

    with_client(provider, main)


def test_job_of_each_podcast_step_is_a_job_of_its_own() -> None:
    """One task id is another job for each class of request."""
    provider = PodcastProvider(step="written")

    async def main(client: WeryAI) -> None:
        script, voice = client.job("Ab12", of=Podcast), client.job("Ab12", of=PodcastVoice)
        assert set(client.jobs()) == {script, voice}
        assert client.job("Ab12", of=Podcast) is script
        assert (await script).script
        provider.step = "spoken"
        assert (await voice).url

    with_client(provider, main)


def test_podcast_without_or_with_both_arguments_sends_nothing() -> None:
    """A request and a task id exclude each other, and one is required. The error comes before any request."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        with pytest.raises(ConfigurationError, match="either"):
            await client.podcast()
        with pytest.raises(ConfigurationError, match="either"):
            await client.podcast(REQUEST, task_id="Ab12")

    with_client(provider, main)
    assert provider.posts == []


@pytest.mark.parametrize("new_id", ["Ab12", "Zz99"])
def test_podcast_voice_first_caller_cancelled_post_is_shared(new_id: str) -> None:
    """If the first caller is cancelled while the POST is under way, the next call gets the job of that POST."""

    class SlowVoiceResponse(PodcastProvider):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            response = await super().__call__(request)
            if request.url.path == AUDIO:
                await asyncio.sleep(3)
            return response

    provider = SlowVoiceResponse(new_id=new_id)

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(podcast.voice(), 1)
        assert (await podcast).task_ids == (new_id,)

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO]


@pytest.mark.parametrize("timeout", [1, 5], ids=["under way", "back in the queue"])
def test_podcast_voice_cancelled_around_429_is_sent_again(timeout: int) -> None:
    """If the caller is cancelled before the 429, or while the queue pauses after it, the next call sends the POST."""

    class BusyForVoices(PodcastProvider):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == AUDIO and len(self.posts) == 1:
                await asyncio.sleep(2)
                self.posts.append((AUDIO, {}))
                return httpx.Response(429, json={"status": 429, "message": "slow"}, headers={"retry-after": "10"})
            return await super().__call__(request)

    provider = BusyForVoices()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(podcast.voice(), timeout)
        assert (await podcast).url

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO, AUDIO]


class LaggingSubstatus(PodcastProvider):
    """A provider whose substatus stays "text-success" after the voices exist."""

    def status(self, task_id: str) -> dict[str, Any]:
        """Return the changed status."""
        data = super().status(task_id)
        return self.changed(data)

    def changed(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the status with the old substatus."""
        return {**data, "content_status": "text-success"} if "audios" in data else data


def test_podcast_finished_task_with_audio_needs_no_substatus() -> None:
    """Voices that exist end the podcast, although the substatus lags behind."""
    provider = LaggingSubstatus()

    async def main(client: WeryAI) -> None:
        assert (await (await client.podcast(REQUEST))).url

    with_client(provider, main)


class CapitalSubstatus(LaggingSubstatus):
    """A provider whose substatus is in capitals."""

    def changed(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the status with its substatus in capitals."""
        return {**data, "content_status": data["content_status"].upper()} if "content_status" in data else data


class NoSubstatus(LaggingSubstatus):
    """A provider without a substatus."""

    def changed(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the status without its substatus."""
        return {name: value for name, value in data.items() if name != "content_status"}


@pytest.mark.parametrize(
    "provider", [LaggingSubstatus(step="spoken"), CapitalSubstatus(step="spoken"), NoSubstatus(step="spoken")]
)
def test_podcast_with_existing_voices_sends_no_post(provider: PodcastProvider) -> None:
    """In each form in which the provider reports the voices, no paid POST is sent."""

    async def main(client: WeryAI) -> None:
        assert (await (await client.podcast(task_id="Ab12"))).url

    with_client(provider, main)
    assert provider.posts == []


@pytest.mark.parametrize(
    "provider", [PodcastProvider(step="spoken", fails="s"), CapitalSubstatus(step="spoken", fails="s")]
)
def test_podcast_with_failed_voices_sends_no_post(provider: PodcastProvider) -> None:
    """Voices that failed were paid for: the failure is raised, in any case of the substatus, and no POST is sent."""

    async def main(client: WeryAI) -> None:
        with pytest.raises(JobFailed):
            await (await client.podcast(task_id="Ab12"))

    with_client(provider, main)
    assert provider.posts == []


@pytest.mark.parametrize("task_id", ["..", " ", "\ud800"], ids=["dots", "blank", "surrogate"])
def test_podcast_invalid_task_id_is_refused_immediately(task_id: str) -> None:
    """An id that no status request can name raises ConfigurationError, not a timeout after half an hour of polls."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        with pytest.raises(ConfigurationError):
            client.job(task_id)
        with pytest.raises(ConfigurationError):
            await client.podcast(task_id=task_id)

    with_client(provider, main)


def test_podcast_without_visible_script_continues() -> None:
    """The substatus is enough to continue, and only `script` raises JobError."""

    class HiddenScript(PodcastProvider):
        def status(self, task_id: str) -> dict[str, Any]:
            data = super().status(task_id)
            return data if "audios" in data else {**data, "scripts": []}

    provider = HiddenScript()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        assert (await podcast).url
        with pytest.raises(JobError):
            await podcast.script()

    with_client(provider, main)
    assert paths(provider) == [TEXT, AUDIO]


class LostVoiceResponse(PodcastProvider):
    """A provider whose response to the second step is lost. With `known` it has started the voices."""

    known: bool = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or lose the response."""
        if request.url.path == AUDIO:
            self.posts.append((AUDIO, {}))
            if self.known:
                self.step = "spoken"
            raise httpx.ReadTimeout("no answer")
        return await super().__call__(request)


@pytest.mark.parametrize("known", [True, False])
def test_podcast_voice_in_doubt_is_not_posted_again(*, known: bool) -> None:
    """A second wait polls first: existing voices are joined, else SubmissionInDoubt is raised again."""
    provider = LostVoiceResponse()
    provider.known = known

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(SubmissionInDoubt):
            await podcast
        if known:
            assert (await podcast).url
        else:
            with pytest.raises(SubmissionInDoubt):
                await podcast

    with_client(provider, main)
    assert paths(provider).count(AUDIO) == 1


def test_podcast_voice_takes_the_result_of_script() -> None:
    """`voice` takes what `script` returned, besides a list of lines."""
    provider = PodcastProvider()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.voice(await podcast.script())
        await podcast

    with_client(provider, main)
    assert provider.posts[1][1]["scripts"] == SCRIPT
