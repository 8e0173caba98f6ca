"""The HTTP client on real sockets: translated exceptions, where the key is sent, number of connections."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import httpx2
import pytest

from aiowery import Asset, Limits, RetryPolicy, WeryAI
from aiowery._base.secret import Secret
from aiowery._core.messages import HttpRequest
from aiowery._core.urls import parse_hosts
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.sent_key import SentKey
from aiowery._http.transport import TransportRequest
from aiowery.errors import (
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    NoAnswer,
    NotSent,
    SubmissionInDoubt,
    TransportError,
    UnexpectedResponse,
)
from tests.support import CAT, KEY, http_client_to, http_response, peer, serving

pytestmark = pytest.mark.anyio

GET = HttpRequest("GET", "/v1/x")
POST = HttpRequest("POST", "/v1/x", b"{}")
Make = Callable[[], Any]


@pytest.fixture(params=["own connections", "httpx", "caller's httpx", "caller's httpx2"])
def make_http(request: pytest.FixtureRequest) -> Make:
    """Return a factory of the `http` argument. Every test that uses it holds for all transports."""
    makers: dict[str, Make] = {
        "own connections": lambda: None,
        "httpx": lambda: "httpx",
        "caller's httpx": httpx.AsyncClient,
        "caller's httpx2": httpx2.AsyncClient,
    }
    return makers[request.param]


def client_to(
    url: str, make_http: Make, *, timeout: float = 5.0, allow_hosts: Iterable[str] = ()
) -> contextlib.AbstractAsyncContextManager[HttpClient]:
    """Open an HTTP client, and the caller's client if there is one."""
    return http_client_to(url, make_http(), connections=24, timeout=timeout, allow_hosts=allow_hosts)


async def test_send_complete_response_returns_status_headers_and_body(make_http: Make) -> None:
    """Status, headers in lower case and body are returned. The key is sent in its header, never in the URL."""
    async with (
        peer(http_response({"a": 1}, X_Request_Id="r-1")) as server,
        client_to(server.url, make_http) as http_client,
    ):
        answer = await http_client.send(POST)
    assert answer.http_status == 200
    assert answer.json() == {"a": 1}
    assert answer.request_id == "r-1"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert f"authorization: bearer {KEY}".encode() in head.lower()
    assert KEY.encode() not in head.split(b"\r\n")[0]
    assert body == b"{}"


async def test_send_compressed_response_is_decoded(make_http: Make) -> None:
    """Some servers compress responses although the request does not accept that."""
    packed = http_response(gzip.compress(b'{"a": 1}'), content_encoding="gzip")
    async with peer(packed) as server, client_to(server.url, make_http) as http_client:
        assert (await http_client.send(GET)).json() == {"a": 1}


async def test_send_connection_refused_raises_not_sent(make_http: Make) -> None:
    """A refused connection proves that nothing was sent, so a repeat is safe."""
    async with peer(None) as server:
        url = server.url
    async with client_to(url, make_http) as http_client:
        with pytest.raises(NotSent, match="nothing was sent"):
            await http_client.send(POST)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://name.invalid"], ids=["refused", "no such host"])
