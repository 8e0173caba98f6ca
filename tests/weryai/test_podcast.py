"""A podcast in two steps: each is paid for once, whoever asks for it, and both can be found again."""

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
TURNS = [{"speaker_id": "spk-1", "speaker_name": "Mira", "content": "Hello."}]
TEXT, AUDIO = "/v1/generation/podcast/generate/text", "/v1/generation/podcast/generate/Ab12/audio"


@attrs.define
class Studio:
    """A provider that writes after two looks and speaks after two more."""

    step: str = "new"
    looks: int = 0
    fails: str = ""
    new_id: str = "Ab12"
    posts: list[tuple[str, Any]] = attrs.field(factory=list)
    refusals: list[tuple[int, str]] = attrs.field(factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        if request.method == "GET":
            return envelope(self.look(path.split("/")[-2]))
        self.posts.append((path, json.loads(request.content)))
        if path == TEXT:
            return self.accept("writing", "waiting")
        if self.refusals:
            return envelope(None, *self.refusals.pop(0))
        if self.step in {"speaking", "spoken"}:
            return envelope(None, 8002, "podcast audio already submitted")
        return self.accept("speaking", "processing")

    def accept(self, step: str, word: str) -> httpx.Response:
        """Begin a step."""
        self.step, self.looks = step, 0
        id_ = self.new_id if step == "speaking" else "Ab12"
        return httpx.Response(200, json={"status": 200, "success": True, "data": {"task_id": id_, "task_status": word}})

    def look(self, task_id: str) -> dict[str, Any]:
        """Answer a look; every second one ends a step."""
        self.looks += 1
        if self.looks > 1:
            self.step = {"writing": "written", "speaking": "spoken"}.get(self.step, self.step)
        told: dict[str, Any] = {"task_id": task_id, "task_status": "processing"}
        if self.fails and self.step in {"written", "spoken"} and self.fails.startswith(self.step[:1]):
            word = "text-fail" if self.step == "written" else "audio-fail"
            return {**told, "task_status": "failed", "content_status": word, "msg": self.fails}
        if self.step == "spoken":
            done = {"task_status": "SUCCESS", "content_status": "audio-success", "audios": ["https://f.example/1.mp3"]}
            return {**told, **done, "scripts": TURNS}
        if self.step in {"written", "speaking"}:
            return {**told, "content_status": "text-success", "scripts": TURNS}
        return told


def paths(studio: Studio) -> list[str]:
    """List what was posted."""
    return [path for path, _ in studio.posts]


def with_client(studio: Studio, main: Any) -> None:
    """Run a coroutine function with a client of the studio, in virtual time."""

    async def run() -> None:
        async with client_of(studio) as client:
            await main(client)

    run_virtual(run())


def test_awaiting_it_walks_both_steps_with_one_post_each() -> None:
    """`await` the podcast: script, voices, result; two POSTs."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        result = await podcast
        assert isinstance(result, PodcastResult)
        assert (result.url, result.script[0].content) == ("https://f.example/1.mp3", "Hello.")
        assert await podcast == result

    with_client(studio, main)
    assert studio.posts[1:] == [(AUDIO, {})]
    assert paths(studio) == [TEXT, AUDIO]


def test_a_pause_lets_the_script_be_edited() -> None:
    """The edited turns are what is spoken; asking twice asks once."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        script = await podcast.script()
        assert isinstance(script, PodcastScript)
        assert script.script == (ScriptLine("spk-1", "Hello.", "Mira"),)
        first = await podcast.voice([attrs.evolve(script.script[0], content="Good day.")])
        assert await podcast.voice() is first
        await podcast

    with_client(studio, main)
    assert studio.posts[1:] == [(AUDIO, {"scripts": [{**TURNS[0], "content": "Good day."}]})]


@pytest.mark.parametrize(
    ("step", "posts"),
    [("writing", [AUDIO]), ("written", [AUDIO]), ("speaking", [AUDIO]), ("spoken", [])],
)
def test_it_is_found_again_at_either_step(step: str, posts: list[str]) -> None:
    """By its id alone a podcast goes on from where it is; voices that exist are joined, not made again."""
    studio = Studio(step=step)

    async def main(client: WeryAI) -> None:
        result = await (await client.podcast(task_id="Ab12"))
        assert result.url == "https://f.example/1.mp3"

    with_client(studio, main)
    assert paths(studio) == posts


def test_many_who_ask_for_the_voices_pay_for_them_once() -> None:
    """Five at once get the same job; whatever scripts they bring, one of them is sent."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        jobs = await asyncio.gather(*(podcast.voice([ScriptLine("spk-1", f"Take {take}.")]) for take in range(5)))
        assert len(set(jobs)) == 1

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO]


def test_patience_that_ends_early_buys_nothing() -> None:
    """A deadline that passes while the script is written asks for no voices; the podcast goes on where it was."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(JobTimeout):
            await podcast.wait(timeout=0.1)
        assert paths(studio) == [TEXT]
        assert (await podcast).url

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO]


