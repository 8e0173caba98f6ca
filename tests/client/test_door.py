"""The door on real sockets: whose exceptions become ours, where the key goes, how many connections there are."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import trustme
from support import KEY, http_answer, peer, serving

from aiowery import Asset, Limits, RetryPolicy, WeryAI
from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient, _Key
from aiowery._http.transport import TransportRequest
from aiowery.errors import (
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    NoAnswer,
    NotSent,
    TransportError,
    UnexpectedResponse,
)

pytestmark = pytest.mark.anyio

GET = HttpRequest("GET", "/v1/x")
POST = HttpRequest("POST", "/v1/x", b"{}")
Make = Callable[[], Any]


@pytest.fixture(params=["own connections", "fast", "caller's httpx", "caller's httpx2"])
def make_http(request: pytest.FixtureRequest) -> Make:
    """Return how a test's HTTP client is made: every promise of the door holds for all of them."""
    makers: dict[str, Make] = {
        "own connections": lambda: None,
        "fast": lambda: "fast",
        "caller's httpx": httpx.AsyncClient,
        "caller's httpx2": httpx2.AsyncClient,
    }
    return makers[request.param]


@contextlib.asynccontextmanager
async def door_to(url: str, make_http: Make, *, timeout: float = 5.0) -> AsyncIterator[HttpClient]:
    """Open a door, and the caller's client if there is one."""
    http = make_http()
    door = await HttpClient.open(url, ApiKeySource(KEY), connections=24, timeout=timeout, http=http)
    try:
        yield door
    finally:
        await door.aclose()
        if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
            assert not http.is_closed, "a caller's client is the caller's to close"
            await http.aclose()


async def test_a_whole_answer_comes_through(make_http: Make) -> None:
    """Status, headers in lower case and body arrive; the key goes in its header, never in the url."""
    async with peer(http_answer({"a": 1}, X_Request_Id="r-1")) as server, door_to(server.url, make_http) as door:
        answer = await door.send(POST)
    assert answer.http_status == 200
    assert answer.json() == {"a": 1}
    assert answer.request_id == "r-1"
    head, _, body = server.heard[0].partition(b"\r\n\r\n")
    assert f"authorization: bearer {KEY}".encode() in head.lower()
    assert KEY.encode() not in head.split(b"\r\n")[0]
    assert body == b"{}"


async def test_an_answer_that_comes_compressed_is_read(make_http: Make) -> None:
    """Nobody asked for it, but some servers compress whatever they send."""
    packed = http_answer(gzip.compress(b'{"a": 1}'), content_encoding="gzip")
    async with peer(packed) as server, door_to(server.url, make_http) as door:
        assert (await door.send(GET)).json() == {"a": 1}


async def test_nobody_there_was_provably_not_sent(make_http: Make) -> None:
    """A refused connection is safe to repeat."""
    async with peer(None) as server:
        url = server.url
    async with door_to(url, make_http) as door:
        with pytest.raises(NotSent, match="nothing was sent"):
            await door.send(POST)


async def test_a_failed_tls_handshake_was_provably_not_sent(make_http: Make) -> None:
    """A server that speaks no TLS never saw the request."""
    heard = b""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b"this is no TLS\r\n")
        heard = await reader.read(10_000)

    async with serving(no_tls) as url, door_to(url.replace("http:", "https:"), make_http) as door:
        with pytest.raises(NotSent):
            await door.send(POST)
    assert heard
    assert b"POST" not in heard


