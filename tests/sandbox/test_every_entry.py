"""The sandbox held against the contract by a plain HTTP client that knows nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from aiowery.sandbox import Sandbox
from tests.weryai.facts import ENTRIES, ENTRY, Entry, Field

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MP4 = b"\0\0\0\x18ftypisom"
MIB = 1024**2
TOO_MANY = 51
POSTS = [entry for entry in ENTRIES if entry.method == "POST" and entry.fields and entry.name != "webhook"]
JSON_POSTS = [entry for entry in POSTS if "upload" not in entry.name]
CALLS = [entry for entry in ENTRIES if entry.name != "webhook"]
TASKS = [entry for entry in JSON_POSTS if entry.shape is not None]
UPLOADS = [entry for entry in POSTS if "upload" in entry.name]
OTHER_TYPES: dict[type, list[Any]] = {
    str: [7],
    int: ["x", 1.5, True],
    bool: ["yes"],
    float: ["hot"],
    dict: [[1]],
    list: ["x"],
}
IN_FULL = {"img": "image", "lang": "language"}
"""The words of the texts for what the parameters' names cut short."""
MAGIC = {
    "images": ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    "videos": ("video/mp4", re.compile(rb"....ftyp", re.DOTALL)),
    "audios": ("audio/wav", re.compile(rb"RIFF....WAVE", re.DOTALL)),
}