def test_voices_asked_for_elsewhere_are_joined_although_the_script_was_edited() -> None:
    """8002 means that they are paid for: nothing is sent twice, and the result is theirs."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        studio.accept("speaking", "processing")
        job = await podcast.voice([ScriptLine("spk-1", "Too late.")])
        assert (await job).script[0].content == "Hello."

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO]


@pytest.mark.anyio
async def test_the_sandboxs_podcast_walks_and_is_found_again() -> None:
    """On a real socket, edited on the way: what was edited is what the result says, from either end."""
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


def test_an_unready_script_may_be_asked_again() -> None:
    """A refusal of the voices comes through and does not end the podcast."""
    studio = Studio(refusals=[(8001, "script not ready")])

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(InvalidRequest, match="not ready"):
            await podcast
        assert (await podcast).url

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO, AUDIO]


@pytest.mark.parametrize("reason", ["w: no words", "s: no voice"])
def test_a_failed_step_fails_with_its_reason(reason: str) -> None:
    """text-fail and audio-fail end the podcast, and nothing is spoken about what was not written."""
    studio = Studio(fails=reason)

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(JobFailed, match=reason):
            await podcast

    with_client(studio, main)
    assert paths(studio) == ([TEXT] if reason.startswith("w") else [TEXT, AUDIO])


def test_a_new_id_in_the_second_step_is_used() -> None:
    """Where the provider gives the voices an id of their own, that one is asked about."""
    studio = Studio(new_id="Zz99")

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        assert (await podcast).task_ids == ("Zz99",)

    with_client(studio, main)


def test_two_steps_of_one_task_are_two_jobs() -> None:
    """The same id means another job for each class of request."""
    studio = Studio(step="written")

    async def main(client: WeryAI) -> None:
        script, voice = client.job("Ab12", of=Podcast), client.job("Ab12", of=PodcastVoice)
        assert set(client.jobs()) == {script, voice}
        assert client.job("Ab12", of=Podcast) is script
        assert (await script).script
        studio.step = "spoken"
        assert (await voice).url

    with_client(studio, main)


def test_either_a_request_or_an_id_is_needed() -> None:
    """Both or neither is a mistake, told before anything is sent."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        with pytest.raises(ConfigurationError, match="either"):
            await client.podcast()
        with pytest.raises(ConfigurationError, match="either"):
            await client.podcast(REQUEST, task_id="Ab12")

    with_client(studio, main)
    assert studio.posts == []


@pytest.mark.parametrize("new_id", ["Ab12", "Zz99"])
def test_voices_are_posted_once_although_the_first_who_asked_left(new_id: str) -> None:
    """Cancelled while the POST is under way: the next who asks gets the job of that POST."""

    class Slow(Studio):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            answer = await super().__call__(request)
            if request.url.path == AUDIO:
                await asyncio.sleep(3)
            return answer

    studio = Slow(new_id=new_id)

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(podcast.voice(), 1)
        assert (await podcast).task_ids == (new_id,)

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO]


@pytest.mark.parametrize("patience", [1, 5], ids=["under way", "back in line"])
def test_voices_refused_because_of_load_are_asked_for_anew_by_the_next(patience: int) -> None:
    """Cancelled before the refusal came, or while the lane rests: nothing was taken, so the next one asks."""

    class Busy(Studio):
        async def __call__(self, request: httpx.Request) -> httpx.Response:
            if request.url.path == AUDIO and len(self.posts) == 1:
                await asyncio.sleep(2)
                self.posts.append((AUDIO, {}))
                return httpx.Response(429, json={"status": 429, "message": "slow"}, headers={"retry-after": "10"})
            return await super().__call__(request)

    studio = Busy()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.script()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(podcast.voice(), patience)
        assert (await podcast).url

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO, AUDIO]


