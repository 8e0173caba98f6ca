"""The sandbox against WeryAI's documented contract, through a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from aiowery.sandbox import Sandbox
from tests.weryai.facts import ASPECT_RATIO, ENTRIES, ENTRY, MODEL_ROWS, OTHER_ENDPOINTS, Entry, Field, ModelRow

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MP4 = b"\0\0\0\x18ftypisom"
MIB = 1024**2
TOO_MANY = 51
POSTS = [entry for entry in ENTRIES if entry.method == "POST" and entry.fields and entry.name != "webhook"]
JSON_POSTS = [entry for entry in POSTS if "upload" not in entry.name]
CALLABLE_ENTRIES = [entry for entry in ENTRIES if entry.name != "webhook"]
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
"""Words in the error messages for abbreviations in parameter names."""
MAGIC = {
    "images": ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    "videos": ("video/mp4", re.compile(rb"....ftyp", re.DOTALL)),
    "audios": ("audio/wav", re.compile(rb"RIFF....WAVE", re.DOTALL)),
}


@attrs.frozen
class ContractClient:
    """A client for the entries of the contract: one base URL, one key."""

    sandbox: Sandbox
    http: httpx.Client

    def send(self, entry: Entry, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """Send the entry's request. A podcast's audio request gets a task with a finished script."""
        headers = {} if key == "" else {"authorization": f"Bearer {key or self.sandbox.key}"}
        path = entry.path
        if "{task_id}" in path:
            path = path.format(task_id=self.id_for(entry))
        elif "{batch_id}" in path:
            path = path.format(batch_id=self.batch())
        if "upload" in entry.name:
            return self.http.post(path, headers=headers, files={"file": ("a.png", PNG)})
        return self.http.request(entry.method, path, headers=headers, json=body if entry.method == "POST" else None)

    def accepted_data(self, entry: Entry, body: Any) -> Any:
        """Send a request that must be accepted, and return its data."""
        response = self.send(entry, body).json()
        assert response["status"] in {0, 200}, response
        return response["data"]

    def id_for(self, entry: Entry) -> str:
        """Return the id of a task in the state that the entry needs."""
        first = ENTRY["podcast_generate_text"]
        if entry.name != "podcast_generate_audio":
            return str(self.accepted_data(ENTRY["image_repair"], ENTRY["image_repair"].example)["task_id"])
        task_id = str(self.accepted_data(first, first.example)["task_id"])
        self.finished(task_id, "scripts")
        return task_id

    def batch(self) -> int:
        """Return the id of a batch."""
        entry = ENTRY["text_to_image"]
        return int(self.accepted_data(entry, entry.example)["batch_id"])

    def finished(self, task_id: str, member: str) -> dict[str, Any]:
        """Poll a task until its status has this member."""
        deadline = time.monotonic() + 20
        status = attrs.evolve(ENTRY["task_status"], path=f"/v1/generation/{task_id}/status")
        while time.monotonic() < deadline:
            data: dict[str, Any] = self.send(status).json()["data"]
            if data.get(member):
                return data
            time.sleep(0.02)
        raise AssertionError(f"{task_id} never had {member}: {data}")

    def balance(self) -> float:
        """Return the credits."""
        return float(self.send(ENTRY["balance"]).json()["data"])


@pytest.fixture(scope="module")
def contract_client() -> Iterator[ContractClient]:
    """Yield a client of a fast sandbox with many credits, for the whole module."""
    with (
        Sandbox(speed=2000, in_flight=10_000, credits=1_000_000, picture_size=64) as sandbox,
        httpx.Client(base_url=sandbox.url) as http,
    ):
        yield ContractClient(sandbox, http)


def refused(contract_client: ContractClient, entry: Entry, body: Any) -> str:
    """Check that the request is refused as a parameter error and costs nothing. Return the message."""
    if entry.name == "podcast_generate_audio":
        # The script for the audio is paid before the balance is read.
        entry = attrs.evolve(entry, path=entry.path.format(task_id=contract_client.id_for(entry)))
    before = contract_client.balance()
    response = contract_client.send(entry, body)
    envelope = response.json()
    assert envelope["status"] == 1001, (body, envelope)
    assert response.status_code < 500
    assert "choices" not in envelope
    assert contract_client.balance() == before
    return str(envelope["message"])


@pytest.mark.parametrize("entry", CALLABLE_ENTRIES, ids=lambda entry: entry.name)
def test_entry_example_has_the_documented_response(contract_client: ContractClient, entry: Entry) -> None:
    """The documented request gets a response in the documented format."""
    response = contract_client.send(entry, dict(entry.example))
    assert response.status_code == 200
    envelope = response.json()
    if entry.name.startswith("chat"):
        assert "status" not in envelope
        assert envelope["choices" if entry.name == "chat_completions" else "models"]
        return
    assert envelope["status"] == (200 if entry.shape == "podcast" else 0)
    assert envelope.get("success") == (True if entry.shape == "podcast" else None)
    data = envelope["data"]
    if entry.shape == "batch":
        assert isinstance(data["batch_id"], int)
        assert all(isinstance(task_id, str) for task_id in data["task_ids"])
    elif entry.shape is not None:
        assert isinstance(data["task_id"], str)
        status = "processing" if entry.shape == "research" or entry.name == "podcast_generate_audio" else "waiting"
        assert data["status" if entry.shape == "research" else "task_status"] == status


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
"""Documented members of the responses that are not simple submissions."""


def has_shape(value: Any, shown: Any) -> bool:
    """Return True if a value has the documented members, items and types. A list has at least one item."""
    if isinstance(shown, dict):
        return isinstance(value, dict) and all(name in value and has_shape(value[name], shown[name]) for name in shown)
    if isinstance(shown, list):
        return isinstance(value, list) and bool(value) and all(has_shape(item, shown[0]) for item in value)
    # bool is a subclass of int, but JSON booleans are not numbers.
    return isinstance(value, shown) and (shown is bool or not isinstance(value, bool))


@pytest.mark.parametrize("name", MEMBERS)
def test_direct_response_has_its_documented_members(contract_client: ContractClient, name: str) -> None:
    """Every member of a direct response exists, with its documented name and type."""
    envelope = contract_client.send(ENTRY[name], dict(ENTRY[name].example)).json()
    assert has_shape(envelope if name.startswith("chat") else envelope["data"], MEMBERS[name]), envelope


@pytest.mark.parametrize("entry", TASKS, ids=lambda entry: entry.name)
def test_task_finished_has_files_of_its_kind(contract_client: ContractClient, entry: Entry) -> None:
    """Every task has outputs of its kind, and every URL returns a real file of that kind."""
    data = contract_client.accepted_data(entry, dict(entry.example))
    task_id = data["task_ids"][0] if entry.shape == "batch" else data["task_id"]
    member = entry.output or ""
    done = contract_client.finished(task_id, member)
    assert done["task_id"] == task_id
    assert member == "scripts" or done["task_status"].lower() in {"success", "succeed"}
    if member not in MAGIC:
        return
    for output in done[member]:
        url = output["url"] if isinstance(output, dict) else output
        file = contract_client.http.get(url)
        media_type, magic = MAGIC[member]
        assert file.headers["content-type"] == media_type
        assert magic.match(file.content)
        if isinstance(output, dict):
            assert contract_client.http.get(output["cover_image_url"]).content.startswith(b"\x89PNG")


def cases(entries: list[Entry], make_bodies: Any) -> list[Any]:
    """Return a parameter set for each body that `make_bodies` makes of one field of one entry."""
    return [
        pytest.param(entry, field, body, id=f"{entry.name}-{field.name}-{number}")
        for entry in entries
        for field in entry.fields
        for number, body in enumerate(make_bodies(entry, field))
    ]


def bodies_without(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Yield bodies in which a required field is missing, empty or null; clients in use leave the ratio out."""
    if field.required and field is not ASPECT_RATIO:
        rest = {name: value for name, value in entry.example.items() if name != field.name}
        yield rest
        yield {**rest, field.name: None}
        if field.type in {str, list}:
            yield {**rest, field.name: field.type()}