async def test_only_a_trusted_certificate_is_spoken_to(
    make_http: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate of an authority that nobody knows ends the call unsent; named in SSL_CERT_FILE, it is trusted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with peer(http_answer({"a": 1}), tls=context) as server:
        async with door_to(server.url, make_http) as door:
            with pytest.raises(NotSent, match=r"(?i)certificate"):
                await door.send(POST)
        assert server.heard == []
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        async with door_to(server.url, make_http) as door:
            assert (await door.send(POST)).json() == {"a": 1}


async def test_an_unknown_host_was_provably_not_sent(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS fails before anything is sent."""

    async def no_such_host(*_: Any, **__: Any) -> Any:
        raise OSError("Name or service not known")

    async with door_to("https://nowhere.example", make_http) as door:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_host)
        with pytest.raises(NotSent):
            await door.send(POST)


async def test_closed_without_a_word_may_have_arrived(make_http: Make) -> None:
    """The server read the request and hung up: that is no proof of anything."""
    async with peer(None) as server, door_to(server.url, make_http) as door:
        with pytest.raises(NoAnswer, match="may have arrived"):
            await door.send(POST)
    assert len(server.heard) == 1


async def test_a_hang_up_on_a_connection_used_before_may_have_arrived_and_nobody_repeats_it(make_http: Make) -> None:
    """HTTP libraries like to repeat on a new connection what a kept one has swallowed; a paid POST goes out once."""
    heard = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        for answer in (http_answer({}), b""):
            await reader.readuntil(b"\r\n\r\n{}")
            heard += 1
            writer.write(answer)

    async with serving(answer_once) as url, door_to(url, make_http) as door:
        await door.send(POST)
        with pytest.raises(NoAnswer):
            await door.send(POST)
    assert heard == 2


async def test_a_connection_that_the_server_has_closed_costs_no_request(make_http: Make) -> None:
    """After an answer the server closes; later calls find out before they send, or say that they may have arrived."""
    heard = 0

    async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        await reader.readuntil(b"\r\n\r\n{}")
        heard += 1
        writer.write(http_answer({}))

    async with serving(answer_and_close) as url, door_to(url, make_http) as door:
        for _ in range(5):
            await door.send(POST)
            await asyncio.sleep(0.05)
    assert heard == 5


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{", b"nonsense\r\n\r\n"],
    ids=["truncated", "not http"],
)
async def test_a_broken_answer_may_have_arrived(make_http: Make, answer: bytes) -> None:
    """Half an answer, or none that is HTTP, leaves the question open."""
    async with peer(answer) as server, door_to(server.url, make_http) as door:
        with pytest.raises(NoAnswer):
            await door.send(POST)


async def test_silence_ends_in_no_answer(make_http: Make) -> None:
    """The read time-out counts as "may have arrived", on a connection used before as well."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_answer({}))
        await reader.read()

    async with serving(slow) as url, door_to(url, make_http, timeout=0.2) as door:
        await door.send(GET)
        with pytest.raises(NoAnswer, match="Timeout"):
            await door.send(POST)


async def test_a_body_that_trickles_is_given_up(make_http: Make) -> None:
    """A byte now and then never runs into a read time-out; twice the time-out for all of it is enough."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _n in range(100):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(trickle) as url, door_to(url, make_http, timeout=0.2) as door:
        with pytest.raises(NoAnswer, match=r"did not end within 0\.4 s|timed out"):
            await door.send(POST)


async def test_an_answer_without_end_is_cut_off(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer beyond the bound is not read into memory."""
    monkeypatch.setattr("aiowery._http.http_client._LARGEST_ANSWER", 1000)
    async with peer(http_answer(b"x" * 5000)) as server, door_to(server.url, make_http) as door:
        with pytest.raises(UnexpectedResponse, match="more than 1000 bytes"):
            await door.send(GET)


async def test_a_redirect_takes_the_key_nowhere(make_http: Make) -> None:
    """No call of the API is redirected: neither the key nor the paid POST goes to another address."""
    async with peer(http_answer("")) as elsewhere:
        moved = http_answer("", "307 Temporary Redirect", location=elsewhere.url)
        async with peer(moved) as server, door_to(server.url, make_http) as door:
            assert (await door.send(POST)).http_status == 307
            assert (await door.send(GET)).http_status == 307
    assert elsewhere.heard == []


async def test_downloads_carry_no_credentials(make_http: Make) -> None:
    """Neither our key nor what a caller's client adds to every request reaches the host of the files."""
    http = make_http()
    if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
        http.headers["authorization"] = "Bearer callers-own"
        http.headers["x-api-key"] = "callers-own"
        http.cookies.set("session", "callers-own")
    async with peer(http_answer("file")) as files:
        moved = http_answer("", "302 Found", location=files.url + "/b.png")
        async with peer(moved) as server, door_to(server.url, lambda: http) as door:
            async with door.download(server.url + "/a.png", {"range": "bytes=0-"}) as body:
                assert [chunk async for chunk in body.chunks()] == [b"file"]
    for heard in (*server.heard, *files.heard):
        assert b"callers-own" not in heard
        assert KEY.encode() not in heard
        assert b"range: bytes=0-" in heard.lower()


async def test_redirects_of_downloads_end_somewhere(make_http: Make) -> None:
    """A circle of redirects is left after five."""
    async with peer(http_answer("", "302 Found", location="/again")) as server, door_to(server.url, make_http) as door:
        with pytest.raises(TransportError, match="more than 5 redirects"):
            async with door.download(server.url, {}):
                pass
    assert len(server.heard) == 6


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
        "data:image/png;base64,AAAA",
        "http://files.example:port/x.png",
        "x.png",
    ],
)
async def test_a_server_cannot_make_us_read_our_own_network(url: str) -> None:
    """An output's address in a private network, or of another scheme, is not fetched."""
    async with door_to("https://api.example.com", lambda: None) as door:
        with pytest.raises(DownloadError, match="nothing was fetched"):
            async with door.download(url, {}):
                pass


