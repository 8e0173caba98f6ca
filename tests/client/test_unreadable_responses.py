"""A response to a paid POST that cannot be read, or is no acceptance, leaves a doubt that keeps its beginning."""

from __future__ import annotations

import contextlib
import gzip
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest

from aiowery import Limits, PollFailed, PollPolicy, RetryPolicy
from aiowery.errors import (
    APIError,
    AuthenticationError,
    InvalidRequest,
    NoAnswer,
    SubmissionInDoubt,
    UnexpectedResponse,
)
from aiowery.ledger import State
from tests.support import LEDGER_KINDS, http_response, ledger_of, peer
from tests.support.raw_providers import RAW_PROVIDERS, RawProvider

pytestmark = pytest.mark.anyio

HIDDEN = '{"data": {"task_ids": ["task_hidden"]}, "id": "task_hidden"}'
OK = "HTTP/1.1 200 OK\r\n"
CODED = "Content-Encoding: gzip\r\n"
REFUSED: dict[str, tuple[str, str]] = {
    "two lengths": (OK + "Content-Length: 2\r\nContent-Length: 60\r\n\r\n", "Content-Length: 60"),
    "length with a sign": (OK + "Content-Length: +60\r\n\r\n", "Content-Length: +60"),
    "coding beside chunked": (OK + "Transfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
    "folded line": (OK + "X: a\r\n b: c\r\n\r\n", "b: c"),
    "control characters": (OK + "X: a\x00\x1b[31m\r\n\r\n", "X: a??[31m"),
    "no http": ("ICY 200 OK\r\n\r\n", "ICY 200 OK"),
    "interim with a body": ("HTTP/1.1 103 Early\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 103 Early"),
}
UNEXPECTED: dict[str, bytes] = {
    "gateway": http_response(f"<html>{HIDDEN}", "502 Bad Gateway"),
    "page": http_response(f"<html>{HIDDEN}"),
    "no ids": http_response(f'{{"status": 0, "note": {HIDDEN}}}'),
    "unknown coding": http_response(HIDDEN, content_encoding="br"),
    "two codings": http_response(HIDDEN, content_encoding="gzip, gzip"),
    "repeated coding": f"{OK}{CODED * 2}Content-Length: 60\r\n\r\n{HIDDEN}".encode(),
    "corrupt gzip": http_response(HIDDEN, content_encoding="gzip"),
    "cut off": OK.encode() + b"Content-Length: 999\r\nConnection: close\r\n\r\n" + HIDDEN.encode(),
    "too long": OK.encode() + b"Content-Length: 99999999\r\nConnection: close\r\n\r\n" + HIDDEN.encode(),
}


@pytest.fixture(params=RAW_PROVIDERS)
def raw(request: pytest.FixtureRequest) -> RawProvider:
    """Return each provider in turn."""
    return RAW_PROVIDERS[request.param]


async def doubt_after(raw: RawProvider, response: bytes, **settings: Any) -> SubmissionInDoubt:
    """Return the doubt in which a submission ends after this response. It is posted once."""
    async with peer(response) as server, raw.client(server.url, **settings) as client:
        with pytest.raises(SubmissionInDoubt) as caught:
            await client.run(raw.request)
    assert server.posts == 1
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(("head", "line"), REFUSED.values(), ids=REFUSED)
async def test_submit_refused_response_shows_line_and_keeps_beginning(raw: RawProvider, head: str, line: str) -> None:
    """The message shows the line at which the response was refused; `excerpt` holds the ids that it names."""
    doubt = await doubt_after(raw, head.encode() + HIDDEN.encode())
    assert f"the line is: {line}; the request may have arrived" in str(doubt)
    assert "task_hidden" in doubt.excerpt
    assert "task_hidden" not in str(doubt)
    assert doubt.excerpt.replace("\n", "").replace("\t", "").isprintable()
    assert isinstance(doubt.__cause__, NoAnswer)
    assert doubt.__cause__.excerpt == doubt.excerpt


@pytest.mark.parametrize("response", UNEXPECTED.values(), ids=UNEXPECTED)
async def test_submit_unexpected_response_keeps_beginning(raw: RawProvider, response: bytes) -> None:
    """The body of a response that is no acceptance is kept, if it was readable, too long, coded or cut off."""
    doubt = await doubt_after(raw, response)
    assert "task_hidden" in doubt.excerpt or b"99999999" in response


async def test_submit_long_unreadable_response_keeps_two_kilobytes(raw: RawProvider) -> None:
    """Nothing from outside is kept without a limit."""
    doubt = await doubt_after(raw, OK.encode() + b"X: " + b"a" * 5000 + b"\x00\r\n\r\n")
    assert len(doubt.excerpt) <= 2048
    assert len(str(doubt)) < 1000


@pytest.mark.parametrize("kind", LEDGER_KINDS)
async def test_submit_unreadable_response_is_kept_in_ledger(raw: RawProvider, kind: str, tmp_path: Path) -> None:
    """The beginning of the response stands in the entry, and a later run raises it again."""
    response = (REFUSED["two lengths"][0] + HIDDEN).encode()
    async with peer(response) as server, ledger_of(kind, tmp_path) as ledger:
        excerpts = []
        for _ in range(2):
            async with raw.client(server.url, ledger=ledger) as client:
                (outcome,) = [one async for one in client.stream([raw.request], batch="b")]
            doubt = outcome.error
            assert isinstance(doubt, SubmissionInDoubt)
            excerpts.append(doubt.excerpt)
        (entry,) = await ledger.entries(states=[State.IN_DOUBT])
    assert excerpts == [entry.excerpt] * 2
    assert "task_hidden" in entry.excerpt
    assert "the line is: Content-Length: 60" in entry.reason
    assert server.posts == 1


@pytest.mark.parametrize("place", ["line", "head", "body", "end of the line", "end of the beginning"])
async def test_submit_unreadable_response_that_quotes_the_key_is_redacted(
    raw: RawProvider, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is in no error, no cause, no log and no ledger, also if it was cut at the end of what is kept."""
    caplog.set_level(logging.DEBUG, logger="aiowery")
    fields = {
        "line": f"Content-Length: {raw.key}\r\n\r\n",
        "head": f"X: {raw.key}\r\nContent-Length: -1\r\n\r\n{HIDDEN}",
        "body": f"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{HIDDEN}{raw.key}",
        "end of the line": f"X: {'a' * 187}{raw.key}\x00\r\n\r\n",
        "end of the beginning": f"X: {'a' * 2018}{raw.key}\r\nContent-Length: -1\r\n\r\n",
    }
    async with ledger_of("file", tmp_path) as ledger:
        doubt = await doubt_after(raw, (OK + fields[place]).encode(), ledger=ledger)
        (entry,) = await ledger.entries()
    told = [caplog.text, entry.reason, entry.excerpt]
    told += [f"{error} {error.args} {vars(error)}" for error in chain(doubt)]
    assert not [text for text in told if raw.key[:8] in text]
    assert doubt.excerpt


async def test_submit_unreadable_response_is_not_logged(raw: RawProvider, caplog: pytest.LogCaptureFixture) -> None:
    """The beginning of the response may hold a prompt, and is in no log."""
    caplog.set_level(logging.DEBUG, logger="aiowery")
    await doubt_after(raw, (REFUSED["two lengths"][0] + HIDDEN).encode())
    assert "in doubt" in caplog.text
    assert "task_hidden" not in caplog.text


LIMIT: Final = 50_000
PACKED: Final = gzip.compress(HIDDEN.encode())
UNDECODABLE: Final[dict[str, tuple[bytes, str]]] = {
    "unknown coding": (UNEXPECTED["unknown coding"], "content-encoding 'br' was not accepted and is not decoded"),
    "two codings": (UNEXPECTED["two codings"], "content-encoding 'gzip, gzip' was not accepted"),
    "repeated coding": (UNEXPECTED["repeated coding"], "content-encoding 'gzip, gzip' was not accepted"),
    "corrupt gzip": (UNEXPECTED["corrupt gzip"], "the body is no valid gzip"),
    "corrupt deflate": (http_response(HIDDEN, content_encoding="deflate"), "the body is no valid deflate"),
    "cut gzip": (http_response(PACKED[:-9], content_encoding="gzip"), "the gzip body is not complete"),
    "gzip that goes on": (http_response(PACKED * 2, content_encoding="gzip"), "the gzip body goes on after its end"),
    "bomb": (
        http_response(gzip.compress(bytes(5_000_000)), content_encoding="gzip"),
        f"the gzip body has more than {LIMIT} bytes",
    ),
    "too long": (http_response("x" * 60_000), f"HTTP 200 with more than {LIMIT} bytes"),
}
undecodable: Final = pytest.mark.parametrize(("response", "reason"), UNDECODABLE.values(), ids=UNDECODABLE)


@pytest.fixture(params=["own connections", "httpx", "caller's httpx", "caller's httpx2"])
def sending(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Return each choice of a transport in turn, as a context, with a lower limit for responses."""
    monkeypatch.setattr("aiowery._http.http_client._MAX_RESPONSE", LIMIT)
    makers = {"caller's httpx": httpx.AsyncClient, "caller's httpx2": httpx2.AsyncClient}
    choice = "httpx" if request.param == "httpx" else None
    return makers.get(request.param, lambda: contextlib.nullcontext(choice))


@undecodable
async def test_submit_undecodable_response_is_a_doubt_that_frees_its_slot(
    raw: RawProvider, sending: Callable[[], Any], response: bytes, reason: str
) -> None:
    """The request has arrived, so it is posted once; the next one has room, and the doubt names the reason."""
    respond = [response, raw.accepting("t1"), http_response(raw.done("t1"))]
    async with peer(*respond) as server, sending() as http:
        async with raw.client(server.url, http=http, limits=Limits(in_flight=1, cool_down=0.0)) as client:
            with pytest.raises(SubmissionInDoubt) as caught:
                await client.run(raw.request)
            assert client.statistics().queue.in_use == 0
            assert (await client.run(raw.request)).task_ids == ("t1",)
    assert server.posts == 2
    assert reason in str(caught.value)
    assert "; the request has arrived" in str(caught.value)
    assert isinstance(caught.value.__cause__, UnexpectedResponse)
    assert caught.value.__cause__.http_status == 200


@undecodable
async def test_status_undecodable_response_names_the_reason(
    raw: RawProvider, sending: Callable[[], Any], response: bytes, reason: str
) -> None:
    """A read is repeated, and then raises an error that names the coding or the size."""
    async with peer(response) as server, sending() as http, raw.client(server.url, http=http) as client:
        with pytest.raises(UnexpectedResponse) as caught:
            await client.status("t1")
    assert reason in str(caught.value)
    assert len(server.requests) == 4


HEADS: Final = {
    "coding": lambda status: http_response(HIDDEN, status, content_encoding="br", retry_after="0.01"),
    "corrupt": lambda status: http_response(HIDDEN, status, content_encoding="gzip", retry_after="0.01"),
    "too long": lambda status: http_response("x" * 60_000, status, retry_after="0.01"),
}
"""Responses whose status line and header fields are whole, and whose body cannot be read."""
heads: Final = pytest.mark.parametrize("respond", HEADS.values(), ids=HEADS)


@heads
@pytest.mark.parametrize("status", ["429 Too Many Requests", "421 Misdirected Request", "425 Too Early"])
async def test_submit_undecodable_response_that_is_busy_or_unread_is_sent_again(
    raw: RawProvider, sending: Callable[[], Any], respond: Callable[[str], bytes], status: str
) -> None:
    """The head shows that nothing was charged, as that of a readable page does."""
    posts = [respond(status), raw.accepting("t1"), http_response(raw.done("t1"))]
    async with peer(*posts) as server, sending() as http, raw.client(server.url, http=http) as client:
        assert (await client.run(raw.request)).task_ids == ("t1",)
        assert client.statistics().in_doubt == 0
    assert server.posts == 2


@heads
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", AuthenticationError),
        ("407 Proxy Authentication Required", APIError),
        ("413 Content Too Large", InvalidRequest),
    ],
)
async def test_submit_undecodable_response_that_rejects_is_raised(
    raw: RawProvider,
    sending: Callable[[], Any],
    respond: Callable[[str], bytes],
    status: str,
    kind: type[APIError],
    tmp_path: Path,
) -> None:
    """It is the error of a page with that status, its entry is new again, and the reason names the body's fault."""
    async with peer(respond(status)) as server, ledger_of("file", tmp_path) as ledger, sending() as http:
        async with raw.client(server.url, ledger=ledger, http=http) as client:
            (outcome,) = [one async for one in client.stream([raw.request], batch="b")]
        (entry,) = await ledger.entries()
    assert isinstance(outcome.error, APIError)
    assert (type(outcome.error), outcome.error.retry_after) == (kind, 0.01)
    assert "; the request has arrived" in str(outcome.error)
    assert entry.state is State.NEW
    assert server.posts == 1


