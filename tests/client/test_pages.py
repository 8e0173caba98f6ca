"""Pages of a hop in between: what a paid POST that gets one is, and what the other requests do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest

from aiowery import Limits
from aiowery.errors import (
    AioweryError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequest,
    NotFound,
    NotSent,
    ServerError,
    SubmissionInDoubt,
    UnexpectedResponse,
)
from aiowery.ledger import State
from tests.support import PNG, http_response, ledger_of, peer, responding
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio

OpenHttp = Callable[[], AbstractAsyncContextManager[Any]]
HTML = "<html>an error page</html>"
IN_DOUBT = (200, 204, 302, 303, 307, 400, 402, 403, 404, 408, 409, 422, 499, 500, 502, 503, 504, 520)
RAISED: dict[int, type[APIError]] = {401: AuthenticationError, 407: APIError, 413: InvalidRequest}
PAUSING = (401, 403, 407, 503)


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


@pytest.fixture(params=["own connections", "httpx", "caller's httpx"])
def http(request: pytest.FixtureRequest) -> OpenHttp:
    """Return each choice of a transport in turn, as a context."""
    choices = {"own connections": None, "httpx": "httpx"}
    return httpx.AsyncClient if request.param not in choices else lambda: nullcontext(choices[request.param])


def page(status: int, body: str | dict[str, Any] = HTML) -> bytes:
    """Return a page with this HTTP status."""
    return http_response(b"" if status == 204 else body, f"{status} X", location="https://elsewhere.example/")


async def outcomes_of(
    raw: RawProvider, directory: Path, *responses: bytes, http: OpenHttp = nullcontext
) -> tuple[Any, ...]:
    """Run one request in a batch; return its outcome, its state in the ledger, and the number of POSTs."""
    async with peer(*responses) as server, ledger_of("file", directory) as ledger, http() as choice:
        async with raw.client(server.url, ledger=ledger, http=choice) as client:
            (outcome,) = [one async for one in client.stream([raw.request], batch="b")]
        (entry,) = await ledger.entries("b")
    return outcome, entry.state, server.posts


@pytest.mark.parametrize("status", IN_DOUBT)
async def test_post_answered_by_page_is_in_doubt(raw: RawProvider, status: int, tmp_path: Path) -> None:
    """The provider may have taken the POST, so it is sent once, and neither failed nor new."""
    outcome, state, posts = await outcomes_of(raw, tmp_path, page(status))
    assert isinstance(outcome.error, SubmissionInDoubt)
    assert (state, posts) == (State.IN_DOUBT, 1)


@pytest.mark.parametrize("status", RAISED)
async def test_post_stopped_by_page_is_raised_and_new_again(raw: RawProvider, status: int, tmp_path: Path) -> None:
    """Nothing was processed, so the next run sends it; by itself it is not repeated."""
    outcome, state, posts = await outcomes_of(raw, tmp_path, page(status))
    assert isinstance(outcome.error, RAISED[status])
    assert not outcome.error.is_own
    assert outcome.error.code is None
    assert (state, posts) == (State.NEW, 1)


@pytest.mark.parametrize("status", [421, 425])
async def test_post_returned_unread_is_sent_again(
    raw: RawProvider, status: int, tmp_path: Path, http: OpenHttp
) -> None:
    """It is sent again within `max_attempts`. After the last one it is new."""
    answers = (page(status), page(status), raw.accepting("t1"), http_response(raw.done("t1")))
    outcome, state, posts = await outcomes_of(raw, tmp_path, *answers, http=http)
    assert outcome.unwrap().task_ids == ("t1",)
    assert (state, posts) == (State.DONE, 3)
    (tmp_path / "always").mkdir()
    outcome, state, posts = await outcomes_of(raw, tmp_path / "always", page(status), http=http)
    assert isinstance(outcome.error, NotSent)
    assert (state, posts) == (State.NEW, 4)


async def test_post_answered_by_429_page_is_sent_again(raw: RawProvider, tmp_path: Path, http: OpenHttp) -> None:
    """Whichever hop is too busy, nothing was charged."""
    answers = (page(429), raw.accepting("t1"), http_response(raw.done("t1")))
    outcome, state, posts = await outcomes_of(raw, tmp_path, *answers, http=http)
    assert outcome.unwrap().task_ids == ("t1",)
    assert (state, posts) == (State.DONE, 2)


@pytest.mark.parametrize("status", [401, 407, 413, 421, 425, 429, 403, 500])
async def test_post_answered_by_page_with_task_id_is_in_doubt(raw: RawProvider, status: int, tmp_path: Path) -> None:
    """A page that names a task is no proof that nothing was charged, whatever its HTTP status."""
    accepted = raw.accepted("t1")
    accepted.pop("status", None)
    answers = (page(status, accepted), http_response(raw.not_found, "404 Not Found"))
    outcome, state, posts = await outcomes_of(raw, tmp_path, *answers)
    assert isinstance(outcome.error, SubmissionInDoubt)
    assert outcome.error.task_ids == ("t1",)
    assert (state, posts) == (State.IN_DOUBT, 1)


async def test_post_answered_by_page_with_its_task_id_is_accepted(raw: RawProvider, tmp_path: Path) -> None:
    """If a status check finds the task that the page names, the submission is accepted."""
    accepted = raw.accepted("t1")
    accepted.pop("status", None)
    outcome, state, posts = await outcomes_of(raw, tmp_path, page(403, accepted), http_response(raw.done("t1")))
    assert outcome.unwrap().task_ids == ("t1",)
    assert (state, posts) == (State.DONE, 1)


@pytest.mark.parametrize("status", [*PAUSING, 404, 413, 500])
async def test_page_rejects_no_waiting_request(raw: RawProvider, status: int) -> None:
    """One page with 401, 403, 407 or 503 pauses submissions, another one does not. None rejects the requests behind it.

    Once submissions are resumed, those requests have their results.
    """
    posts = 0

    def respond(request: bytes) -> bytes:
        nonlocal posts
        if request.startswith(b"POST"):
            posts += 1
            return page(status) if posts == 1 else raw.accepting(f"t{posts}")
        task_id = request.split(b" ", 2)[1].decode().removesuffix("/status").rpartition("/")[2]
        return http_response(raw.done(task_id))

    limits = Limits(in_flight=1, submissions=1, cool_down=0.0)
    async with responding(respond) as server, raw.client(server.url, limits=limits) as client:
        first = asyncio.create_task(client.run(raw.request))
        others = [asyncio.create_task(client.run(raw.request)) for _ in range(3)]
        await asyncio.wait([first])
        await asyncio.sleep(0.05)
        reason = client.statistics().queue.pause_reason
        assert (reason is not None) is (status in PAUSING)
        if status in PAUSING:
            assert posts == 1
            assert f"HTTP {status}" in (reason or "")
        client.resume_submitting()
        results = await asyncio.gather(*others)
    assert isinstance(first.exception(), AioweryError)
    assert len({result.task_ids for result in results}) == 3


async def test_own_refusal_of_key_rejects_waiting_requests(raw: RawProvider) -> None:
    """The provider's own refusal is believed: every other request with the key would get it too."""
    body = {"status": 1002, "message": "authentication failed", "error": "Invalid or missing API key"}
    limits = Limits(in_flight=1, submissions=1, cool_down=0.0)
    async with peer(http_response(body, "401 Unauthorized")) as server, raw.client(server.url, limits=limits) as client:
        outcomes = await asyncio.gather(*(client.run(raw.request) for _ in range(4)), return_exceptions=True)
        assert client.statistics().queue.pause_reason is None
    assert [isinstance(one, AuthenticationError) and one.is_own for one in outcomes] == [True] * 4
    assert server.posts == 1