async def test_an_address_that_a_library_refuses_is_unsent(make_http: Make) -> None:
    """What one library reads another may not; nothing raw comes out of the door."""
    async with door_to("https://api.example.com", make_http) as door:
        for url in ("https://a b.example/x", "https://ex\x7fample.com/x", "https://[v1.fe]/x", "https://xn--/x"):
            with pytest.raises((DownloadError, TransportError)):
                async with asyncio.timeout(5):
                    async with door.download(url, {}):
                        pass


async def test_the_environments_proxies_are_obeyed(make_http: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is used, NO_PROXY is not; httpx itself would forget both for connections made by hand."""
    async with peer(http_answer({"via": "proxy"})) as proxy, peer(http_answer({"via": "direct"})) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        async with door_to(server.url, make_http) as door:
            assert (await door.send(GET)).json() == {"via": "proxy"}
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with door_to(server.url, make_http) as door:
            assert (await door.send(GET)).json() == {"via": "direct"}


async def test_a_proxy_that_refuses_the_tunnel_proves_that_nothing_was_sent(
    make_http: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's CONNECT is not the request: when it fails, nothing has been paid for."""
    async with peer(http_answer("", "403 Forbidden")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with door_to("https://api.example.com", make_http) as door:
            with pytest.raises(NotSent):
                await door.send(POST)
    assert proxy.heard[0].startswith(b"CONNECT api.example.com:443")


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_closed_client_of_the_callers_sends_nothing(library: Any) -> None:
    """Somebody closed it under our hands: a clear word, and safe to repeat."""
    http = library.AsyncClient()
    door = await HttpClient.open("https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http)
    await http.aclose()
    with pytest.raises(NotSent, match="closed"):
        await door.send(POST)


async def test_something_else_as_http_client_is_refused() -> None:
    """The wrong package's client is named, with what would be right."""
    with pytest.raises(ConfigurationError, match=r"http=httpx\.Client: an httpx.AsyncClient or httpx2.AsyncClient"):
        await HttpClient.open("https://a.example", ApiKeySource(KEY), connections=1, timeout=1, http=httpx.Client())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base_url", "complaint"),
    [
        ("http://api.example.com", "must use https"),
        ("http://127.0.0.1.evil.example", "must use https"),
        ("ftp://api.example.com", "a URL such as"),
        ("api.example.com", "a URL such as"),
        ("", "a URL such as"),
        ("https://user:secret@api.example.com", "credentials"),
        ("https://api.example.com?key=1", "query"),
        ("https://api.example.com:port", "must be a URL, got"),
    ],
)
def test_a_base_url_that_would_leak_or_fail_is_refused(base_url: str, complaint: str) -> None:
    """Plain http would send the key in the clear; only loopback may. The secret is not repeated in the error."""
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        WeryAI(KEY, base_url=base_url or " ")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "base_url", ["http://localhost:8765/", "http://127.0.0.1:1", "http://[::1]:9", "https://a.example/x/"]
)
async def test_loopback_and_https_are_fine(base_url: str) -> None:
    """A trailing slash does not double."""
    async with door_to(base_url, lambda: None) as door:
        assert door.base_url == base_url.rstrip("/")


async def test_the_key_is_stars_wherever_it_could_be_read() -> None:
    """Not in a repr, and not in what a server quotes back."""
    assert KEY not in repr(ApiKeySource(KEY))
    async with peer(http_answer({"message": f"bad key {KEY}"}, "401 Unauthorized")) as server:
        async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(max_attempts=1)) as client:
            assert KEY not in repr(client)
            with pytest.raises(AuthenticationError, match=r"bad key \*\*\*") as caught:
                await client.balance()
    assert KEY not in repr(caught.value.raw)


