"""The sandbox held against the contract by a plain HTTP client that knows nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import attrs
import httpx
import pytest
from weryai_facts import ENTRIES, ENTRY, Entry, Field

from aiowery.sandbox import Sandbox

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
TOO_MANY = 51
POSTS = [entry for entry in ENTRIES if entry.method == "POST" and entry.fields and entry.name != "webhook"]
JSON_POSTS = [entry for entry in POSTS if "upload" not in entry.name]
CALLS = [entry for entry in ENTRIES if entry.name != "webhook"]
TASKS = [entry for entry in JSON_POSTS if entry.shape is not None]
OTHER_TYPES: dict[type, list[Any]] = {
    str: [7],
    int: ["x", 1.5, True],
    bool: ["yes"],
    float: ["hot"],
    dict: [[1]],
    list: ["x"],
}
MAGIC = {"images": ("image/png", b"\x89PNG"), "videos": ("video/mp4", b"ftyp"), "audios": ("audio/wav", b"RIFF")}


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
    before = caller.balance()
    if entry.name == "podcast_generate_audio":
        before -= 1  # the script that the voices need
    answer = caller.call(entry, body)
    said = answer.json()
    assert said["status"] == 1001, (body, said)
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


@pytest.mark.parametrize("entry", TASKS, ids=lambda entry: entry.name)
def test_a_task_ends_with_what_it_was_made_for(caller: Caller, entry: Entry) -> None:
    """Every task brings outputs of its kind, and every address gives a real file of that kind."""
    data = caller.data(entry, dict(entry.example))
    task_id = data["task_ids"][0] if entry.shape == "batch" else data["task_id"]
    member = entry.output or ""
    done = caller.finished(task_id, member)
    assert done["task_id"] == task_id
    if member not in MAGIC:
        return
    for output in done[member]:
        url = output["url"] if isinstance(output, dict) else output
        file = caller.http.get(url)
        media_type, magic = MAGIC[member]
        assert file.headers["content-type"] == media_type
        assert magic in file.content[:12]
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
    broken += [] if field.most_items is None else [[item] * (field.most_items + 1)]
    broken += [[item] * (field.fewest - 1)] if field.fewest is not None and field.fewest > 1 else []
    for value in broken:
        yield {**entry.example, field.name: value}


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, without))
def test_a_required_field_is_required(caller: Caller, entry: Entry, field: Field, body: dict[str, Any]) -> None:
    """What is missing is named, and nothing is charged."""
    words = refused(caller, entry, body).lower()
    parts = [part for part in field.name.removesuffix("_url").split("_") if part not in {"img", "lang", "urls", "pic"}]
    assert "empty" in words
    assert not parts or any(part.rstrip("s") in words for part in parts), words


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, against_the_rules))
def test_a_rule_is_a_rule(caller: Caller, entry: Entry, field: Field, body: dict[str, Any]) -> None:
    """Each type, choice, bound, length, count and form that the pages make hard is kept, one step beyond it."""
    assert refused(caller, entry, body), field


@pytest.mark.parametrize("entry", [entry for entry in JSON_POSTS if entry.either], ids=lambda entry: entry.name)
def test_one_of_several_has_to_be_there(caller: Caller, entry: Entry) -> None:
    """Either the one or the other parameter is needed."""
    refused(caller, entry, {name: value for name, value in entry.example.items() if name not in entry.either})


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
    "no base64": ("speech_recognize", {"audio_url": None, "audio_base64": "*"}),
    "another kind of document": ("file_search_stores", {"file_url": "https://example.com/a.exe"}),
}


@pytest.mark.parametrize("case", WRONG_TOGETHER)
def test_what_does_not_go_together_is_refused(caller: Caller, case: str) -> None:
    """Rules that no single field can break."""
    name, change = WRONG_TOGETHER[case]
    refused(caller, ENTRY[name], {**ENTRY[name].example, **change})


def test_a_podcast_goes_in_two_steps() -> None:
    """Voices need a finished script, speak the edited one, and are made once."""
    first, second = ENTRY["podcast_generate_text"], ENTRY["podcast_generate_audio"]
    with Sandbox(speed=50) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        caller = Caller(sandbox, http)
        task_id = caller.data(first, {**first.example, "speakers": ["spk-en-07", "spk-en-11"]})["task_id"]
        voices = attrs.evolve(second, path=f"/v1/generation/podcast/generate/{task_id}/audio")
        assert caller.call(voices, {}).json()["status"] == 8001
        scripted = caller.finished(task_id, "scripts")
        assert scripted["content_status"] == "text-success"
        assert scripted["task_status"] == "processing"
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
        ("a.png", PNG + bytes(10 * 1024**2), "under 10MB"),
    ],
    ids=["empty", "text", "wrong ending", "too large"],
)
def test_an_upload_that_will_not_do_is_refused(caller: Caller, name: str, content: bytes, words: str) -> None:
    """Kind, ending and size are looked at."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}
    said = caller.http.post(ENTRY["upload_file"].path, headers=headers, files={"file": (name, content)}).json()
    assert said["status"] == 1001
    assert words in said["message"]