@pytest.mark.parametrize("source", ["callable", "string"])
async def test_post_answered_by_401_page_is_tried_with_a_renewed_key(
    raw: RawProvider, source: str, tmp_path: Path
) -> None:
    """A page with 401 renews the key too, once."""
    keys = iter([f"{raw.key}-old", f"{raw.key}-new", f"{raw.key}-third"])
    async with peer(page(401)) as server:
        key: Any = (lambda: next(keys)) if source == "callable" else raw.key
        async with raw.make_client(key, base_url=server.url, ledger=tmp_path / "jobs.db") as client:
            with pytest.raises(AuthenticationError):
                await client.run(raw.request)
    assert server.posts == (2 if source == "callable" else 1)


async def test_post_with_a_rejected_key_that_cannot_be_renewed_is_new_again(raw: RawProvider, tmp_path: Path) -> None:
    """The error says that the request was rejected, not that nothing was sent. The next run sends it."""
    keys = iter([raw.key])
    (tmp_path / "ledger").mkdir()
    async with peer(page(401)) as server, ledger_of("file", tmp_path / "ledger") as ledger:
        async with raw.make_client(lambda: next(keys), base_url=server.url, ledger=ledger) as client:
            (outcome,) = [one async for one in client.stream([raw.request], batch="b")]
        (entry,) = await ledger.entries("b")
    assert isinstance(outcome.error, ConfigurationError)
    assert "the key before was rejected, and the request is not sent again" in str(outcome.error)
    assert "nothing was sent" not in str(outcome.error)
    assert (entry.state, server.posts) == (State.NEW, 1)


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, UnexpectedResponse), (404, UnexpectedResponse), (500, ServerError), (401, AuthenticationError)],
)
async def test_read_answered_by_page_says_nothing_about_a_task(
    raw: RawProvider, status: int, error: type[AioweryError]
) -> None:
    """A 404 page is no `NotFound`, which only the provider itself can report."""
    async with peer(page(status)) as server, raw.client(server.url) as client:
        with pytest.raises(error, match=f"HTTP {status} with a page that is not the provider's own") as caught:
            await client.status("t1")
    assert not isinstance(caught.value, NotFound)
    assert caught.value.excerpt == HTML


