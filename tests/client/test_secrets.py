"""The API key and the secrets of webhooks are in no traceback with variables, no cause of an error, and no pickle."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import httpx
import httpx2
import pytest

from aiowery import BetterWaifu, Limits, RetryPolicy, WeryAI
from aiowery._base.secret import Secret
from aiowery._core.redaction import KeyRedactor
from aiowery._core.webhook_config import new_token
from aiowery._http.http_client import HttpClient
from aiowery._http.transport import RequestHeaders
from aiowery.errors import AioweryError, ConfigurationError, LedgerError, QueueTooLong
from aiowery.webhook import Receiver, Webhooks
from tests.support import CAT, FailingLedger, assert_hides, http_response, peer

pytestmark = pytest.mark.anyio

KEY = "sk-made-up-0123456789-key"
ONCE = RetryPolicy(max_attempts=1)


@contextlib.asynccontextmanager
async def library(kind: str) -> AsyncIterator[Any]:
    """Yield a choice of transport."""
    makers: dict[str, Callable[[], Any]] = {"httpx client": httpx.AsyncClient, "httpx2 client": httpx2.AsyncClient}
    if kind not in makers:
        yield "httpx" if kind == "httpx" else None
        return
    async with makers[kind]() as client:
        yield client


libraries = pytest.mark.parametrize("kind", ["own", "httpx", "httpx client", "httpx2 client"])
ANSWERS: dict[str, bytes | None] = {
    "closed without a response": None,
    "cut within the head": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-",
    "cut within the body": b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\nconnection: close\r\n\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "page": http_response("<html>", "502 Bad Gateway"),
    "redirect": http_response("", "302 Found", location="https://elsewhere.example"),
    "refusal": http_response({"status": 1004, "message": f"no credits for {KEY}"}),
    "rejected key": http_response({"message": f"wrong {KEY}"}, "401 Unauthorized"),
    "too long": http_response(b"x" * 17_000_000),
}


@libraries
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_error_of_a_submission_shows_no_key(kind: str, answer: bytes | None) -> None:
    """Whatever goes wrong on the way, neither the error, nor a cause, nor a variable in its traceback has the key."""
    async with peer(answer) as server, library(kind) as http:
        async with WeryAI(KEY, base_url=server.url, http=http, retries=ONCE) as client:
            for use in (client.submit(CAT), client.balance(), client.status("t1")):
                with pytest.raises(AioweryError) as caught:
                    await use
                assert_hides(caught.value, KEY)


@libraries
async def test_error_without_a_connection_shows_no_key(kind: str) -> None:
    """A connection that is refused has a request with headers in httpx's exception, which is the error's cause."""
    async with library(kind) as http, WeryAI(KEY, base_url="http://127.0.0.1:9", http=http, retries=ONCE) as client:
        for use in (client.submit(CAT), client.balance()):
            with pytest.raises(AioweryError) as caught:
                await use
            assert caught.value.__cause__ is not None
            assert_hides(caught.value, KEY)


@libraries
async def test_error_before_the_first_byte_shows_no_key(kind: str) -> None:
    """A ledger's error passes through the transport, whose variables hold the encoded request."""
    async with peer(None) as server, library(kind) as http:
        ledger = FailingLedger("mark_sending")
        await ledger.open()
        async with WeryAI(KEY, base_url=server.url, http=http, ledger=ledger) as client:
            with pytest.raises(LedgerError, match="the disk is full") as caught:
                await client.submit(CAT)
    assert_hides(caught.value, KEY)


async def test_error_of_the_opening_shows_no_key(tmp_path: Path) -> None:
    """A ledger that cannot be opened is found while the key is at hand."""
    client = WeryAI(KEY, base_url="http://127.0.0.1:9", ledger=tmp_path / "missing" / "jobs.db")
    with pytest.raises(AioweryError) as caught:
        await client.open()
    assert_hides(caught.value, KEY)


@pytest.mark.parametrize(
    "make",
    [
        lambda: WeryAI(KEY, base_url="ftp://x"),
        lambda: WeryAI(KEY, limits="x"),  # type: ignore[arg-type]
        lambda: BetterWaifu(KEY, edition="v9"),  # type: ignore[arg-type]
    ],
)
def test_error_of_the_constructor_shows_no_key(make: Callable[[], Any]) -> None:
    """A wrong setting is found while the key is an argument."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert_hides(caught.value, KEY)


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\x00", f"{KEY}\u20ac"], ids=ascii)
async def test_error_of_a_wrong_key_shows_no_key(key: str) -> None:
    """A key with a character that no header can carry is shown nowhere either, given or returned."""
    for source in (key, lambda: key):
        client = WeryAI(source, base_url="http://127.0.0.1:9")
        with pytest.raises(ConfigurationError) as caught:
            await client.open()
        assert_hides(caught.value, KEY)


async def test_error_in_the_queue_shows_no_secret_of_a_webhook(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret of a submission's webhook URL is at hand while it waits in the queue."""
    tokens: list[str] = []

    def noted() -> str:
        tokens.append(new_token())
        return tokens[-1]

    monkeypatch.setattr("aiowery._client.submitter.new_token", noted)
    webhooks = Webhooks(public_url="http://127.0.0.1:9/hooks", receiver=Receiver())
    async with peer(None) as server:
        limits = Limits(in_flight=1, submissions=1)
        async with WeryAI(KEY, base_url=server.url, webhooks=webhooks, limits=limits) as client:
            ticket = client._runtime.submitter._admission.new_ticket(CAT, None)
            await client._runtime.submitter._admission.acquire(ticket)
            with pytest.raises(QueueTooLong) as caught:
                await client.submit(CAT, start_within=0.01)
            client._runtime.submitter._admission.release(ticket)
    assert len(tokens) == 1
    assert_hides(caught.value, KEY, *tokens)


def pickled(value: object) -> bytes:
    """Return a pickle, b"" for a value that refuses."""
    with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of itertools, whose objects are among the values
        return pickle.dumps(value)
    return b""


async def test_pickles_and_reprs_show_no_key() -> None:
    """The configuration, the key's source, and what is made of the key are pickled without it, or not at all."""
    client = WeryAI(KEY, base_url="http://127.0.0.1:9")
    async with client:
        runtime = client._runtime
        http: HttpClient = runtime._http_client
        await http._current_key()
        headers = RequestHeaders({"authorization": f"Bearer {KEY}"})
        values: list[object] = [client, client._config, client._config.api_key, http, http._sent_key, runtime, headers]
        values += [KeyRedactor(KEY), Secret(KEY), *vars(runtime).values(), *vars(http).values()]
        values += [getattr(client._config, field.name) for field in attrs.fields(type(client._config))]
        for value in values:
            assert KEY.encode() not in pickled(value)
            assert KEY not in repr(value)
    assert pickled(client._config.api_key)


async def test_exception_that_a_caller_handles_keeps_its_traceback() -> None:
    """What the caller was handling when it called is not changed."""
    async with WeryAI(KEY, base_url="http://127.0.0.1:9", retries=ONCE) as client:
        with pytest.raises(ValueError, match="own mistake") as own:
            try:
                int("the caller's own mistake")
            except ValueError:
                with pytest.raises(AioweryError):
                    await client.balance()
                raise
    assert own.value.__traceback__ is not None
    assert own.value.__traceback__.tb_frame.f_code.co_filename == __file__