@attrs.frozen
class Caller:
    """The contract's reader: one base url, one key."""

    sandbox: Sandbox
    http: httpx.Client

    def call(self, entry: Entry, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """Make the entry's call; a podcast's voices get a script that is ready."""
        headers = {} if key == "" else {"authorization": f"Bearer {key or self.sandbox.key}"}
        path = entry.path
        if "{task_id}" in path:
            path = path.format(task_id=self.id_for(entry))
        elif "{batch_id}" in path:
            path = path.format(batch_id=self.batch())
        if "upload" in entry.name:
            return self.http.post(path, headers=headers, files={"file": ("a.png", PNG)})
        return self.http.request(entry.method, path, headers=headers, json=body if entry.method == "POST" else None)

    def data(self, entry: Entry, body: Any) -> Any:
        """Make a call that has to be accepted and return its data."""
        answer = self.call(entry, body).json()
        assert answer["status"] in {0, 200}, answer
        return answer["data"]

    def id_for(self, entry: Entry) -> str:
        """Return the id of a task in the state that the entry wants."""
        first = ENTRY["podcast_generate_text"]
        if entry.name != "podcast_generate_audio":
            return str(self.data(ENTRY["image_repair"], ENTRY["image_repair"].example)["task_id"])
        task_id = str(self.data(first, first.example)["task_id"])
        self.finished(task_id, "scripts")
        return task_id

    def batch(self) -> int:
        """Return the id of a batch."""
        entry = ENTRY["text_to_image"]
        return int(self.data(entry, entry.example)["batch_id"])

    def finished(self, task_id: str, member: str) -> dict[str, Any]:
        """Poll a task until its answer holds what it was made for."""
        give_up = time.monotonic() + 20
        status = attrs.evolve(ENTRY["task_status"], path=f"/v1/generation/{task_id}/status")
        while time.monotonic() < give_up:
            data: dict[str, Any] = self.call(status).json()["data"]
            if data.get(member):
                return data
            time.sleep(0.02)
        raise AssertionError(f"{task_id} never held {member}: {data}")

    def balance(self) -> float:
        """Ask for the credits."""
        return float(self.call(ENTRY["balance"]).json()["data"])


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    """One sandbox for the whole module, fast and roomy."""
    with (
        Sandbox(speed=2000, in_flight=10_000, credits=1_000_000, picture_size=64) as sandbox,
        httpx.Client(base_url=sandbox.url) as http,
    ):
        yield Caller(sandbox, http)


def refused(caller: Caller, entry: Entry, body: Any) -> str:
    """Check that the call is refused as a parameter error and costs nothing; return the words."""
    if entry.name == "podcast_generate_audio":
        # The script that the voices need is paid for before we look.
        entry = attrs.evolve(entry, path=entry.path.format(task_id=caller.id_for(entry)))
    before = caller.balance()
    answer = caller.call(entry, body)
    said = answer.json()
    assert said["status"] == 1001, (body, said)
    assert answer.status_code < 500
    assert "choices" not in said
    assert caller.balance() == before
    return str(said["message"])


@pytest.mark.parametrize("entry", CALLS, ids=lambda entry: entry.name)
def test_the_example_is_accepted_in_its_documented_shape(caller: Caller, entry: Entry) -> None:
    """Who sends what the page shows gets what the page shows."""
    answer = caller.call(entry, dict(entry.example))
    assert answer.status_code == 200
    said = answer.json()
    if entry.name.startswith("chat"):
        assert "status" not in said
        assert said["choices" if entry.name == "chat_completions" else "models"]
        return
    assert said["status"] == (200 if entry.shape == "podcast" else 0)
    assert said.get("success") == (True if entry.shape == "podcast" else None)
    data = said["data"]
    if entry.shape == "batch":
        assert isinstance(data["batch_id"], int)
        assert all(isinstance(task_id, str) for task_id in data["task_ids"])
    elif entry.shape is not None:
        assert isinstance(data["task_id"], str)
        word = "processing" if entry.shape == "research" or entry.name == "podcast_generate_audio" else "waiting"
        assert data["status" if entry.shape == "research" else "task_status"] == word


NUMBER = (int, float)
SPEAKER = {"name": str, "speaker_id": str, "demo_audio_url": str, "gender": str, "language": str}
IMAGE_MODEL = {
    "model_key": str,
    "title": str,
    "image_sizes": [str],
    "num_images": [int],
    "resolutions": list,
    "prompt_length_limit": int,
}
VIDEO_MODEL = {
    "model_key": str,
    "title": str,
    "durations": [int],
    "aspect_ratios": list,
    "resolutions": list,
    "has_generate_audio": bool,
    "has_negative_prompt": bool,
    "prompt_length_limit": int,
    "support_multiple_images": bool,
    "support_first_last_frame": bool,
    "upload_image_limit": int,
}
CHOICE = {"index": int, "message": {"role": str, "content": str}, "finish_reason": str}
MEMBERS: dict[str, Any] = {
    "image_to_prompt": {"prompt": str, "cost_mill": int},
    "upload_file": {"object_url_list": [str]},
    "upload_file_legacy": {"object_url_list": [str]},
    "task_status": {"task_id": str, "task_status": str},
    "batch_status": [{"task_id": str, "task_status": str}],
    "balance": NUMBER,
    "deep_research": {"interaction_id": str, "task_id": str, "status": str},
    "file_search_stores": {"name": str, "uploaded_count": int},
    "podcast_speakers": {"speakers": [SPEAKER]},
    "image_models": {
        "text_to_image": [IMAGE_MODEL],
        "image_to_image": [{**IMAGE_MODEL, "upload_image_limit": int}],
    },
    "video_models": {"text_to_video": [VIDEO_MODEL], "image_to_video": [VIDEO_MODEL], "multi_image_to_video": list},
    "chat_models": {
        "models": [{"model": str, "desc": str, "max_tokens": int, "input_price": NUMBER, "output_price": NUMBER}]
    },
    "chat_completions": {
        "id": str,
        "object": str,
        "created": int,
        "model": str,
        "choices": [CHOICE],
        "usage": {"prompt_tokens": int, "completion_tokens": int, "total_tokens": int},
    },
}
"""What the pages show of the answers that are no plain submission."""


def fits(said: Any, shown: Any) -> bool:
    """Tell whether a value has the members, items and types that a page shows; a list has at least one item."""
    if isinstance(shown, dict):
        return isinstance(said, dict) and all(name in said and fits(said[name], shown[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(said, list) and bool(said) and all(fits(item, shown[0]) for item in said)
    # A flag is no number, whatever Python thinks.
    return isinstance(said, shown) and (shown is bool or not isinstance(said, bool))


@pytest.mark.parametrize("name", MEMBERS)
def test_an_answer_has_its_documented_members(caller: Caller, name: str) -> None:
    """What is read from an answer at once is there, under its name and in its type."""
    said = caller.call(ENTRY[name], dict(ENTRY[name].example)).json()
    assert fits(said if name.startswith("chat") else said["data"], MEMBERS[name]), said


@pytest.mark.parametrize("entry", TASKS, ids=lambda entry: entry.name)
def test_a_task_ends_with_what_it_was_made_for(caller: Caller, entry: Entry) -> None:
    """Every task brings outputs of its kind, and every address gives a real file of that kind."""
    data = caller.data(entry, dict(entry.example))
    task_id = data["task_ids"][0] if entry.shape == "batch" else data["task_id"]
    member = entry.output or ""
    done = caller.finished(task_id, member)
    assert done["task_id"] == task_id
    assert member == "scripts" or done["task_status"].lower() in {"success", "succeed"}
    if member not in MAGIC:
        return
    for output in done[member]:
        url = output["url"] if isinstance(output, dict) else output
        file = caller.http.get(url)
        media_type, magic = MAGIC[member]
        assert file.headers["content-type"] == media_type
        assert magic.match(file.content)
        if isinstance(output, dict):
            assert caller.http.get(output["cover_image_url"]).content.startswith(b"\x89PNG")


def cases(entries: list[Entry], breaks: Any) -> list[Any]:
    """Make a case of everything that breaks one field of one entry."""
    return [
        pytest.param(entry, field, body, id=f"{entry.name}-{field.name}-{number}")
        for entry in entries
        for field in entry.fields
        for number, body in enumerate(breaks(entry, field))
    ]


def without(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Leave a required field out, or empty, or null."""
    if field.required:
        rest = {name: value for name, value in entry.example.items() if name != field.name}
        yield rest
        yield {**rest, field.name: None}
        if field.type in {str, list}:
            yield {**rest, field.name: field.type()}


def against_the_rules(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Violate each rule of a field by the least that violates it."""
    broken: list[Any] = list(OTHER_TYPES[field.type])
    broken += ["no such choice"] if field.choices and field.type is str else []
    broken += [0] if field.choices and field.type is int else []
    broken += [] if field.least is None else [int(field.least) - 1]
    broken += [] if field.most is None else [int(field.most) + 1]
    broken += [] if field.longest is None else ["x" * (field.longest + 1)]
    broken += [] if field.pattern is None else ["nothing like it"]
    example = entry.example.get(field.name) or ["https://example.com/a.png"]
    item = example[0] if isinstance(example, list) else None
    # The items of all lists are texts or objects.
    broken += [[7] * (field.fewest or 1)] if field.type is list else []
    broken += [] if field.most_items is None else [[item] * (field.most_items + 1)]
    broken += [[item] * (field.fewest - 1)] if field.fewest is not None and field.fewest > 1 else []
    for value in broken:
        yield {**entry.example, field.name: value}


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, without))
def test_a_required_field_is_required(caller: Caller, entry: Entry, field: Field, body: dict[str, Any]) -> None:
    """What is missing is named, and nothing is charged."""
    words = refused(caller, entry, body).lower()
    assert "empty" in words
    for part in field.name.removesuffix("_url").split("_"):
        assert IN_FULL.get(part, part).rstrip("s") in words


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, against_the_rules))
def test_a_rule_is_a_rule(caller: Caller, entry: Entry, field: Field, body: dict[str, Any]) -> None:
    """Each type, choice, bound, length, count and form that the pages make hard is kept, one step beyond it."""
    assert refused(caller, entry, body), field


def within_the_rules(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Go with each rule of a field as far as it allows."""
    allowed: list[Any] = list(field.choices)
    allowed += [bound for bound in (field.least, field.most) if bound is not None]
    allowed += [] if field.longest is None else ["x", "x" * field.longest]
    allowed += [""] if field.longest is not None and not field.required else []
    example = entry.example.get(field.name) or ["https://example.com/a.png"]
    counts = (field.fewest, field.most_items) if isinstance(example, list) else ()
    allowed += [[example[0]] * count for count in counts if count is not None]
    for value in allowed:
        more = {"speakers": ["spk-en-07", "spk-en-11"]} if value == "debate" else {}
        yield {**entry.example, **more, field.name: value}


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, within_the_rules))
def test_what_a_rule_allows_is_accepted(caller: Caller, entry: Entry, field: Field, body: dict[str, Any]) -> None:
    """Each listed choice passes, and so does each bound, length and count itself."""
    said = caller.call(entry, body).json()
    assert said.get("status", 0) in {0, 200}, (field, said)


@pytest.mark.parametrize("entry", [entry for entry in JSON_POSTS if entry.either], ids=lambda entry: entry.name)
def test_one_of_several_has_to_be_there(caller: Caller, entry: Entry) -> None:
    """Either the one or the other parameter is needed."""
    refused(caller, entry, {name: value for name, value in entry.example.items() if name not in entry.either})


OTHERS: dict[str, dict[str, Any]] = {
    "image_background_change": {"bg_color": "#00ff7F"},
    "music_generate": {"styles": {"Genre": "JAZZ", "Emotion": "EPIC", "Instrument": "MIXED_ORCHESTRATION"}},
    "speech_recognize": {"audio_base64": "data:audio/wav;base64,UklGRg=="},
    "deep_research": {"input_resource": [{"type": "text", "text": "Why do boats float?"}]},
}
"""By entry, the alternative that its example does not use."""


@pytest.mark.parametrize("name", [entry.name for entry in JSON_POSTS if entry.either])
def test_the_other_of_several_will_do(caller: Caller, name: str) -> None:
    """Of two parameters of which one is needed, each is enough by itself."""
    entry = ENTRY[name]
    rest = {parameter: value for parameter, value in entry.example.items() if parameter not in entry.either}
    assert caller.data(entry, {**rest, **OTHERS[name]})["task_id"]


@pytest.mark.parametrize("entry", JSON_POSTS, ids=lambda entry: entry.name)
def test_unknown_parameters_are_accepted(caller: Caller, entry: Entry) -> None:
    """A parameter of next year does no harm today."""
    said = caller.call(entry, {**entry.example, "next_year": {"a": [1]}}).json()
    assert said.get("status", 0) in {0, 200}


@pytest.mark.parametrize("entry", CALLS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("key", ["", "sk-another"], ids=["none", "wrong"])
def test_every_call_wants_a_known_key(caller: Caller, entry: Entry, key: str) -> None:
    """Nothing is served to strangers."""
    answer = caller.call(entry, dict(entry.example), key=key)
    assert (answer.status_code, answer.json()["status"]) == (401, 1002)


WRONG_TOGETHER: dict[str, tuple[str, dict[str, Any]]] = {
    "sounds alone": ("almighty_reference_to_video", {"images": [], "audios": ["https://example.com/a.wav"]}),
    "too many references": (
        "almighty_reference_to_video",
        {
            "images": ["https://example.com/a.png"] * 9,
            "videos": ["https://example.com/a.mp4"] * 3,
            "audios": ["https://example.com/a.wav"],
        },
    ),
    "one in a debate": ("podcast_generate_text", {"mode": "debate"}),
    "mode and model": ("deep_research", {"mode": "DEEP_RESEARCH", "model": "GEMINI_25_PRO"}),
    "streamed": ("chat_completions", {"stream": True}),
    "no message": ("chat_completions", {"messages": []}),
    "too many messages": ("chat_completions", {"messages": [{"role": "user", "content": "hi"}] * TOO_MANY}),
    "an unknown style": ("music_generate", {"styles": {"Genre": "NOISE"}}),
    "a rectangle inside out": (
        "video_subtitle_erase",
        {"rect_vo_list": [{"lt_x": 0.5, "lt_y": 0, "rb_x": 0.5, "rb_y": 1}]},
    ),
    "a rectangle outside": (
        "video_watermark_remove",
        {"rect_vo_list": [{"lt_x": 0, "lt_y": 0, "rb_x": 1.5, "rb_y": 1}]},
    ),
    "no address": ("image_repair", {"img_url": "a.png"}),
    "another kind of picture": ("image_repair", {"img_url": "https://example.com/a.gif"}),
    "a picture of no size": ("image_to_prompt", {"image_size": 0}),
    "no base64": ("speech_recognize", {"audio_url": None, "audio_base64": "*"}),
    "another kind of document": ("file_search_stores", {"file_url": "https://example.com/a.exe"}),
}


@pytest.mark.parametrize("case", WRONG_TOGETHER)
def test_what_does_not_go_together_is_refused(caller: Caller, case: str) -> None:
    """Rules that no single field can break."""
    name, change = WRONG_TOGETHER[case]
    refused(caller, ENTRY[name], {**ENTRY[name].example, **change})


def test_a_podcast_goes_in_two_steps() -> None:
    """Voices need a finished script, speak the edited one, are made once, and belong to a podcast."""
    first, second = ENTRY["podcast_generate_text"], ENTRY["podcast_generate_audio"]
    with Sandbox(speed=50) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        caller = Caller(sandbox, http)
        task_id = caller.data(first, {**first.example, "speakers": ["spk-en-07", "spk-en-11"]})["task_id"]
        voices = attrs.evolve(second, path=f"/v1/generation/podcast/generate/{task_id}/audio")
        assert caller.call(voices, {}).json()["status"] == 8001
        nobody = attrs.evolve(second, path="/v1/generation/podcast/generate/task_nobody/audio")
        assert caller.call(nobody, {}).json()["status"] == 1003
        scripted = caller.finished(task_id, "scripts")
        assert scripted["content_status"] == "text-success"
        edited = [{**turn, "content": "Edited."} for turn in scripted["scripts"]]
        assert caller.data(voices, {"scripts": edited}) == {"task_id": task_id, "task_status": "processing"}
        assert caller.call(voices, {}).json()["status"] == 8002
        spoken = caller.finished(task_id, "audios")
        assert (spoken["content_status"], spoken["scripts"]) == ("audio-success", edited)


@pytest.mark.parametrize("name", ["upload_file", "upload_file_legacy"])
def test_an_upload_is_served_again(caller: Caller, name: str) -> None:
    """What was uploaded comes back byte for byte, under a name without surprises."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}
    files = {"file": ('../a "b".png', PNG)}
    answer = caller.http.post(ENTRY[name].path, headers=headers, files=files, data={"batch_no": "1", "fixed": "false"})
    (url,) = answer.json()["data"]["object_url_list"]
    file = caller.http.get(url)
    assert (file.content, file.headers["content-type"]) == (PNG, "image/png")
    assert ".." not in url
    assert '"' not in url


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.png", b"", "empty"),
        ("a.txt", b"hello", "image, video and audio"),
        ("a.jpg", PNG, "does not match extension"),
        ("a.png", PNG.ljust(10 * MIB, b"\0"), "under 10MB"),
        ("a.mp4", MP4.ljust(50 * MIB, b"\0"), "under 50MB"),
    ],
    ids=["empty", "text", "wrong ending", "large picture", "large film"],
)
@pytest.mark.parametrize("entry", UPLOADS, ids=lambda entry: entry.name)
def test_an_upload_that_will_not_do_is_refused(
    caller: Caller, entry: Entry, name: str, content: bytes, words: str
) -> None:
    """Kind, ending and size are looked at."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}
    said = caller.http.post(entry.path, headers=headers, files={"file": (name, content)}).json()
    assert said["status"] == 1001
    assert words in said["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", PNG.ljust(10 * MIB - 1, b"\0")), ("a.mp4", MP4.ljust(50 * MIB - 1, b"\0"))],
    ids=["picture", "film"],
)
def test_an_upload_may_be_as_large_as_the_limit_says(caller: Caller, name: str, content: bytes) -> None:
    """One byte under the limit is under the limit."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}
    answer = caller.http.post(ENTRY["upload_file"].path, headers=headers, files={"file": (name, content)})
    assert answer.json()["status"] == 0


