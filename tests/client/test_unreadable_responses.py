"""A response to a paid POST that cannot be read, or is no acceptance, leaves a doubt that keeps its beginning."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiowery.errors import NoAnswer, SubmissionInDoubt, UnexpectedResponse
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


@pytest.mark.parametrize("name", ["unknown coding", "two codings", "repeated coding", "corrupt gzip", "too long"])
async def test_status_unreadable_response_names_the_reason(raw: RawProvider, name: str) -> None:
    """A read is repeated, and then raises an error that names the coding or the size."""
    reasons = {"too long": "more than 16777216 bytes", "corrupt gzip": "no valid gzip"}
    async with peer(UNEXPECTED[name]) as server, raw.client(server.url) as client:
        with pytest.raises(UnexpectedResponse, match=reasons.get(name, "was not accepted and is not decoded")):
            await client.status("t1")
    assert len(server.requests) == 4