def test_research_with_a_model_answers_at_once(caller: Caller) -> None:
    """No task is begun; the outputs are in the answer."""
    data = caller.data(ENTRY["deep_research"], {"input": "Why?", "model": "GEMINI_25_PRO"})
    assert data["deep_research_outputs"]
    assert "task_id" not in data


def test_speakers_are_filtered_by_language(caller: Caller) -> None:
    """Each language has its own, and all together are all."""
    headers = {"authorization": f"Bearer {caller.sandbox.key}"}

    def ids(language: str) -> set[str]:
        answer = caller.http.get(ENTRY["podcast_speakers"].path, params={"language": language}, headers=headers)
        return {speaker["speaker_id"] for speaker in answer.json()["data"]["speakers"]}

    everybody = {speaker["speaker_id"] for speaker in caller.call(ENTRY["podcast_speakers"]).json()["data"]["speakers"]}
    assert ids("en") | ids("zh") | ids("ja") == everybody
    assert not ids("en") & ids("zh")


def test_a_choice_of_answers_and_their_length_are_kept(caller: Caller) -> None:
    """`n` answers, and none longer than `max_tokens`."""
    entry = ENTRY["chat_completions"]
    said = caller.call(entry, {**entry.example, "n": 3, "max_tokens": 1}).json()
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]
    assert {choice["finish_reason"] for choice in said["choices"]} == {"length"}


@pytest.mark.anyio
async def test_a_webhook_is_called_once_for_each_task() -> None:
    """The end of a task is delivered in the envelope of a status answer, and to this machine only."""
    delivered: list[dict[str, Any]] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        delivered.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    entry = ENTRY["text_to_image"]
    async with server, Sandbox(speed=200) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
        headers = {"authorization": f"Bearer {sandbox.key}"}
        body = {**entry.example, "image_number": 2, "webhook_url": f"http://127.0.0.1:{port}/hook?ref=1"}
        ids = (await http.post(entry.path, json=body, headers=headers)).json()["data"]["task_ids"]
        elsewhere = {**entry.example, "webhook_url": "http://192.0.2.1/hook"}
        (third,) = (await http.post(entry.path, json=elsewhere, headers=headers)).json()["data"]["task_ids"]
        async with asyncio.timeout(20):
            while len(sandbox.world.counters.deliveries) < 3:  # noqa: ASYNC110 - the sandbox tells by a count
                await asyncio.sleep(0.02)
        assert sorted(envelope["data"]["task_id"] for envelope in delivered) == sorted(ids)
        assert all(envelope["status"] == 0 and envelope["data"]["images"] for envelope in delivered)
        assert dict(sandbox.world.counters.deliveries)[third] is None