async def test_submit_without_connection_has_a_short_traceback(make_http: Make, url: str) -> None:
    """The causes add their messages, and no frames: the sentence that matters is not below dozens of lines."""
    http = make_http()
    async with WeryAI(KEY, base_url=url, http=http, retries=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(NotSent, match="nothing was sent: check the network, base_url and any proxy") as caught:
            await client.submit(CAT)
        with pytest.raises(NotSent) as read:
            await client.balance()
    if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
        await http.aclose()
    for error in (caught.value, read.value):
        lines = "".join(traceback.format_exception(error)).splitlines()
        assert len(lines) <= 60
        assert lines.count("Traceback (most recent call last):") == 1
        assert "\n" not in str(error)


async def test_send_failed_tls_handshake_raises_not_sent(make_http: Make) -> None:
    """A server without TLS never receives the request."""
    received = b""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.write(b"this is no TLS\r\n")
        received = await reader.read(10_000)

    async with serving(no_tls) as url, client_to(url.replace("http:", "https:"), make_http) as http_client:
        with pytest.raises(NotSent):
            await http_client.send(POST)
    assert received
    assert b"POST" not in received


async def test_send_unknown_host_raises_not_sent(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS fails before anything is sent."""

    async def no_such_host(*_: Any, **__: Any) -> Any:
        raise OSError("Name or service not known")

    async with client_to("https://nowhere.example", make_http) as http_client:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_host)
        with pytest.raises(NotSent):
            await http_client.send(POST)


async def test_send_connection_closed_without_response_raises_no_answer(make_http: Make) -> None:
    """If the server closes the connection without a response, the request may have arrived."""
    async with peer(None) as server, client_to(server.url, make_http) as http_client:
        with pytest.raises(NoAnswer, match="may have arrived"):
            await http_client.send(POST)
    assert len(server.requests) == 1


async def test_send_reused_connection_closed_is_not_repeated(make_http: Make) -> None:
    """HTTP libraries like to repeat a request on a new connection if a kept one was closed.

    A paid POST is sent once.
    """
    received = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        for answer in (http_response({}), b""):
            await reader.readuntil(b"\r\n\r\n{}")
            received += 1
            writer.write(answer)

    async with serving(answer_once) as url, client_to(url, make_http) as http_client:
        await http_client.send(POST)
        with pytest.raises(NoAnswer):
            await http_client.send(POST)
    assert received == 2


async def test_send_after_server_closed_connection_succeeds(make_http: Make) -> None:
    """If the server closes a connection after its response, later requests use a new one."""
    received = 0

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await reader.readuntil(b"\r\n\r\n{}")
        received += 1
        writer.write(http_response({}))

    async with serving(answer_and_close) as url, client_to(url, make_http) as http_client:
        for _ in range(5):
            await http_client.send(POST)
            await asyncio.sleep(0.05)
    assert received == 5


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{", b"nonsense\r\n\r\n"],
    ids=["truncated", "not http"],
)
async def test_send_broken_response_raises_no_answer(make_http: Make, answer: bytes) -> None:
    """After a truncated or invalid response, the request may have arrived."""
    async with peer(answer) as server, client_to(server.url, make_http) as http_client:
        with pytest.raises(NoAnswer):
            await http_client.send(POST)


async def test_send_read_timeout_raises_no_answer(make_http: Make) -> None:
    """After a read timeout, the request may have arrived, also on a reused connection."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response({}))
        await reader.read()

    async with serving(slow) as url, client_to(url, make_http, timeout=0.2) as http_client:
        await http_client.send(GET)
        with pytest.raises(NoAnswer, match="Timeout"):
            await http_client.send(POST)


async def test_send_trickling_body_raises_no_answer(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that arrives in single bytes avoids the read timeout. The whole has a limit of its own."""
    monkeypatch.setattr("aiowery._http.transport._TOTAL_BEYOND_IDLE", 0.5)

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _n in range(300):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(trickle) as url, client_to(url, make_http, timeout=0.5) as http_client:
        with pytest.raises(NoAnswer, match=r"not complete within (1|2) s"):
            await http_client.send(POST)


async def test_send_response_above_limit_is_rejected(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response above the limit is not read into memory."""
    monkeypatch.setattr("aiowery._http.http_client._MAX_RESPONSE", 1000)
    async with peer(http_response(b"x" * 5000)) as server, client_to(server.url, make_http) as http_client:
        with pytest.raises(UnexpectedResponse, match="more than 1000 bytes"):
            await http_client.send(GET)


@pytest.mark.parametrize("is_slow_server", [True, False])
async def test_download_below_the_least_rate_is_given_up(
    make_http: Make, monkeypatch: pytest.MonkeyPatch, *, is_slow_server: bool
) -> None:
    """A server that trickles cannot keep a download for ever; the time that the reader itself takes is not counted."""
    monkeypatch.setattr("aiowery._http.foreign._RATE_SECONDS", 0.05)
    over = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n")
        for _ in range(30):
            writer.write(b"x")
            await asyncio.sleep(0.01 if is_slow_server else 0)
            if over.is_set() or writer.is_closing():
                return

    async with serving(trickle) as url, client_to(url, make_http) as http_client:
        async with http_client.download(f"{url}/x.png", {}) as body:
            expected = pytest.raises(NoAnswer, match="fewer than 1,000 bytes a second")
            received = 0
            with expected if is_slow_server else contextlib.nullcontext():
                async for chunk in body.chunks():
                    received += len(chunk)
                    await asyncio.sleep(0 if is_slow_server else 0.07)
        over.set()
    assert (received < 30) is is_slow_server


async def test_send_redirect_is_not_followed(make_http: Make) -> None:
    """No API request is redirected: neither the key nor the paid POST is sent to another address."""
    async with peer(http_response("")) as elsewhere:
        moved = http_response("", "307 Temporary Redirect", location=elsewhere.url)
        async with peer(moved) as server, client_to(server.url, make_http) as http_client:
            assert (await http_client.send(POST)).http_status == 307
            assert (await http_client.send(GET)).http_status == 307
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    "location",
    [
        *(
            b"https://xn--/x",
            b"https://xn--\xc3\xbc/x",
            b"http://[::1",
            b"http://x:y/",
            b"http://\xff\xfe/",
            b"data:,x",
        ),
        "http://127。0。0。18080/x".encode(),
    ],
)
async def test_redirect_to_what_is_no_address_raises_own_error(make_http: Make, location: bytes) -> None:
    """No HTTP library's exception gets through: a response to the provider's client, an error for a download."""
    moved = b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n"
    async with peer(moved) as server, client_to(server.url, make_http) as http_client:
        for request in (GET, POST):
            with contextlib.suppress(NoAnswer):  # httpx refuses some of these responses
                assert (await http_client.send(request)).http_status == 302
        with pytest.raises((DownloadError, NoAnswer), match=r"not a web address|Invalid ?URL|Punycode"):
            async with http_client.download(server.url, {}):
                pass
    assert len(server.requests) == 3


class WithoutEvents(httpx.AsyncBaseTransport):
    """A transport of the caller's that reports no event, such as that of another library."""

    def __init__(self) -> None:
        self.requests = 0

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        """Redirect to another scheme, which httpx refuses although it does not follow."""
        self.requests += 1
        return httpx.Response(307, headers={"location": "data:,x"})


async def test_submit_redirected_to_another_scheme_is_posted_once() -> None:
    """The exception of the HTTP library comes after the response: it is no proof that nothing was sent."""
    transport = WithoutEvents()
    async with httpx.AsyncClient(transport=transport) as http:
        async with WeryAI(KEY, http=http, retries=RetryPolicy(initial_backoff=0.001)) as client:
            with pytest.raises(SubmissionInDoubt):
                await client.submit(CAT)
    assert transport.requests == 1


async def test_download_sends_no_credentials(make_http: Make) -> None:
    """The file host receives neither the API key nor the credentials that a caller's client adds to each request."""
    http = make_http()
    if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
        http.headers["authorization"] = "Bearer callers-own"
        http.headers["x-api-key"] = "callers-own"
        http.cookies.set("session", "callers-own")
    async with peer(http_response("file")) as files:
        moved = http_response("", "302 Found", location=files.url + "/b.png")
        async with peer(moved) as server, client_to(server.url, lambda: http, allow_hosts=["127.0.0.1"]) as http_client:
            async with http_client.download(server.url + "/a.png", {"range": "bytes=0-"}) as body:
                assert [chunk async for chunk in body.chunks()] == [b"file"]
    for received in (*server.requests, *files.requests):
        assert b"callers-own" not in received
        assert KEY.encode() not in received
        assert b"range: bytes=0-" in received.lower()


async def test_download_redirect_loop_stops_after_five(make_http: Make) -> None:
    """A loop of redirects ends after five."""
    async with (
        peer(http_response("", "302 Found", location="/again")) as server,
        client_to(server.url, make_http) as http_client,
    ):
        with pytest.raises(TransportError, match="more than 5 redirects"):
            async with http_client.download(server.url, {}):
                pass
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.png",
        "http://localhost/x.png",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.7/x.png",
        "http://[::1]/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http://127.1/x.png",
        "http://2130706433/x.png",
        "http://0x7f.0.0.1/x.png",
        "http://files.localhost./x.png",
        "file:///etc/passwd",
        "http://files.example:port/x.png",
        "x.png",
    ],
)
async def test_download_private_address_or_other_scheme_is_rejected(url: str) -> None:
    """The URL of an output is not fetched if it is in a private network, or of another scheme than HTTP."""
    async with client_to("https://api.example.com", lambda: None) as http_client:
        with pytest.raises(DownloadError, match="nothing was fetched"):
            async with http_client.download(url, {}):
                pass


