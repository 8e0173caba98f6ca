"""The dialects of WeryAI: words for the states of tasks, and codes of refusals."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from aiowery import WeryAI
from aiowery.errors import (
    APIError,
    ContentRejected,
    InsufficientCredits,
    InvalidRequest,
    JobFailed,
    NotFound,
    PermissionDenied,
)
from aiowery.sandbox import FAIL, MODERATED, Fault, Sandbox, faults
from aiowery.weryai import DeepResearch, Music, Podcast, TextToImage, VideoExtend

WORDS = {
    "docs": ({"waiting", "processing"}, "SUCCESS", "FAILED"),
    "upper": ({"WAITING", "PROCESSING"}, "SUCCESS", "FAILED"),
    "lower": ({"waiting", "processing"}, "succeed", "failed"),
}
PICTURE = {"model": "WERYAI_IMAGE_2_0", "prompt": "hills", "aspect_ratio": "1:1"}


def post(sandbox: Sandbox, path: str, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    """Send a POST to WeryAI's API with the sandbox's key, or another."""
    headers = {"authorization": f"Bearer {key or sandbox.key}"}
    return httpx.post(f"{sandbox.url}/v1/generation/{path}", json=body, headers=headers)


def words_of(sandbox: Sandbox, task_id: str) -> list[str]:
    """Poll a task until a word for an end, and return all words in order."""
    headers = {"authorization": f"Bearer {sandbox.key}"}
    words: list[str] = []
    with httpx.Client(base_url=sandbox.url, headers=headers) as http:
        while not words or words[-1].lower() in {"waiting", "processing"}:
            words.append(http.get(f"/v1/generation/{task_id}/status").json()["data"]["task_status"])
    return words


@pytest.mark.parametrize("dialect", WORDS)
def test_status_words_are_those_of_the_dialect(dialect: Any) -> None:
    """Tasks begin, run, succeed and fail in the words of the dialect, in acceptances as in status checks."""
    running, done, failed = WORDS[dialect]
    with Sandbox(speed=200, status_words=dialect, picture_size=64) as sandbox:
        extended = post(sandbox, "video-extend", {"video_url": "https://e.com/a.mp4", "prompt": "on"}).json()["data"]
        assert extended["task_status"] in running
        research = post(sandbox, "deep_research", {"input": "why?"}).json()["data"]
        assert research["status"] in running
        good = post(sandbox, "text-to-image", PICTURE).json()["data"]["task_ids"][0]
        bad = post(sandbox, "text-to-image", {**PICTURE, "prompt": FAIL}).json()["data"]["task_ids"][0]
        *before, end = words_of(sandbox, good)
        assert (set(before) <= running, end) == (True, done)
        assert words_of(sandbox, bad)[-1] == failed


@pytest.mark.parametrize(("dialect", "word"), [("docs", "SUCCEED"), ("upper", "SUCCESS"), ("lower", "succeed")])
def test_status_word_of_music_is_its_own_in_its_documentation(dialect: Any, word: str) -> None:
    """Only the documentation of music has another word for success."""
    with Sandbox(speed=1000, status_words=dialect) as sandbox:
        task_id = post(sandbox, "music/generate", {"type": "ONLY_MUSIC", "styles": {"JAZZ": "jazz"}}).json()["data"]
        assert words_of(sandbox, task_id["task_id"])[-1] == word


@pytest.mark.anyio
@pytest.mark.parametrize("dialect", WORDS)
@pytest.mark.parametrize("codes", ["seed", "late"])
async def test_client_understands_each_dialect(dialect: Any, codes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client gets the results of tasks of each kind, and the errors of failed and refused ones, in every dialect."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "1000")
    async with Sandbox(speed=1000, status_words=dialect, codes=codes, picture_size=64, credits=100) as sandbox:
        async with WeryAI(sandbox.key, base_url=sandbox.url) as client:
            assert (await client.run(TextToImage(prompt="hills"))).url
            assert (await client.run(Music(styles=["JAZZ"]))).url
            assert (await client.run(DeepResearch(input="why?"))).text
            assert (await client.run(VideoExtend(video_url="https://e.com/a.mp4", prompt="on"))).url
            podcast = await client.podcast(Podcast(query="tides", speakers=["spk-en-07"]))
            await podcast.voice()
            assert (await podcast).url
            with pytest.raises(JobFailed):
                await client.run(TextToImage(prompt=FAIL))
            refusals: dict[type[APIError], TextToImage] = {
                InvalidRequest: TextToImage(prompt="hills", aspect_ratio="7:5"),
                ContentRejected: TextToImage(prompt=MODERATED),
            }
            for error, request in refusals.items():
                with pytest.raises(error):
                    await client.run(request)
            with pytest.raises(InvalidRequest, match="model is not exist"):
                await client.run(TextToImage(prompt="hills", model="NOPE"))
            with pytest.raises(NotFound):
                await client.status("task_unknown")
            with pytest.raises(InsufficientCredits):
                for _ in range(20):
                    await client.run(DeepResearch(input="why?"))


CODES = {
    "seed": {"parameter": 1001, "model": 1006, "moderated": 1005, "credits": 1004, "key": (401, 1002), "id": 1003},
    "late": {"parameter": 1002, "model": 1006, "moderated": 2003, "credits": 1011, "key": (403, 1009), "id": 1003},
}


@pytest.mark.parametrize("dialect", CODES)
def test_codes_are_those_of_the_dialect(dialect: Any) -> None:
    """Refusals have the codes of the guide, or those of the vendor's later clients, with the same messages."""
    codes = CODES[dialect]
    with Sandbox(codes=dialect, credits=0) as sandbox:
        wrong = post(sandbox, "text-to-image", {**PICTURE, "prompt": ""}).json()
        assert (wrong["status"], wrong["message"]) == (codes["parameter"], "prompt cannot be empty")
        assert post(sandbox, "text-to-image", {**PICTURE, "model": "NOPE"}).json()["status"] == codes["model"]
        assert post(sandbox, "text-to-image", {**PICTURE, "prompt": MODERATED}).json()["status"] == codes["moderated"]
        assert post(sandbox, "text-to-image", PICTURE).json()["status"] == codes["credits"]
        unknown = post(sandbox, "text-to-image", PICTURE, key="sk-other")
        assert (unknown.status_code, unknown.json()["status"]) == codes["key"]
        headers = {"authorization": f"Bearer {sandbox.key}"}
        missing = httpx.get(f"{sandbox.url}/v1/generation/task_0/status", headers=headers)
        assert missing.json()["status"] == codes["id"]


