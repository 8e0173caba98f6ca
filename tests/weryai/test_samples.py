"""Responses as they would be recorded, one folder per scenario, read by the pure decoders.

`answer.json` is the response (`status`, `headers`, and `body` as JSON or `text` unchanged). `expected.json` names the
decoder and either the `value` that it returns or the `error` that it raises, with parts of the message in `says`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from aiowery import errors
from aiowery._base.snapshot import TaskState
from aiowery._core.messages import HttpResponse
from aiowery.weryai import TextToImage, _decode
from aiowery.weryai._provider import WeryAIProvider

SAMPLES = Path(__file__).with_name("samples")
DECODERS = ("accepted", "balance", "batch", "status")
REQUEST = TextToImage(prompt="hills")


def read(scenario: str, name: str) -> Any:
    """Return the content of one file of a scenario."""
    return json.loads((SAMPLES / scenario / name).read_text(encoding="utf-8"))


def scenarios(decoder: str) -> list[str]:
    """Return the scenarios of one decoder."""
    names = sorted(folder.name for folder in SAMPLES.iterdir())
    return [name for name in names if read(name, "expected.json")["decoder"] == decoder]


def response_of(scenario: str) -> HttpResponse:
    """Return the response that a scenario recorded."""
    recorded = read(scenario, "answer.json")
    text = recorded["text"] if "text" in recorded else json.dumps(recorded["body"])
    return HttpResponse(recorded["status"], recorded["headers"], text.encode())


def as_json(value: Any) -> Any:
    """Return a value as JSON, without the raw response and without empty optional fields."""
    if not attrs.has(type(value)):
        return value
    return {
        name: member.value if isinstance(member, TaskState) else each_as_json(member)
        for name, member in attrs.asdict(value, recurse=False).items()
        if name not in {"raw", "snapshots"}
        and (member or name not in {"text", "script", "substatus", "queue_position"})
    }


def each_as_json(member: Any) -> Any:
    """Return the members of a tuple, or a single value, as JSON."""
    return [as_json(item) for item in member] if isinstance(member, tuple) else as_json(member)


def check(scenario: str, decode: Callable[[HttpResponse], Any]) -> None:
    """Decode the scenario's response and compare it with the expected value or error."""
    expected = read(scenario, "expected.json")
    response = response_of(scenario)
    if "error" not in expected:
        value = decode(response)
        assert (each_as_json(tuple(value)) if isinstance(value, list) else as_json(value)) == expected["value"]
        return
    with pytest.raises(errors.AioweryError) as caught:
        decode(response)
    error = caught.value
    found = {
        "type": type(error).__name__,
        **{name: getattr(error, name) for name in expected["error"] if name != "type"},
    }
    found |= {"faults": list(found["faults"])} if "faults" in found else {}
    assert found == expected["error"]
    for piece in expected["says"]:
        assert piece in str(error)


@pytest.mark.parametrize("scenario", scenarios("accepted"))
def test_decode_submission_recorded_response_gives_ids_or_error(scenario: str) -> None:
    """Each recorded response gives the task ids, or its error."""
    check(scenario, lambda response: WeryAIProvider().decode_submission(REQUEST, response))


@pytest.mark.parametrize("scenario", scenarios("status"))
def test_decode_status_recorded_response_gives_snapshot_or_error(scenario: str) -> None:
    """Each recorded response gives state, outputs, reason and credits, or its error."""
    task_id = read(scenario, "expected.json")["task_id"]
    check(scenario, lambda response: WeryAIProvider().decode_status(response, task_id))


@pytest.mark.parametrize("scenario", scenarios("batch"))
def test_decode_batch_recorded_response_gives_snapshots_or_error(scenario: str) -> None:
    """Each recorded response gives a snapshot for each task that it names, or its error."""
    check(scenario, WeryAIProvider().decode_batch)


@pytest.mark.parametrize("scenario", scenarios("balance"))
def test_decode_balance_recorded_response_gives_credits_or_error(scenario: str) -> None:
    """Each recorded response gives the credits, or its error."""
    check(scenario, _decode.decode_balance)


def test_samples_each_folder_is_read_by_a_decoder() -> None:
    """Each folder has exactly its two files, and a test reads it."""
    decoders = Counter(read(folder.name, "expected.json")["decoder"] for folder in SAMPLES.iterdir())
    assert sorted(decoders) == list(DECODERS)
    for folder in SAMPLES.iterdir():
        assert sorted(file.name for file in folder.iterdir()) == ["answer.json", "expected.json"]


@pytest.mark.parametrize("scenario", ["status_capitals", "status_list_of_several", "batch_of_two"])
def test_snapshot_raw_is_the_tasks_own_object(scenario: str) -> None:
    """`raw` is the task's part of the response, so values without a field are not lost."""
    data = read(scenario, "answer.json")["body"]["data"]
    items = data if isinstance(data, list) else [data]
    mine = next(item for item in items if item["task_id"] == "task_k3m9")
    response = response_of(scenario)
    if scenario.startswith("batch"):
        assert _decode.decode_batch(response)[0].raw == mine
    else:
        assert _decode.decode_status(response, "task_k3m9").raw == mine


def test_refusal_raw_is_the_decoded_body() -> None:
    """`raw` of a refusal is the whole envelope, or None if the body was no JSON."""
    with pytest.raises(errors.APIError) as refusal:
        _decode.decode_accepted(response_of("refusal_1001_parameter"))
    with pytest.raises(errors.APIError) as gateway_error:
        _decode.decode_status(response_of("html_from_edge_502"), "task_k3m9")
    assert refusal.value.raw == read("refusal_1001_parameter", "answer.json")["body"]
    assert gateway_error.value.raw is None