@heads
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "400 Bad Request", "403 Forbidden", "503 Unavailable"])
async def test_submit_undecodable_response_of_any_other_status_is_a_doubt(
    raw: RawProvider, sending: Callable[[], Any], respond: Callable[[str], bytes], status: str
) -> None:
    """A page with such a status shows nothing, whether it can be read or not."""
    async with peer(respond(status)) as server, sending() as http, raw.client(server.url, http=http) as client:
        with pytest.raises(SubmissionInDoubt, match="; the request has arrived"):
            await client.run(raw.request)
    assert server.posts == 1


async def test_submit_undecodable_rejection_of_the_key_renews_it(raw: RawProvider) -> None:
    """After a 401 whose body cannot be read, a callable's next key is tried once."""
    keys = [raw.key, f"{raw.key}-2"]
    posts = [HEADS["coding"]("401 Unauthorized"), raw.accepting("t1"), http_response(raw.done("t1"))]
    async with peer(*posts) as server:
        policies: dict[str, Any] = {"polling": PollPolicy().faster(100), "retries": RetryPolicy().faster(100)}
        client = raw.make_client(lambda: keys.pop(0) if len(keys) > 1 else keys[0], base_url=server.url, **policies)
        async with client:
            assert (await client.run(raw.request)).task_ids == ("t1",)
    assert server.posts == 2


async def test_poll_undecodable_response_is_a_failed_poll(raw: RawProvider, sending: Callable[[], Any]) -> None:
    """The job goes on, and ends with the next status check that can be read."""
    failed: list[Any] = []

    def observe(event: Any) -> None:
        failed.extend([event.error] if isinstance(event, PollFailed) else [])

    done = http_response(
        gzip.compress(http_response(raw.done("t1")).partition(b"\r\n\r\n")[2]), content_encoding="gzip"
    )
    unread = [response for response, _ in UNDECODABLE.values()]
    async with peer(raw.accepting("t1"), *unread, done) as server, sending() as http:
        async with raw.client(server.url, http=http, observer=observe) as client:
            assert (await client.run(raw.request)).task_ids == ("t1",)
    assert [type(error) for error in failed] == [UnexpectedResponse] * len(unread)