@pytest.mark.parametrize("entry", UPLOADS, ids=lambda entry: entry.name)
@pytest.mark.parametrize(
    "sent",
    [{}, {"json": {}}, {"data": {"file": "a.png"}}, {"files": {"other": ("a.png", PNG)}}],
    ids=["nothing", "json", "form", "another part"],
)
def test_an_upload_wants_a_file(caller: Caller, entry: Entry, sent: dict[str, Any]) -> None:
    """Whatever comes instead of the multipart part `file` is a parameter error that names it."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}
    said = caller.http.post(entry.path, headers=headers, **sent).json()
    assert said["status"] == 1001
    assert "file" in said["message"]


def test_research_with_a_model_answers_at_once(caller: Caller) -> None:
    """No task is begun; the outputs are in the answer."""
    data = caller.data(ENTRY["deep_research"], {"input": "Why?", "model": "GEMINI_25_PRO"})
    assert data["deep_research_outputs"]
    assert "task_id" not in data


def test_speakers_are_filtered_by_language(caller: Caller) -> None:
    """Each language has its own, all together are all, and an unknown one is refused."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}

    def said(language: str) -> Any:
        return caller.http.get(ENTRY["podcast_speakers"].path, params={"language": language}, headers=headers).json()

    def ids(language: str) -> set[str]:
        return {speaker["speaker_id"] for speaker in said(language)["data"]["speakers"]}

    everybody = {speaker["speaker_id"] for speaker in caller.call(ENTRY["podcast_speakers"]).json()["data"]["speakers"]}
    assert ids("en") | ids("zh") | ids("ja") == everybody
    assert not ids("en") & ids("zh")
    assert said("tlh")["status"] == 1001