class Told(Studio):
    """A studio whose looks are told in other words."""

    def look(self, task_id: str) -> dict[str, Any]:
        """Tell what is, as `word` has it."""
        told = super().look(task_id)
        return self.in_other_words(told)

    def in_other_words(self, told: dict[str, Any]) -> dict[str, Any]:
        """Leave the word for the step where it was."""
        return {**told, "content_status": "text-success"} if "audios" in told else told


def test_a_finished_task_with_sounds_is_a_podcast() -> None:
    """Voices that are there are not waited for, although the word for the step lags behind."""
    studio = Told()

    async def main(client: WeryAI) -> None:
        assert (await (await client.podcast(REQUEST))).url

    with_client(studio, main)


class Shouting(Told):
    """Words in capitals."""

    def in_other_words(self, told: dict[str, Any]) -> dict[str, Any]:
        """Shout."""
        return {**told, "content_status": told["content_status"].upper()} if "content_status" in told else told


class Silent(Told):
    """No word for the step at all."""

    def in_other_words(self, told: dict[str, Any]) -> dict[str, Any]:
        """Leave it out."""
        return {name: value for name, value in told.items() if name != "content_status"}


@pytest.mark.parametrize("studio", [Told(step="spoken"), Shouting(step="spoken"), Silent(step="spoken")])
def test_voices_that_exist_are_not_asked_for(studio: Studio) -> None:
    """However the provider says that they are there, no paid POST is made."""

    async def main(client: WeryAI) -> None:
        assert (await (await client.podcast(task_id="Ab12"))).url

    with_client(studio, main)
    assert studio.posts == []


@pytest.mark.parametrize("studio", [Studio(step="spoken", fails="s"), Shouting(step="spoken", fails="s")])
def test_voices_that_failed_are_not_asked_for_unasked(studio: Studio) -> None:
    """They have been asked for once, in letters of whatever size: the failure is told, and no paid POST is made."""

    async def main(client: WeryAI) -> None:
        with pytest.raises(JobFailed):
            await (await client.podcast(task_id="Ab12"))

    with_client(studio, main)
    assert studio.posts == []


@pytest.mark.parametrize("task_id", ["..", " ", "\ud800"], ids=["dots", "blank", "surrogate"])
def test_an_id_that_cannot_be_asked_about_is_refused_at_once(task_id: str) -> None:
    """A mistake is told where it is made, not after half an hour of looks."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        with pytest.raises(ConfigurationError):
            client.job(task_id)
        with pytest.raises(ConfigurationError):
            await client.podcast(task_id=task_id)

    with_client(studio, main)


def test_a_script_that_is_not_shown_is_spoken_all_the_same() -> None:
    """The word for the step is enough to go on; only who asks for the script hears that there is none."""

    class Shy(Studio):
        def look(self, task_id: str) -> dict[str, Any]:
            told = super().look(task_id)
            return told if "audios" in told else {**told, "scripts": []}

    studio = Shy()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        assert (await podcast).url
        with pytest.raises(JobError):
            await podcast.script()

    with_client(studio, main)
    assert paths(studio) == [TEXT, AUDIO]


class Doubtful(Studio):
    """The answer to the second step is lost; `known` says whether the provider has taken it."""

    known: bool = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or not."""
        if request.url.path == AUDIO:
            self.posts.append((AUDIO, {}))
            if self.known:
                self.step = "spoken"
            raise httpx.ReadTimeout("no answer")
        return await super().__call__(request)


@pytest.mark.parametrize("known", [True, False])
def test_a_doubtful_second_step_is_not_posted_again(*, known: bool) -> None:
    """Asked again, the provider is looked at first: its voices are joined, else the doubt is told once more."""
    studio = Doubtful()
    studio.known = known

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        with pytest.raises(SubmissionInDoubt):
            await podcast
        if known:
            assert (await podcast).url
        else:
            with pytest.raises(SubmissionInDoubt):
                await podcast

    with_client(studio, main)
    assert paths(studio).count(AUDIO) == 1


def test_a_script_may_be_given_as_it_came() -> None:
    """`voice` takes what `script` returned, besides a list of lines."""
    studio = Studio()

    async def main(client: WeryAI) -> None:
        podcast = await client.podcast(REQUEST)
        await podcast.voice(await podcast.script())
        await podcast

    with_client(studio, main)
    assert studio.posts[1][1]["scripts"] == TURNS