def test_codes_of_faults_stay() -> None:
    """A fault has the code that it was made with, in every dialect."""
    with Sandbox(codes="late", faults=[Fault(faults.RATE_LIMITED_1001, on="submit")]) as sandbox:
        assert post(sandbox, "text-to-image", PICTURE).json()["status"] == 1001


@pytest.mark.anyio
async def test_client_in_late_codes_reports_a_wrong_key_as_denied() -> None:
    """HTTP 403 of the later clients' list is a denied permission, whose message names the key."""
    async with Sandbox(codes="late") as sandbox, WeryAI("sk-made-up-other", base_url=sandbox.url) as client:
        with pytest.raises(PermissionDenied, match="check the key"):
            await client.run(TextToImage(prompt="hills"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"status_words": "UPPER"}, "status_words must be one of docs, upper, lower, got 'UPPER'"),
        ({"codes": "new"}, "codes must be one of seed, late, got 'new'"),
        ({"keys": ["sk-1", ""]}, "none that is empty"),
        ({"faults": ["sever-error"]}, "server-error"),
    ],
)
def test_sandbox_unknown_choice_is_refused(settings: dict[str, Any], message: str) -> None:
    """The constructor raises ValueError, with the possible values."""
    with pytest.raises(ValueError, match=message):
        Sandbox(**settings)


def test_sandbox_key_of_any_text_is_accepted() -> None:
    """A key need not begin with sk-."""
    with Sandbox(keys=["my key", "other"]) as sandbox:
        assert sandbox.key == "my key"
        for key in (sandbox.key, "other"):
            assert post(sandbox, "text-to-image", PICTURE, key=key).json()["status"] == 0
        assert post(sandbox, "text-to-image", PICTURE, key="sk-sandbox").status_code == 401