async def test_read_answered_by_redirect_is_not_repeated(raw: RawProvider) -> None:
    """The error names the target, and a repeat would find the same."""
    async with peer(page(302)) as server, raw.client(server.url) as client:
        with pytest.raises(UnexpectedResponse, match=r"redirects to https://elsewhere\.example/"):
            await client.status("t1")
    assert len(server.requests) == 1


async def test_read_answered_by_429_page_is_repeated(raw: RawProvider) -> None:
    """A read is repeated after a busy hop, and a busy provider."""
    answers = (
        page(429),
        http_response(raw.busy, "429 Too Many Requests", retry_after="0"),
        http_response(raw.done("t1")),
    )
    async with peer(*answers) as server, raw.client(server.url) as client:
        assert (await client.status("t1")).task_id == "t1"
    assert len(server.requests) == 3


async def test_upload_answered_by_page_is_repeated() -> None:
    """An upload costs nothing: after a page it is sent again, and the error says that a page answered."""
    raw = RAW_PROVIDERS["weryai"]
    done = http_response({"status": 0, "data": {"object_url_list": [" https://files.example/1.png\n"]}})
    async with peer(page(403), done) as server, raw.client(server.url) as client:
        assert await client.upload(PNG) == "https://files.example/1.png"
    async with peer(page(403)) as server, raw.client(server.url) as client:
        with pytest.raises(UnexpectedResponse, match="HTTP 403 with a page"):
            await client.upload(PNG)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": 1007, "message": "the queue is full"}, "500 Internal Server Error"),
        ({"status": 6010, "message": "too many tasks"}, "403 Forbidden"),
        ({"status": 1001, "message": "Request rate limit exceeded"}, "503 Service Unavailable"),
    ],
    ids=["1007", "6010", "1001"],
)
async def test_code_of_load_is_busy_with_any_http_status(body: dict[str, Any], status: str, tmp_path: Path) -> None:
    """The provider's own code decides: nothing was charged, and the request is sent again."""
    raw = RAW_PROVIDERS["weryai"]
    answers = (http_response(body, status), raw.accepting("t1"), http_response(raw.done("t1")))
    outcome, state, posts = await outcomes_of(raw, tmp_path, *answers)
    assert outcome.unwrap().task_ids == ("t1",)
    assert (state, posts) == (State.DONE, 2)


@pytest.mark.parametrize("code", [5000, 6001, 1004, 6101])
async def test_other_code_with_503_is_in_doubt(code: int, tmp_path: Path) -> None:
    """A server error says nothing about the submission, so it is not posted again."""
    raw = RAW_PROVIDERS["weryai"]
    response = http_response({"status": code, "message": "no"}, "503 Service Unavailable")
    outcome, state, posts = await outcomes_of(raw, tmp_path, response)
    assert isinstance(outcome.error, SubmissionInDoubt)
    assert (state, posts) == (State.IN_DOUBT, 1)