def test_a_choice_of_answers_and_their_length_are_kept(caller: Caller) -> None:
    """`n` answers, and none longer than `max_tokens`."""
    entry = ENTRY["chat_completions"]
    said = caller.call(entry, {**entry.example, "n": 3, "max_tokens": 1}).json()
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]
    assert {choice["finish_reason"] for choice in said["choices"]} == {"length"}


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Listen on this machine: give the address for deliveries, and the list of what has been delivered there."""
    delivered: list[dict[str, Any]] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        delivered.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?ref=1", delivered


async def until_delivered(sandbox: Sandbox, number: int) -> None:
    """Wait until the sandbox has got rid of so many deliveries, whether they arrived or not."""
    async with asyncio.timeout(20):
        while len(sandbox.weryai.counters.deliveries) < number:  # noqa: ASYNC110 - the sandbox tells by a count
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_a_webhook_is_called_once_for_each_task() -> None:
    """The end of a task is delivered in the envelope of a status answer, and to this machine only."""
    entry = ENTRY["text_to_image"]
    async with receiver() as (hook, delivered):
        async with Sandbox(speed=200) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
            headers = {"authorization": f"Bearer {sandbox.key}"}
            body = {**entry.example, "image_number": 2, "webhook_url": hook}
            ids = (await http.post(entry.path, json=body, headers=headers)).json()["data"]["task_ids"]
            elsewhere = {**entry.example, "webhook_url": "http://192.0.2.1/hook"}
            (third,) = (await http.post(entry.path, json=elsewhere, headers=headers)).json()["data"]["task_ids"]
            await until_delivered(sandbox, 3)
        assert sorted(envelope["data"]["task_id"] for envelope in delivered) == sorted(ids)
        assert all(envelope["status"] == 0 and envelope["data"]["images"] for envelope in delivered)
        assert dict(sandbox.weryai.counters.deliveries)[third] is None


@pytest.mark.anyio
async def test_every_call_that_takes_a_webhook_calls_it() -> None:
    """Each kind of task is delivered once, with what a status answer of its end holds."""
    entries = [entry for entry in TASKS if "{" not in entry.path and "webhook_url" in {f.name for f in entry.fields}]
    members: dict[str, str | None] = {}
    async with receiver() as (hook, delivered):
        async with (
            Sandbox(speed=2000, in_flight=1000, picture_size=64) as sandbox,
            httpx.AsyncClient(base_url=sandbox.url, headers={"authorization": f"Bearer {sandbox.key}"}) as http,
        ):
            for entry in entries:
                answer = await http.post(entry.path, json={**entry.example, "webhook_url": hook})
                data = answer.json()["data"]
                members[data["task_ids"][0] if entry.shape == "batch" else data["task_id"]] = entry.output
            await until_delivered(sandbox, len(entries))
        assert sorted(envelope["data"]["task_id"] for envelope in delivered) == sorted(members)
        assert all(envelope["data"][members[envelope["data"]["task_id"]]] for envelope in delivered)


@pytest.mark.anyio
async def test_the_voices_of_a_podcast_have_a_webhook_of_their_own() -> None:
    """Script and voices are two deliveries on one task id, each to the address that was given with its step."""
    first, second = ENTRY["podcast_generate_text"], ENTRY["podcast_generate_audio"]
    async with receiver() as (hook, delivered):
        async with (
            Sandbox(speed=2000) as sandbox,
            httpx.AsyncClient(base_url=sandbox.url, headers={"authorization": f"Bearer {sandbox.key}"}) as http,
        ):
            answer = await http.post(first.path, json={**first.example, "webhook_url": hook})
            task_id = answer.json()["data"]["task_id"]
            await until_delivered(sandbox, 1)
            await http.post(second.path.format(task_id=task_id), json={"webhook_url": hook})
            await until_delivered(sandbox, 2)
        assert [envelope["data"]["task_id"] for envelope in delivered] == [task_id, task_id]
        words = [envelope["data"]["content_status"] for envelope in delivered]
        assert words == ["text-success", "audio-success"]
        assert delivered[1]["data"]["audios"]
