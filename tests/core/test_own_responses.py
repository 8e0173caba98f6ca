"""Responses that are the provider's own, and those of a gateway or proxy."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiowery._core.messages import HttpResponse
from aiowery._core.provider import Provider
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.weryai._provider import WeryAIProvider

FOREIGN: dict[str, tuple[int, Any]] = {
    **{f"{status} page": (status, "<html>no</html>") for status in (200, 400, 401, 403, 404, 408, 429, 500, 502, 503)},
    "200 empty": (200, ""),
    "204": (204, ""),
    "200 list": (200, []),
    "200 number": (200, 7),
    "200 other object": (200, {"ok": 1}),
    "200 cut off": (200, '{"status": 0, "data": {"task_'),
    "403 gateway's message": (403, {"message": "Forbidden"}),
    "404 status repeated": (404, {"status": 404, "message": "no route"}),
    "502 status as text": (502, {"status": "502"}),
    "503 deep": (503, "[" * 100_000),
    "403 word as status": (403, {"status": "error", "message": "Forbidden"}),
    "403 success": (403, {"status": 0, "message": "success", "data": None}),
    "502 success as text": (502, {"status": "200", "data": {"task_ids": ["t"]}}),
    "403 success flag": (403, {"success": False, "message": "Forbidden"}),
    "200 success flag": (200, {"success": False}),
    "200 status of another answer": (200, {"status": 404, "message": "no route"}),
    "403 status of another answer": (403, {"status": 502, "message": "Bad gateway"}),
    "404 status and error": (404, {"status": 404, "error": "Not Found", "path": "/generate"}),
    "401 code as text": (401, {"error": {"code": "401", "message": "Access denied"}}),
    "403 error flag": (403, {"error": True, "message": "Forbidden"}),
    "403 empty error": (403, {"error": {}}),
    "302 empty": (302, ""),
}
WERYAI: dict[str, tuple[int, Any]] = {
    "accepted": (200, {"status": 0, "data": {"task_ids": ["t"]}}),
    "success 200": (200, {"status": 200, "data": 5}),
    "success as text": (200, {"status": "0", "data": None}),
    "refused": (200, {"status": 1004, "message": "credits"}),
    "refused by status": (403, {"status": 1009, "msg": "plan"}),
    "its own failure": (500, {"status": 5000}),
    "busy": (503, {"status": 6002}),
    "chat": (200, {"id": "c", "choices": [{"index": 0, "message": {"content": "hi"}}]}),
    "busy, code as text": (503, {"status": "1007"}),
    "chat refused": (400, {"error": {"message": "max_tokens must be positive"}}),
}
BETTERWAIFU: dict[str, tuple[int, Any]] = {
    "queued": (201, {"id": "job_1", "status": "queued"}),
    "wrapped": (200, {"data": {"id": "job_1"}}),
    "finished": (200, {"success": True, "data": {"url": "https://cdn.example.com/a.png"}}),
    "account": (200, {"username": "mira", "credits": 5, "subscription": None}),
    "models": (200, {"models": [], "count": 0}),
    "refused": (401, {"error": "Invalid or missing API key"}),
    "refused with a code": (400, {"success": False, "error": {"code": "invalid_parameter", "message": "steps"}}),
    "refused with 200": (200, {"success": False, "error": "no"}),
    "its own failure": (500, {"error": "Internal"}),
}
PROVIDERS: dict[str, Provider] = {
    "weryai": WeryAIProvider(),
    "jobs": BetterWaifuProvider("jobs"),
    "v1-images": BetterWaifuProvider("v1-images"),
}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["status", "error", "data", "id"]), inner)
    ),
    max_leaves=8,
)


def response(http_status: int, body: Any) -> HttpResponse:
    """Return a response with this text, or with this value as JSON."""
    return HttpResponse(http_status, {}, (body if isinstance(body, str) else json.dumps(body)).encode())


def test_is_own_response_weryai_word_as_code_is_false() -> None:
    """WeryAI's codes are numbers, also in a refusal with HTTP 200."""
    assert not PROVIDERS["weryai"].is_own_response(response(200, {"status": "failure", "message": "no"}))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("body", FOREIGN)
def test_is_own_response_foreign_body_is_false(body: str, provider: str) -> None:
    """Text and other JSON are not the provider's own, whatever the HTTP status."""
    assert not PROVIDERS[provider].is_own_response(response(*FOREIGN[body]))


@pytest.mark.parametrize(
    ("provider", "own"),
    [
        *(("weryai", one) for one in WERYAI.values()),
        *((edition, one) for edition in ("jobs", "v1-images") for one in BETTERWAIFU.values()),
    ],
    ids=[*WERYAI, *(f"{edition} {name}" for edition in ("jobs", "v1-images") for name in BETTERWAIFU)],
)
def test_is_own_response_success_and_refusal_are_true(provider: str, own: tuple[int, Any]) -> None:
    """A success or a refusal in the provider's envelope is its own, and a redirect never is."""
    assert PROVIDERS[provider].is_own_response(response(*own))
    assert not PROVIDERS[provider].is_own_response(response(307, own[1]))


@given(http_status=st.integers(100, 599), body=anything | st.text(max_size=20))
@settings(max_examples=100, deadline=None)
def test_is_own_response_any_response_is_true_or_false(http_status: int, body: Any) -> None:
    """Any response gives True or False, and no exception."""
    for provider in PROVIDERS.values():
        assert provider.is_own_response(response(http_status, body)) in {True, False}