def bodies_beyond_the_rules(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Yield bodies that violate each rule of a field by the smallest step."""
    values: list[Any] = list(OTHER_TYPES[field.type])
    values += ["no such choice"] if field.choices and field.type is str else []
    values += [0] if field.choices and field.type is int else []
    values += [] if field.least is None else [int(field.least) - 1]
    values += [] if field.most is None else [int(field.most) + 1]
    values += [] if field.longest is None else ["x" * (field.longest + 1)]
    values += [] if field.pattern is None else ["nothing like it"]
    example = entry.example.get(field.name) or ["https://example.com/a.png"]
    item = example[0] if isinstance(example, list) else None
    # No list has numeric items.
    values += [[7] * (field.fewest or 1)] if field.type is list else []
    values += [] if field.most_items is None else [[item] * (field.most_items + 1)]
    values += [[item] * (field.fewest - 1)] if field.fewest is not None and field.fewest > 1 else []
    for value in values:
        yield {**entry.example, field.name: value}


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, bodies_without))
def test_required_field_missing_is_refused(
    contract_client: ContractClient, entry: Entry, field: Field, body: dict[str, Any]
) -> None:
    """The message contains the name of the missing field, and nothing is charged."""
    message = refused(contract_client, entry, body).lower()
    assert "empty" in message
    for part in field.name.removesuffix("_url").split("_"):
        assert IN_FULL.get(part, part).rstrip("s") in message


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, bodies_beyond_the_rules))
def test_value_beyond_a_rule_is_refused(
    contract_client: ContractClient, entry: Entry, field: Field, body: dict[str, Any]
) -> None:
    """Each documented type, choice, bound, length, count and pattern is enforced, one step beyond it."""
    assert refused(contract_client, entry, body), field


def bodies_at_the_limits(entry: Entry, field: Field) -> Iterator[dict[str, Any]]:
    """Yield bodies with the limits of each rule of a field."""
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


@pytest.mark.parametrize(("entry", "field", "body"), cases(JSON_POSTS, bodies_at_the_limits))
def test_value_at_the_limit_is_accepted(
    contract_client: ContractClient, entry: Entry, field: Field, body: dict[str, Any]
) -> None:
    """Each listed choice is accepted, and so is each bound, length and count itself."""
    envelope = contract_client.send(entry, body).json()
    assert envelope.get("status", 0) in {0, 200}, (field, envelope)


@pytest.mark.parametrize("entry", [entry for entry in JSON_POSTS if entry.either], ids=lambda entry: entry.name)
def test_missing_alternatives_are_refused(contract_client: ContractClient, entry: Entry) -> None:
    """At least one of the alternative parameters is required."""
    refused(contract_client, entry, {name: value for name, value in entry.example.items() if name not in entry.either})


ALTERNATIVES: dict[str, dict[str, Any]] = {
    "image_background_change": {"bg_color": "#00ff7F"},
    "almighty_reference_to_video": {"videos": ["https://example.com/a.mp4"]},
    "music_generate": {"styles": {"JAZZ": "slow jazz", "FOLK": "folk", "EPIC": "epic", "MIXED_ORCHESTRATION": "all"}},
    "speech_recognize": {"audio_base64": "data:audio/wav;base64,UklGRg=="},
    "deep_research": {"input_resource": [{"type": "text", "text": "Why do boats float?"}]},
}
"""The alternative that an entry's example does not use, by entry."""


@pytest.mark.parametrize("name", [entry.name for entry in JSON_POSTS if entry.either])
def test_other_alternative_is_accepted(contract_client: ContractClient, name: str) -> None:
    """Of two alternative parameters, each is sufficient."""
    entry = ENTRY[name]
    rest = {parameter: value for parameter, value in entry.example.items() if parameter not in entry.either}
    assert contract_client.accepted_data(entry, {**rest, **ALTERNATIVES[name]})["task_id"]


@pytest.mark.parametrize("entry", JSON_POSTS, ids=lambda entry: entry.name)
def test_unknown_parameter_is_accepted(contract_client: ContractClient, entry: Entry) -> None:
    """An unknown parameter changes nothing."""
    envelope = contract_client.send(entry, {**entry.example, "next_year": {"a": [1]}}).json()
    assert envelope.get("status", 0) in {0, 200}


@pytest.mark.parametrize("entry", CALLABLE_ENTRIES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("key", ["", "sk-another"], ids=["none", "wrong"])
def test_entry_without_known_key_is_refused(contract_client: ContractClient, entry: Entry, key: str) -> None:
    """Every request needs an accepted key."""
    response = contract_client.send(entry, dict(entry.example), key=key)
    assert (response.status_code, response.json()["status"]) == (401, 1002)


INVALID_COMBINATIONS: dict[str, tuple[str, dict[str, Any]]] = {
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
    "no picture and no film": ("almighty_reference_to_video", {"images": [], "videos": None}),
    "an unknown style": ("music_generate", {"styles": {"NOISE": "noise"}}),
    "a style in lower case": ("music_generate", {"styles": {"pop": "pop"}}),
    "a category of styles": ("music_generate", {"styles": {"Genre": "POP"}}),
    "a style without words": ("music_generate", {"styles": {"POP": " "}}),
    "a style that is no text": ("music_generate", {"styles": {"POP": 1}}),
    "a sound without a name": ("music_generate", {"reference_audio": "https://example.com/a.wav"}),
    "lyrics without a song": ("music_generate", {"type": "ONLY_MUSIC", "lyrics": "la"}),
    "a singer without a song": ("music_generate", {"type": "ONLY_MUSIC", "gender": "f"}),
    "another text for sound": ("text_to_video", {"generate_audio": "True"}),
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


@pytest.mark.parametrize("case", INVALID_COMBINATIONS)
def test_invalid_combination_is_refused(contract_client: ContractClient, case: str) -> None:
    """Rules across fields and inside values are enforced."""
    name, change = INVALID_COMBINATIONS[case]
    refused(contract_client, ENTRY[name], {**ENTRY[name].example, **change})


ROW_CASES = [(row, fields) for row in MODEL_ROWS for fields in row.accepted]
EXCLUDED_CASES = [(row, fields) for row in MODEL_ROWS for fields in row.excluded]


def row_body(row: ModelRow, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the example of the row's entry with its model, a value of its lists for the rest, and these fields."""
    first = {name: value for accepted in reversed(row.accepted) for name, value in accepted.items()}
    example = {name: value for name, value in ENTRY[row.entry].example.items() if name != "aspect_ratio"}
    usual = {"aspect_ratio": "1:1"} if row.entry.endswith("image") else {}
    return {**example, **usual, **first, "model": row.model, **fields}


@pytest.mark.parametrize(("row", "fields"), ROW_CASES, ids=lambda case: str(getattr(case, "model", case)))
def test_value_of_a_model_row_is_accepted(
    contract_client: ContractClient, row: ModelRow, fields: dict[str, Any]
) -> None:
    """Each ratio, duration and number that a model's row lists is accepted, and any where it has no list."""
    assert contract_client.accepted_data(ENTRY[row.entry], row_body(row, fields))


@pytest.mark.parametrize(("row", "fields"), EXCLUDED_CASES, ids=lambda case: str(getattr(case, "model", case)))
def test_value_beside_a_model_row_is_refused(
    contract_client: ContractClient, row: ModelRow, fields: dict[str, Any]
) -> None:
    """A value that a model's row excludes is refused by its name, and nothing is charged."""
    message = refused(contract_client, ENTRY[row.entry], row_body(row, fields))
    assert message == f"{next(iter(fields)).replace('_', ' ')} is not supported"


@pytest.mark.parametrize(("name", "model"), OTHER_ENDPOINTS)
def test_model_of_other_endpoints_is_refused(contract_client: ContractClient, name: str, model: str) -> None:
    """A model that is documented for other endpoints only is refused."""
    assert refused(contract_client, ENTRY[name], {**ENTRY[name].example, "model": model}) == "model is not supported"


WITH_MODELS = (
    *("text_to_image", "image_to_image", "text_to_video", "image_to_video", "multi_image_to_video"),
    *("first_last_image_to_video", "almighty_reference_to_video", "chat_completions", "deep_research"),
)


@pytest.mark.parametrize("name", WITH_MODELS)
@pytest.mark.parametrize("model", ["NOPE", "flux", "WERYAI_IMAGE_9_9", "VEO_3_1 "])
def test_model_documented_nowhere_is_code_1006(contract_client: ContractClient, name: str, model: str) -> None:
    """A model that the documentation names nowhere is refused with code 1006, and nothing is charged."""
    before = contract_client.balance()
    envelope = contract_client.send(ENTRY[name], {**ENTRY[name].example, "model": model}).json()
    assert (envelope["status"], envelope["message"]) == (1006, "model is not exist")
    assert contract_client.balance() == before


VIDEO_ENTRIES = [name for name in WITH_MODELS if name.endswith("to_video")]


@pytest.mark.parametrize("name", ["text_to_image", "image_to_image", *VIDEO_ENTRIES])
def test_request_without_ratio_is_accepted(contract_client: ContractClient, name: str) -> None:
    """No picture and no video needs an aspect ratio, whatever its model is."""
    body = {key: value for key, value in ENTRY[name].example.items() if key != "aspect_ratio"}
    assert contract_client.accepted_data(ENTRY[name], body)


@pytest.mark.parametrize("name", VIDEO_ENTRIES)
@pytest.mark.parametrize("value", ["true", "false"])
def test_generate_audio_as_text_is_accepted(contract_client: ContractClient, name: str, value: str) -> None:
    """Production clients send the text "true" or "false" on every video endpoint."""
    assert contract_client.accepted_data(ENTRY[name], {**ENTRY[name].example, "generate_audio": value})


def test_podcast_has_two_steps() -> None:
    """Audio needs a finished script, uses the edited one, is generated once, and belongs to a podcast."""
    first, second = ENTRY["podcast_generate_text"], ENTRY["podcast_generate_audio"]
    with Sandbox(speed=50) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        contract_client = ContractClient(sandbox, http)
        task_id = contract_client.accepted_data(first, {**first.example, "speakers": ["spk-en-07", "spk-en-11"]})[
            "task_id"
        ]
        voices = attrs.evolve(second, path=f"/v1/generation/podcast/generate/{task_id}/audio")
        assert contract_client.send(voices, {}).json()["status"] == 8001
        unknown = attrs.evolve(second, path="/v1/generation/podcast/generate/task_unknown/audio")
        assert contract_client.send(unknown, {}).json()["status"] == 1003
        scripted = contract_client.finished(task_id, "scripts")
        assert scripted["content_status"] == "text-success"
        edited = [{**line, "content": "Edited."} for line in scripted["scripts"]]
        assert contract_client.accepted_data(voices, {"scripts": edited}) == {
            "task_id": task_id,
            "task_status": "processing",
        }
        assert contract_client.send(voices, {}).json()["status"] == 8002
        spoken = contract_client.finished(task_id, "audios")
        assert (spoken["content_status"], spoken["scripts"]) == ("audio-success", edited)


@pytest.mark.parametrize("name", ["upload_file", "upload_file_legacy"])
def test_upload_is_served_unchanged(contract_client: ContractClient, name: str) -> None:
    """An uploaded file is returned byte for byte, under a safe name."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}
    files = {"file": ('../a "b".png', PNG)}
    response = contract_client.http.post(
        ENTRY[name].path, headers=headers, files=files, data={"batch_no": "1", "fixed": "false"}
    )
    (url,) = response.json()["data"]["object_url_list"]
    file = contract_client.http.get(url)
    assert (file.content, file.headers["content-type"]) == (PNG, "image/png")
    assert ".." not in url
    assert '"' not in url


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "empty"),
        ("a.exe", b"MZ\x90\0", "image, video and audio"),
        ("a.txt", b"hell\0", "image, video and audio"),
        ("a.png", b"hello", "image, video and audio"),
        ("a.jpg", PNG, "does not match extension"),
        ("a.png", PNG.ljust(10 * MIB, b"\0"), "under 10MB"),
        ("a.mp4", MP4.ljust(50 * MIB, b"\0"), "under 50MB"),
    ],
    ids=["empty", "program", "binary text", "no picture", "wrong extension", "large picture", "large film"],
)
@pytest.mark.parametrize("entry", UPLOADS, ids=lambda entry: entry.name)
def test_upload_of_an_unsupported_file_is_refused(
    contract_client: ContractClient, entry: Entry, name: str, content: bytes, message: str
) -> None:
    """Kind, extension and size are checked."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}
    envelope = contract_client.http.post(entry.path, headers=headers, files={"file": (name, content)}).json()
    assert envelope["status"] == 1001
    assert message in envelope["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.png", PNG.ljust(10 * MIB - 1, b"\0")), ("a.mp4", MP4.ljust(50 * MIB - 1, b"\0"))],
    ids=["picture", "film"],
)
def test_upload_below_the_limit_is_accepted(contract_client: ContractClient, name: str, content: bytes) -> None:
    """A file one byte below the limit is accepted."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}
    response = contract_client.http.post(ENTRY["upload_file"].path, headers=headers, files={"file": (name, content)})
    assert response.json()["status"] == 0


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.gif", b"GIF89a", "image/gif"),
        ("a.bmp", b"BM\0\0", "image/bmp"),
        ("a.tiff", b"II*\0", "image/tiff"),
        ("a.txt", b"hello", "text/plain"),
        ("a.md", "# Grüße".encode(), "text/markdown"),
        ("a.json", b"{}", "application/json"),
        ("a.csv", b"a,b", "text/csv"),
        ("a.srt", b"1", "application/x-subrip"),
        ("a.vtt", b"WEBVTT", "text/vtt"),
        ("a.xml", b"<a/>", "application/xml"),
        ("a.yaml", b"a: 1", "application/yaml"),
    ],
)
def test_upload_of_each_listed_type_is_served(
    contract_client: ContractClient, name: str, content: bytes, media_type: str
) -> None:
    """The further types on the vendor's list are accepted, without `batch_no` and `fixed`, and served as they are."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}
    response = contract_client.http.post(ENTRY["upload_file"].path, headers=headers, files={"file": (name, content)})
    (url,) = response.json()["data"]["object_url_list"]
    file = contract_client.http.get(url)
    assert (file.content, file.headers["content-type"]) == (content, media_type)


@pytest.mark.parametrize("entry", UPLOADS, ids=lambda entry: entry.name)
@pytest.mark.parametrize(
    "sent",
    [{}, {"json": {}}, {"data": {"file": "a.png"}}, {"files": {"other": ("a.png", PNG)}}],
    ids=["nothing", "json", "form", "another part"],
)
def test_upload_without_file_part_is_refused(
    contract_client: ContractClient, entry: Entry, sent: dict[str, Any]
) -> None:
    """A body without the multipart part `file` is a parameter error that contains its name."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}
    envelope = contract_client.http.post(entry.path, headers=headers, **sent).json()
    assert envelope["status"] == 1001
    assert "file" in envelope["message"]


def test_research_with_model_is_a_direct_result(contract_client: ContractClient) -> None:
    """No task is started, and the outputs are in the response."""
    data = contract_client.accepted_data(ENTRY["deep_research"], {"input": "Why?", "model": "GEMINI_25_PRO"})
    assert data["deep_research_outputs"]
    assert "task_id" not in data


def test_speakers_with_language_are_filtered(contract_client: ContractClient) -> None:
    """Each language has its own speakers, together they are all, and an unknown language is refused."""
    headers = {"authorization": f"Bearer {contract_client.sandbox.key}"}

    def listing(language: str) -> Any:
        return contract_client.http.get(
            ENTRY["podcast_speakers"].path, params={"language": language}, headers=headers
        ).json()

    def ids(language: str) -> set[str]:
        return {speaker["speaker_id"] for speaker in listing(language)["data"]["speakers"]}

    all_ids = {
        speaker["speaker_id"] for speaker in contract_client.send(ENTRY["podcast_speakers"]).json()["data"]["speakers"]
    }
    assert ids("en") | ids("zh") | ids("ja") == all_ids
    assert not ids("en") & ids("zh")
    assert listing("tlh")["status"] == 1001


def test_chat_n_and_max_tokens_are_kept(contract_client: ContractClient) -> None:
    """The response has `n` choices, none longer than `max_tokens`."""
    entry = ENTRY["chat_completions"]
    envelope = contract_client.send(entry, {**entry.example, "n": 3, "max_tokens": 1}).json()
    assert [choice["index"] for choice in envelope["choices"]] == [0, 1, 2]
    assert {choice["finish_reason"] for choice in envelope["choices"]} == {"length"}


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Listen on this machine. Yield the URL for deliveries, and the list of received deliveries."""
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


async def wait_deliveries(sandbox: Sandbox, number: int) -> None:
    """Wait until the sandbox has recorded this number of deliveries, whether they arrived or not."""
    async with asyncio.timeout(20):
        while len(sandbox.weryai.counters.deliveries) < number:  # noqa: ASYNC110 - the sandbox has counters, no events
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_webhook_is_delivered_once_per_task() -> None:
    """The end of a task is delivered in the envelope of a status response, and to this machine only."""
    entry = ENTRY["text_to_image"]
    async with receiver() as (hook, delivered):
        async with Sandbox(speed=200) as sandbox, httpx.AsyncClient(base_url=sandbox.url) as http:
            headers = {"authorization": f"Bearer {sandbox.key}"}
            body = {**entry.example, "image_number": 2, "webhook_url": hook}
            ids = (await http.post(entry.path, json=body, headers=headers)).json()["data"]["task_ids"]
            elsewhere = {**entry.example, "webhook_url": "http://192.0.2.1/hook"}
            (third,) = (await http.post(entry.path, json=elsewhere, headers=headers)).json()["data"]["task_ids"]
            await wait_deliveries(sandbox, 3)
        assert sorted(envelope["data"]["task_id"] for envelope in delivered) == sorted(ids)
        assert all(envelope["status"] == 0 and envelope["data"]["images"] for envelope in delivered)
        assert dict(sandbox.weryai.counters.deliveries)[third] is None


@pytest.mark.anyio
async def test_webhook_of_every_kind_is_delivered() -> None:
    """Each kind of task is delivered once, with the data of its last status."""
    entries = [entry for entry in TASKS if "{" not in entry.path and "webhook_url" in {f.name for f in entry.fields}]
    members: dict[str, str | None] = {}
    async with receiver() as (hook, delivered):
        async with (
            Sandbox(speed=2000, in_flight=1000, picture_size=64) as sandbox,
            httpx.AsyncClient(base_url=sandbox.url, headers={"authorization": f"Bearer {sandbox.key}"}) as http,
        ):
            for entry in entries:
                response = await http.post(entry.path, json={**entry.example, "webhook_url": hook})
                data = response.json()["data"]
                members[data["task_ids"][0] if entry.shape == "batch" else data["task_id"]] = entry.output
            await wait_deliveries(sandbox, len(entries))
        assert sorted(envelope["data"]["task_id"] for envelope in delivered) == sorted(members)
        assert all(envelope["data"][members[envelope["data"]["task_id"]]] for envelope in delivered)


@pytest.mark.anyio
async def test_podcast_steps_have_separate_webhooks() -> None:
    """Script and audio are two deliveries for one task id, each to the URL of its step."""
    first, second = ENTRY["podcast_generate_text"], ENTRY["podcast_generate_audio"]
    async with receiver() as (hook, delivered):
        async with (
            Sandbox(speed=2000) as sandbox,
            httpx.AsyncClient(base_url=sandbox.url, headers={"authorization": f"Bearer {sandbox.key}"}) as http,
        ):
            response = await http.post(first.path, json={**first.example, "webhook_url": hook})
            task_id = response.json()["data"]["task_id"]
            await wait_deliveries(sandbox, 1)
            await http.post(second.path.format(task_id=task_id), json={"webhook_url": hook})
            await wait_deliveries(sandbox, 2)
        assert [envelope["data"]["task_id"] for envelope in delivered] == [task_id, task_id]
        message = [envelope["data"]["content_status"] for envelope in delivered]
        assert message == ["text-success", "audio-success"]
        assert delivered[1]["data"]["audios"]
