"""Recorded-style answers, one folder per scenario, read by the pure decoders.

`answer.json` is what arrived (`status`, `headers`, and `body` as JSON or `text` as it is), `expected.json` names the
decoder and either the `value` it returns or the `error` it raises, with pieces of what the message `says`.
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
    """Read one file of a scenario."""
    return json.loads((SAMPLES / scenario / name).read_text(encoding="utf-8"))


def scenarios(decoder: str) -> list[str]:
    """List the scenarios of one decoder."""
    names = sorted(folder.name for folder in SAMPLES.iterdir())
    return [name for name in names if read(name, "expected.json")["decoder"] == decoder]


def answer_of(scenario: str) -> HttpResponse:
    """Build the answer that a scenario recorded."""
    recorded = read(scenario, "answer.json")
    text = recorded["text"] if "text" in recorded else json.dumps(recorded["body"])
    return HttpResponse(recorded["status"], recorded["headers"], text.encode())


def told(value: Any) -> Any:
    """Write one of our values as JSON would, without the raw answer and without words where there are none."""
    if not attrs.has(type(value)):
        return value
    return {
        name: member.value if isinstance(member, TaskState) else told_each(member)
        for name, member in attrs.asdict(value, recurse=False).items()
        if name not in {"raw", "snapshots"}
        and (member or name not in {"text", "script", "substatus", "queue_position"})
    }


def told_each(member: Any) -> Any:
    """Write the members of a tuple, or a single value."""
    return [told(item) for item in member] if isinstance(member, tuple) else told(member)


def check(scenario: str, decode: Callable[[HttpResponse], Any]) -> None:
    """Decode the scenario's answer and compare with what is expected of it."""
    expected = read(scenario, "expected.json")
    answer = answer_of(scenario)
    if "error" not in expected:
        value = decode(answer)
        assert (told_each(tuple(value)) if isinstance(value, list) else told(value)) == expected["value"]
        return
    with pytest.raises(errors.AioweryError) as caught:
        decode(answer)
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
def test_an_answer_to_a_submission(scenario: str) -> None:
    """Every recorded shape gives its ids, or the error that it means."""
    check(scenario, lambda answer: WeryAIProvider().decode_submission(REQUEST, answer))


@pytest.mark.parametrize("scenario", scenarios("status"))
def test_an_answer_about_one_task(scenario: str) -> None:
    """Every recorded shape gives state, outputs, reason and credits, or the error that it means."""
    task_id = read(scenario, "expected.json")["task_id"]
    check(scenario, lambda answer: WeryAIProvider().decode_status(answer, task_id))


@pytest.mark.parametrize("scenario", scenarios("batch"))
def test_an_answer_about_a_batch(scenario: str) -> None:
    """Every recorded shape gives a snapshot for each task that it names, or the error that it means."""
    check(scenario, WeryAIProvider().decode_batch)


@pytest.mark.parametrize("scenario", scenarios("balance"))
def test_an_answer_about_the_balance(scenario: str) -> None:
    """Every recorded shape gives the credits, or the error that it means."""
    check(scenario, _decode.decode_balance)


def test_every_sample_is_read_by_a_decoder() -> None:
    """No folder is left over that no test reads, and each holds exactly its two files."""
    decoders = Counter(read(folder.name, "expected.json")["decoder"] for folder in SAMPLES.iterdir())
    assert sorted(decoders) == list(DECODERS)
    for folder in SAMPLES.iterdir():
        assert sorted(file.name for file in folder.iterdir()) == ["answer.json", "expected.json"]


@pytest.mark.parametrize("scenario", ["status_capitals", "status_list_of_several", "batch_of_two"])
def test_a_snapshot_keeps_the_tasks_part_of_the_answer(scenario: str) -> None:
    """`raw` is the task's own object, so that nothing we have no field for is lost."""
    data = read(scenario, "answer.json")["body"]["data"]
    items = data if isinstance(data, list) else [data]
    mine = next(item for item in items if item["task_id"] == "task_k3m9")
    answer = answer_of(scenario)
    if scenario.startswith("batch"):
        assert _decode.decode_batch(answer)[0].raw == mine
    else:
        assert _decode.decode_status(answer, "task_k3m9").raw == mine


def test_a_refusal_keeps_the_decoded_body() -> None:
    """`raw` of a refusal is the whole envelope, and None when the body was no JSON."""
    with pytest.raises(errors.APIError) as told_by_json:
        _decode.decode_accepted(answer_of("refusal_1001_parameter"))
    with pytest.raises(errors.APIError) as told_by_edge:
        _decode.decode_status(answer_of("html_from_edge_502"), "task_k3m9")
    assert told_by_json.value.raw == read("refusal_1001_parameter", "answer.json")["body"]
    assert told_by_edge.value.raw is None