async def test_download_invalid_url_raises_own_error(make_http: Make) -> None:
    """A URL that only some libraries accept raises an error of this library, not a foreign one."""
    async with client_to("https://api.example.com", make_http) as http_client:
        for url in ("https://a b.example/x", "https://ex\x7fample.com/x", "https://[v1.fe]/x", "https://xn--/x"):
            with pytest.raises((DownloadError, TransportError)):
                async with asyncio.timeout(5):
                    async with http_client.download(url, {}):
                        pass


async def test_send_proxy_refuses_tunnel_raises_not_sent(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's CONNECT is not the paid request, so its failure proves that nothing was sent."""
    async with peer(http_response("", "403 Forbidden")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with client_to("https://api.example.com", make_http) as http_client:
            with pytest.raises(NotSent):
                await http_client.send(POST)
    assert proxy.requests[0].startswith(b"CONNECT api.example.com:443")


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_send_callers_client_closed_raises_not_sent(library: Any) -> None:
    """If the caller has closed its client, the error reports that nothing was sent."""
    http = library.AsyncClient()
    http_client = await HttpClient.open(
        "https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http
    )
    await http.aclose()
    with pytest.raises(NotSent, match="closed"):
        await http_client.send(POST)


async def test_open_unsupported_http_client_raises_configuration_error() -> None:
    """The error names the class of the wrong client and the supported ones."""
    with pytest.raises(ConfigurationError, match=r"an httpx2\.AsyncClient .* got httpx\.Client"):
        await HttpClient.open("https://a.example", ApiKeySource(KEY), connections=1, timeout=1, http=httpx.Client())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "base_url", ["http://localhost:8765/", "http://127.0.0.1:1", "http://[::1]:9", "https://a.example/x/"]
)
async def test_open_loopback_or_https_url_is_accepted(base_url: str) -> None:
    """A trailing slash is removed."""
    async with client_to(base_url, lambda: None) as http_client:
        assert http_client.base_url == base_url.rstrip("/")


async def test_key_quoted_by_server_is_redacted() -> None:
    """The key is neither in a repr nor in what a server quotes back."""
    assert KEY not in repr(ApiKeySource(KEY))
    async with peer(http_response({"message": f"bad key {KEY}"}, "401 Unauthorized")) as server:
        async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(max_attempts=1)) as client:
            assert KEY not in repr(client)
            with pytest.raises(AuthenticationError, match=r"bad key \*\*\*") as caught:
                await client.balance()
    assert KEY not in repr(caught.value.raw)


