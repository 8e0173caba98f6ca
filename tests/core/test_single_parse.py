"""Each response body is parsed once, in both providers, whether it is accepted, refused or malformed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from aiowery import betterwaifu, weryai
from aiowery._core.messages import HttpResponse
from aiowery.betterwaifu import _decode as betterwaifu_decode
from aiowery.betterwaifu import _model_listing as betterwaifu_listing
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.errors import AioweryError
from aiowery.weryai import _decode as weryai_decode
from aiowery.weryai import _model_listing as weryai_listing
from aiowery.weryai._provider import WeryAIProvider
from tests.weryai.request_samples import smallest

Decode = Callable[[HttpResponse], Any]
_WERYAI = WeryAIProvider()
_IMAGE = betterwaifu.GenerateImage(prompt="hills")


def _weryai_submission(type_name: str) -> Decode:
    return lambda response: _WERYAI.decode_submission(smallest(type_name), response)


def _betterwaifu_submission(edition: betterwaifu.Edition) -> Decode:
    return lambda response: BetterWaifuProvider(edition).decode_submission(_IMAGE, response)


DECODERS: dict[str, Decode] = {
    **{f"weryai submission of {type_name}": _weryai_submission(type_name) for type_name in weryai.REQUESTS},
    "weryai status": lambda response: _WERYAI.decode_status(response, "t1"),
    "weryai batch": _WERYAI.decode_batch,
    "weryai balance": weryai_decode.decode_balance,
    "weryai upload": _WERYAI.decode_upload,
    "weryai delivery": lambda response: weryai_decode.decode_delivery(response.body),
    "weryai models": weryai_listing.decode_models,
    "weryai chat models": weryai_listing.decode_chat_models,
    "weryai speakers": weryai_listing.decode_speakers,
    **{f"betterwaifu submission ({edition})": _betterwaifu_submission(edition) for edition in betterwaifu.LIMITS},
    "betterwaifu status": lambda response: betterwaifu_decode.decode_status(response, "t1"),
    "betterwaifu account": betterwaifu_listing.decode_account,
    "betterwaifu models": betterwaifu_listing.decode_models,
}
BODIES: dict[str, bytes] = {
    "a task": b'{"status": 0, "data": {"task_id": "t1", "task_status": "processing"}}',
    "a finished task": b'{"status": 0, "data": {"task_id": "t1", "task_status": "succeed", "images": ["https://a.b/c"]}}',
    "a batch": b'{"status": 0, "data": {"batch_id": 7, "task_ids": ["t1", "t2"]}}',
    "a number": b'{"status": 0, "data": 37.5}',
    "a report": b'{"status": 0, "data": {"deep_research_outputs": "text", "task_id": "t1"}}',
    "a chat completion": b'{"id": "c1", "choices": [{"message": {"content": "hi"}}]}',
    "models": b'{"models": [{"model": "GPT_4O", "id": 3}]}',
    "models in an envelope": b'{"status": 0, "data": {"models": [], "text_to_image": []}}',
    "a job": b'{"id": "t1", "status": "queued"}',
    "a picture": b'{"success": true, "data": {"image_id": "t1", "url": "https://a.b/c.png"}}',
    "an account": b'{"username": "mira", "credits": 12}',
    "a refusal": b'{"status": 1004, "msg": "no credits", "data": {"task_id": "t1"}}',
    "an error object": b'{"error": {"message": "no credits"}, "id": "t1"}',
    "an empty envelope": b'{"status": 0, "data": null}',
    "a list": b"[]",
    "no JSON": b"<html>",
}


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Record each body that `json.loads` parses."""
    texts: list[object] = []
    loads = json.loads

    def counted(text: str | bytes) -> Any:
        texts.append(text)
        return loads(text)

    monkeypatch.setattr(json, "loads", counted)
    return texts


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_decode_any_response_parses_its_json_once(parses: list[object], decode: Decode) -> None:
    """A decoder passes the parsed body on, to the values and to the errors alike."""
    for name, body in BODIES.items():
        for http_status in (200, 400):
            parses.clear()
            with contextlib.suppress(AioweryError):
                decode(HttpResponse(http_status, {}, body))
            assert len(parses) == 1, (name, http_status)