def test_what_the_door_hands_on_shows_no_key() -> None:
    """A traceback that prints local values, as some do, prints neither the key nor what was asked."""
    key = _Key.of(KEY)
    outgoing = TransportRequest("POST", "https://a.example", "/x", key.headers, b"a secret prompt")
    assert KEY not in repr(key) + repr(outgoing)
    assert "secret" not in repr(outgoing)


async def test_the_key_is_stars_in_headers_and_behind_escapes() -> None:
    """A server that quotes the key with slashes escaped, or as a request id, does not get it into our errors either."""
    key = 'sk-made/up"key-0123456789'
    body = '{"message": "bad key sk-made\\/up\\"key-0123456789"}'
    async with peer(http_answer(body, "401 Unauthorized", x_request_id=f"echo {key}")) as server:
        async with WeryAI(key, base_url=server.url, retries=RetryPolicy(max_attempts=1)) as client:
            with pytest.raises(AuthenticationError, match=r"bad key \*\*\*") as caught:
                await client.balance()
    assert caught.value.request_id == "echo ***"
    assert "0123456789" not in repr(caught.value.raw)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_key_is_asked_for_again_when_refused(kind: str) -> None:
    """Keys can be rotated while running: after a 401 the callable is asked again and the read goes on."""
    keys = ["sk-old-key-000", "sk-new-key-111"]

    async def ask() -> str:
        return keys.pop(0)

    refused = http_answer({"status": 1002, "desc": "Authentication failed"}, "401 Unauthorized")
    async with peer(refused, http_answer({"status": 0, "data": 12})) as server:
        async with WeryAI(ask if kind == "async" else lambda: keys.pop(0), base_url=server.url) as client:
            assert await client.balance() == 12
    assert [b"sk-old" in server.heard[0], b"sk-new" in server.heard[1]] == [True, True]


async def test_a_key_that_stays_refused_is_not_tried_for_ever() -> None:
    """The callable gives the same key again: the refusal is raised after one request."""
    async with peer(http_answer("", "401 Unauthorized")) as server:
        async with WeryAI(lambda: "sk-same-key-000", base_url=server.url) as client:
            with pytest.raises(AuthenticationError):
                await client.balance()
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("source", "complaint"),
    [(lambda: "", "gave no key"), (lambda: 5, "gave no key"), (lambda: 1 / 0, "raised ZeroDivisionError")],
    ids=["empty", "number", "raises"],
)
async def test_a_callable_that_gives_no_key_is_a_mistake_before_any_request(source: Any, complaint: str) -> None:
    """What the callable did wrong is said; nothing is sent."""
    with pytest.raises(ConfigurationError, match=complaint):
        async with WeryAI(source, base_url="https://api.example.com"):
            pass


async def test_a_key_no_header_can_carry_is_refused_without_being_shown() -> None:
    """A key with a line break inside would be a header of its own."""
    with pytest.raises(ConfigurationError, match="no HTTP header can carry") as caught:
        async with WeryAI("sk-a\nb", base_url="https://api.example.com"):
            pass
    assert "sk-a" not in str(caught.value)


async def test_reads_are_repeated_until_they_succeed() -> None:
    """A balance survives a 500, a page and a hang-up; Retry-After is obeyed."""
    answers = (
        http_answer("oops", "500 Internal Server Error"),
        http_answer("<html>"),
        http_answer("", "429 Too Many Requests", retry_after="0.01"),
        http_answer({"status": 0, "data": {"balance": 7.5}}),
    )
    async with peer(*answers) as server:
        async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(initial_backoff=0.001)) as client:
            assert await client.balance() == 7.5