def test_repr_of_request_and_key_shows_no_secret() -> None:
    """A traceback that prints local values shows neither the key nor the request's content."""
    key = SentKey.from_secret(Secret(KEY))
    outgoing = TransportRequest("POST", "https://a.example", "/x", key.headers, b"a secret prompt")
    assert KEY not in repr(key) + repr(outgoing)
    assert "secret" not in repr(outgoing)


async def test_key_quoted_in_header_or_escaped_is_redacted() -> None:
    """The key is redacted in headers and in escaped form too."""
    key = 'sk-made/up"key-0123456789'
    body = '{"message": "bad key sk-made\\/up\\"key-0123456789"}'
    async with peer(http_response(body, "401 Unauthorized", x_request_id=f"echo {key}")) as server:
        async with WeryAI(key, base_url=server.url, retries=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(AuthenticationError, match=r"bad key \*\*\*") as caught:
                await client.balance()
    assert caught.value.request_id == "echo ***"
    assert "0123456789" not in repr(caught.value.raw)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_key_rejected_is_refreshed_and_read_repeated(kind: str) -> None:
    """Keys can be rotated while a client is open. After a 401 the callable runs again, and the read is repeated."""
    keys = ["sk-old-key-000", "sk-new-key-111"]

    async def read_key() -> str:
        return keys.pop(0)

    refused = http_response({"status": 1002, "desc": "Authentication failed"}, "401 Unauthorized")
    async with peer(refused, http_response({"status": 0, "data": 12})) as server:
        async with WeryAI(read_key if kind == "async" else lambda: keys.pop(0), base_url=server.url) as client:
            assert await client.balance() == 12
    assert [b"sk-old" in server.requests[0], b"sk-new" in server.requests[1]] == [True, True]


async def test_key_unchanged_after_rejection_is_not_retried() -> None:
    """If the callable returns the same key again, the rejection is raised after one request."""
    async with peer(http_response("", "401 Unauthorized")) as server:
        async with WeryAI(lambda: "sk-same-key-000", base_url=server.url) as client:
            with pytest.raises(AuthenticationError):
                await client.balance()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [(lambda: "", "non-empty"), (lambda: 5, "got int"), (lambda: 1 / 0, "raised ZeroDivisionError")],
    ids=["empty", "number", "raises"],
)
async def test_key_callable_without_key_raises_configuration_error(source: Any, message: str) -> None:
    """The error names the mistake of the callable. Nothing is sent."""
    with pytest.raises(ConfigurationError, match=message):
        async with WeryAI(source, base_url="https://api.example.com"):
            pass


async def test_key_with_line_break_is_rejected_without_quoting() -> None:
    """A key with a line break would become a header of its own."""
    with pytest.raises(ConfigurationError, match="an HTTP header can carry") as caught:
        async with WeryAI("sk-a\nb", base_url="https://api.example.com"):
            pass
    assert "sk-a" not in str(caught.value)


async def test_balance_after_failures_is_repeated() -> None:
    """A balance request is repeated after a 500, an HTML page and a 429. Retry-After is obeyed."""
    answers = (
        http_response("oops", "500 Internal Server Error"),
        http_response("<html>"),
        http_response("", "429 Too Many Requests", retry_after="0.01"),
        http_response({"status": 0, "data": {"balance": 7.5}}),
    )
    async with peer(*answers) as server:
        async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(initial_backoff=0.001)) as client:
            assert await client.balance() == 7.5


async def test_connections_are_reused() -> None:
    """Twenty sequential requests use one connection. Twenty concurrent ones use as many as the gate admits."""
    limits = Limits(submissions=2, polls=3, downloads=1)
    async with peer(http_response({"status": 0, "data": 1})) as server:
        async with WeryAI(KEY, base_url=server.url, limits=limits) as client:
            for _ in range(20):
                await client.balance()
            assert server.connections == 1
            await asyncio.gather(*(client.balance() for _ in range(20)))
            assert server.connections == 3


async def test_send_cancelled_releases_connection() -> None:
    """After a cancelled request, the pool has its connection free again."""

    async def silent_once(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with serving(silent_once) as url, peer(http_response({})) as server:
        http_client = await HttpClient.open(
            url, ApiKeySource(KEY), connections=1, timeout=5, allow_hosts=parse_hosts("allow_hosts", ["127.0.0.1"])
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await http_client.send(GET)
        async with http_client.download(server.url, {}) as body:
            assert body.http_status == 200
        await http_client.aclose()


async def test_fetch_unreachable_host_raises_download_error() -> None:
    """The error holds the URL, which still has the output."""
    async with peer(None) as server:
        url = server.url + "/x.png"
    async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(initial_backoff=0.001)) as client:
        with pytest.raises(DownloadError, match="cannot fetch") as caught:
            await client.fetch(Asset(url))
    assert caught.value.url == url


async def test_balance_cancelled_often_leaves_no_dead_connection() -> None:
    """After hundreds of reads cancelled at any moment, the next read succeeds."""
    async with peer(http_response({"status": 0, "data": 1})) as server:
        async with WeryAI(KEY, base_url=server.url, http_timeout=2.0) as client:
            for number in range(300):
                reading = asyncio.ensure_future(client.balance())
                for _ in range(number % 40):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            async with asyncio.timeout(2):
                assert await client.balance() == 1
        gc.collect()


async def test_send_over_httpx_cancelled_with_response_ends_cancelled() -> None:
    """A cancellation at the same moment as the response is not swallowed.

    Otherwise a timeout around it would never end.
    """
    async with peer(http_response({"a": 1})) as server, client_to(server.url, lambda: "httpx") as http_client:
        for number in range(500):
            sending = asyncio.ensure_future(http_client.send(GET))
            for _ in range(number % 7):
                await asyncio.sleep(0.0003 if number % 3 else 0)
            if not sending.done():
                sending.cancel()
                await asyncio.wait([sending])
                assert sending.cancelled(), f"round {number}"
        del sending  # its traceback holds a connection
        gc.collect()


async def test_send_after_close_opens_no_connection() -> None:
    """A request after closing raises NotSent and opens no connection."""
    async with peer(http_response({})) as server:
        http_client = await HttpClient.open(server.url, ApiKeySource(KEY), connections=1, timeout=5)
        await http_client.aclose()
        with pytest.raises(NotSent, match="closed"):
            await http_client.send(GET)
    assert server.connections == 0