async def test_connections_are_kept_and_used_again() -> None:
    """Twenty calls one after the other use one connection; twenty at once use as many as the gate lets through."""
    limits = Limits(submissions=2, polls=3, downloads=1)
    async with peer(http_answer({"status": 0, "data": 1})) as server:
        async with WeryAI(KEY, base_url=server.url, limits=limits) as client:
            for _ in range(20):
                await client.balance()
            assert server.connections == 1
            await asyncio.gather(*(client.balance() for _ in range(20)))
            assert server.connections == 3


async def test_the_pool_has_room_for_as_many_as_the_gates() -> None:
    """Idle connections to another host make way instead of adding up beyond the pool's size."""
    async with peer(http_answer("x")) as first, peer(http_answer("y")) as second:
        door = await HttpClient.open(first.url, ApiKeySource(KEY), connections=1, timeout=5)
        for _ in range(3):
            await door.send(GET)
            async with door.download(second.url, {}) as body:
                assert [chunk async for chunk in body.chunks()] == [b"y"]
        await door.aclose()
    assert (first.connections, second.connections) == (3, 3)


async def test_a_call_that_is_cancelled_gives_its_connection_back() -> None:
    """After a cancellation the pool is as good as new."""

    async def silent_once(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()

    async with serving(silent_once) as url, peer(http_answer({})) as server:
        door = await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await door.send(GET)
        async with door.download(server.url, {}) as body:
            assert body.http_status == 200
        await door.aclose()


async def test_a_download_from_a_dead_host_is_a_download_error() -> None:
    """What cannot be reached is said once, with the url that still holds the output."""
    async with peer(None) as server:
        url = server.url + "/x.png"
    async with WeryAI(KEY, base_url=server.url, retries=RetryPolicy(initial_backoff=0.001)) as client:
        with pytest.raises(DownloadError, match="cannot fetch") as caught:
            await client.fetch(Asset(url))
    assert caught.value.url == url


# Older releases of anyio leave the socket of a cancelled connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_cancelled_reads_leave_no_dead_connection() -> None:
    """Reads given up at any moment, hundreds of times: the next one is answered as ever."""
    async with peer(http_answer({"status": 0, "data": 1})) as server:
        async with WeryAI(KEY, base_url=server.url, http_timeout=2.0) as client:
            for turn in range(300):
                reading = asyncio.ensure_future(client.balance())
                for _ in range(turn % 40):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            async with asyncio.timeout(2):
                assert await client.balance() == 1
        gc.collect()


async def test_who_is_cancelled_on_the_fast_way_ends_cancelled() -> None:
    """A cancellation that comes just as the answer does is not swallowed: a time-out around it would never end."""
    async with peer(http_answer({"a": 1})) as server, door_to(server.url, lambda: "fast") as door:
        for turn in range(500):
            calling = asyncio.ensure_future(door.send(GET))
            for _ in range(turn % 7):
                await asyncio.sleep(0.0003 if turn % 3 else 0)
            if not calling.done():
                calling.cancel()
                await asyncio.wait([calling])
                assert calling.cancelled(), f"turn {turn}"
        del calling  # its traceback holds a connection
        gc.collect()


async def test_nothing_is_sent_after_closing() -> None:
    """What still runs when the client closes opens no connection behind its back."""
    async with peer(http_answer({})) as server:
        door = await HttpClient.open(server.url, ApiKeySource(KEY), connections=1, timeout=5)
        await door.aclose()
        with pytest.raises(NotSent, match="closed"):
            await door.send(GET)
    assert server.connections == 0


@pytest.mark.parametrize(("http", "proxy"), [(None, "socks4"), ("fast", "socks4"), ("fast", "socks5")])
async def test_a_proxy_that_cannot_be_used_is_a_mistake_before_any_request(
    http: Any, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment names a proxy of a kind that the library cannot use: it is not passed by in silence."""
    monkeypatch.setenv("all_proxy", f"{proxy}://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"ALL_PROXY|SOCKS proxy"):
        async with door_to("https://api.example.com", lambda: http) as door:
            await door.send(POST)
