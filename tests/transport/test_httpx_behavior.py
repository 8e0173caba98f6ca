"""`httpx.AsyncClient` does the same over PooledTransport as over httpx's own transport, but for what the page lists."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

import attrs
import httpx
import pytest

from aiowery.transport import PooledTransport
from tests.support import serving
from tests.transport.echo_server import ENDS, RESPONSES, EchoServer

pytestmark = pytest.mark.anyio

SHORT: Final = 0.25
"""A timeout in seconds that a request waits for."""


@attrs.frozen
class Site:
    """A client over one transport, and the servers that it may use."""

    client: httpx.AsyncClient
    url: str
    tls_url: str
    make: Callable[..., httpx.AsyncBaseTransport]


Ask = Callable[[Site], Awaitable[Any]]


def sent(method: str, path: str, **settings: Any) -> Ask:
    """Return a request to a path."""
    return lambda site: site.client.request(method, f"{site.url}{path}", **settings)


def uploaded(make: Callable[[], Any], path: str = "/x", **settings: Any) -> Ask:
    """Return a POST of a body that is made anew for each transport."""
    return lambda site: site.client.post(f"{site.url}{path}", content=make(), **settings)


async def chunks(*parts: bytes, fault: Exception | None = None) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a body, and perhaps raise."""
    for part in parts or (b"hello ", b"", b"world"):
        yield part
        await asyncio.sleep(0)
    if fault is not None:
        raise fault


def read_by(name: str, path: str) -> Ask:
    """Return a GET whose body is read by one of the iterators of a response."""

    async def ask(site: Site) -> Any:
        async with site.client.stream("GET", f"{site.url}{path}") as response:
            parts = [part async for part in getattr(response, name)()]
        joined = parts if name == "aiter_lines" or not parts else parts[0][:0].join(parts)
        return joined, response.num_bytes_downloaded, response.is_closed

    return ask


async def left_early(site: Site) -> Any:
    """Read the beginning of a body, and go on with another request."""
    async with site.client.stream("GET", f"{site.url}/big") as response:
        first = await anext(response.aiter_raw())
    return response.status_code, first[:5], (await site.client.get(f"{site.url}/after")).json()["line"]


async def read_twice(site: Site) -> Any:
    """Read a body that has been read."""
    async with site.client.stream("GET", f"{site.url}/lines") as response:
        assert [part async for part in response.aiter_raw()]
        return [part async for part in response.aiter_raw()]


async def read_closed(site: Site) -> Any:
    """Read a body after its end has been waived."""
    async with site.client.stream("GET", f"{site.url}/big") as response:
        await response.aclose()
        return await response.aread()


def then_get(ask: Ask) -> Ask:
    """Return a request, and another one after it over the same client."""

    async def both(site: Site) -> Any:
        first = await outcome_of(site, ask)
        return first, (await site.client.get(f"{site.url}/after")).json()["line"]

    return both


async def read_after_client_closed(site: Site) -> Any:
    """Read a body that has not arrived when the client closes."""
    async with site.client.stream("GET", f"{site.url}/half") as response:
        await site.client.aclose()
        return await response.aread()


async def arrived_before_client_closed(site: Site) -> Any:
    """Read the text of a whole response after the client has closed."""
    response = await site.client.get(f"{site.url}/lines")
    await site.client.aclose()
    return response.text, response.is_closed


async def closed_twice(site: Site) -> Any:
    """Close a response twice, and go on with another request."""
    async with site.client.stream("GET", f"{site.url}/big") as response:
        await response.aclose()
        await response.aclose()
    await response.aclose()
    return response.is_closed, (await site.client.get(f"{site.url}/after")).json()["line"]


def closed_while_reading(path: str) -> Ask:
    """Close a response between two parts of its body, and go on reading."""

    async def ask(site: Site) -> Any:
        parts = []
        async with site.client.stream("GET", f"{site.url}{path}") as response:
            async for part in response.aiter_raw():
                parts.append(part)
                await response.aclose()
        return b"".join(parts), response.is_closed

    return ask


async def client_closed_twice(site: Site) -> Any:
    """Close a client twice."""
    await site.client.get(f"{site.url}/x")
    await site.client.aclose()
    await site.client.aclose()
    return site.client.is_closed


async def two_streams(site: Site) -> Any:
    """Read two bodies by turns."""
    async with (
        site.client.stream("GET", f"{site.url}/big") as one,
        site.client.stream("GET", f"{site.url}/lines") as other,
    ):
        begun, ended = one.aiter_raw(), other.aiter_raw()
        first = len(await anext(begun)) > 0
        whole = b"".join([part async for part in ended])
        return first, whole, sum([len(part) async for part in begun]) > 0


class Unsized:
    """A file without a known size, which may fail in the middle."""

    def __init__(self, *parts: bytes, fault: Exception | None = None) -> None:
        self._parts = list(parts)
        self._fault = fault

    def read(self, _: int = -1) -> bytes:
        """Return the next part, or raise at the end."""
        if not self._parts and self._fault is not None:
            raise self._fault
        return self._parts.pop(0) if self._parts else b""


def with_file(make: Callable[[], Any], path: str = "/x") -> Ask:
    """Return a multipart POST of a file that is made anew for each transport."""
    return lambda site: site.client.post(f"{site.url}{path}", files={"f": ("a.bin", make())}, data={"b": "2"})


def failing_chunks(fault: BaseException) -> AsyncGenerator[bytes, None]:
    """Return a body that raises before its first part."""

    async def body() -> AsyncGenerator[bytes, None]:
        raise fault
        yield b""  # a generator

    return body()


def cancelled(path: str, content: Callable[[], Any] = lambda: None) -> Ask:
    """Return a POST that is cancelled, and a request after it."""

    async def ask(site: Site) -> Any:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SHORT / 5):
                await site.client.post(f"{site.url}{path}", content=content())
        return (await site.client.get(f"{site.url}/after")).json()["line"]

    return ask


async def cancelled_connecting(site: Site) -> Any:
    """Cancel a request to a server that does not accept."""
    with pytest.raises(TimeoutError), unaccepting() as url:
        async with asyncio.timeout(SHORT / 5):
            await site.client.get(url)


async def connect_timeout(site: Site) -> Any:
    """Send to a server that does not accept."""
    with unaccepting() as url:
        return await site.client.get(url, timeout=SHORT)


async def pool_timeout(site: Site) -> Any:
    """Wait for the only connection, which is in use."""
    transport = site.make(limits=httpx.Limits(max_connections=1))
    async with httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(5, pool=SHORT)) as client:
        async with client.stream("GET", f"{site.url}/big"):
            return await client.get(f"{site.url}/x")


async def closed_client(site: Site) -> Any:
    """Send over a client that is closed."""
    await site.client.aclose()
    return await site.client.get(f"{site.url}/x")


async def other_name(site: Site) -> Any:
    """Send over TLS, and expect another name in the certificate than that of the url."""
    return await site.client.get(f"{site.tls_url}/x", extensions={"sni_hostname": "localhost"})


async def wrong_name(site: Site) -> Any:
    """Send over TLS, and expect a name that the certificate does not have."""
    return await site.client.get(f"{site.tls_url}/x", extensions={"sni_hostname": "other.example"})


async def untrusted(site: Site) -> Any:
    """Send to a server whose authority is unknown."""
    transport = site.make(verify=ssl.create_default_context())
    async with httpx.AsyncClient(transport=transport) as client:
        return await client.get(f"{site.tls_url}/x")


async def digest_auth(site: Site) -> Any:
    """Answer a challenge, with the body once more."""
    return await site.client.post(f"{site.url}/digest", auth=httpx.DigestAuth("u", "p"), content=b"hi")


async def extensions(site: Site) -> Any:
    """Return the names of a response's extensions."""
    return sorted((await site.client.get(f"{site.url}/x")).extensions)


async def cookies(site: Site) -> Any:
    """Send the cookies that a response has set."""
    await site.client.get(f"{site.url}/cookie")
    return await site.client.get(f"{site.url}/x")


async def once_more(site: Site) -> Any:
    """Send two reads; the server closes with the second, before it answers."""
    await site.client.get(f"{site.url}/once-more")
    return await site.client.get(f"{site.url}/once-more")


class unaccepting:  # noqa: N801 - a context manager
    """A server whose queue of connections is full."""

    def __enter__(self) -> str:
        self._sockets = [socket.socket() for _ in range(4)]
        listener, *waiting = self._sockets
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    def __exit__(self, *_: object) -> None:
        for one in self._sockets:
            one.close()


def plain_parts() -> Iterator[bytes]:
    """Yield a body without a loop."""
    yield b"hello"


async def cancelled_by_its_source(site: Site) -> Any:
    """Send a body whose source raises CancelledError, and another request."""
    with pytest.raises(asyncio.CancelledError):
        await site.client.post(f"{site.url}/x", content=failing_chunks(asyncio.CancelledError()))
    return (await site.client.get(f"{site.url}/after")).json()["line"]


METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
LARGE: Final = b"x" * 12_000_000
BODILESS: Final = ("/204", "/304", "/304-with-length", "/empty", "/empty-chunked")
ASKS: Final[Mapping[str, Ask]] = {
    **{method: sent(method, "/a/b?c=d%20e", headers={"X-A": "1"}) for method in METHODS},
    **{f"path {path}": sent("GET", path) for path in RESPONSES if "30" not in path},
    **{f"end {path}": sent("GET", path) for path in ENDS},
    "query": sent("GET", "/x", params={"a": "ü &", "b": ["1", "2"]}),
    "odd path": sent("GET", "/ü/%2F//../x?#fragment"),
    "json": sent("POST", "/x", json={"a": 1}),
    "form": sent("POST", "/x", data={"a": "1"}),
    "multipart of a file": with_file(lambda: io.BytesIO(b"hello" * 100_000)),
    "multipart of several files": sent("POST", "/x", files=[("f", b"one"), ("f", ("b.txt", b"two", "text/plain"))]),
    "multipart of an empty file": with_file(io.BytesIO),
    "multipart of a file without a size": with_file(lambda: Unsized(b"hello ", b"world")),
    "multipart of text": with_file(lambda: io.StringIO("hello")),
    "multipart": sent("POST", "/x", files={"f": ("a.txt", b"hello")}, data={"b": "2"}),
    "large body": sent("POST", "/x", content=LARGE),
    "empty body": sent("POST", "/x", content=b""),
    "streamed body": uploaded(chunks),
    "streamed body with a length": uploaded(chunks, headers={"content-length": "11"}),
    "streamed body without parts": uploaded(lambda: chunks(b"")),
    "streamed body too short": uploaded(chunks, headers={"content-length": "12"}),
    "streamed body too long": uploaded(chunks, headers={"content-length": "10"}),
    "streamed body that raises": uploaded(lambda: chunks(b"hello", fault=LookupError("no disk"))),
    "streamed body that raises at once": then_get(uploaded(lambda: failing_chunks(LookupError("no disk")))),
    "streamed body that is cancelled": cancelled_by_its_source,
    "streamed body that raises late": then_get(uploaded(lambda: chunks(LARGE, fault=LookupError("no disk")))),
    "streamed body with a length that raises":
        then_get(uploaded(lambda: chunks(b"hello", fault=OSError(5, "no disk")), headers={"content-length": "99"})),
    "multipart that raises": then_get(with_file(lambda: Unsized(b"hello", fault=LookupError("no disk")))),
    "streamed body then another": then_get(uploaded(chunks)),
    "streamed body without a loop": uploaded(plain_parts),
    **{f"redirect {path}": sent("POST", path, content=b"hi", follow_redirects=True)
       for path in RESPONSES if "/30" in path},
    "redirect of a stream": uploaded(chunks, "/307", follow_redirects=True),
    "redirect that is not followed": sent("GET", "/302"),
    "redirect loop": sent("GET", "/loop", follow_redirects=True),
    "redirect to another scheme": sent("GET", "/elsewhere", follow_redirects=True),
    "redirect to nowhere": sent("GET", "/bad-location", follow_redirects=True),
    "cookies": cookies,
    "basic auth": sent("GET", "/basic", auth=("u", "p")),
    "digest auth": digest_auth,
    "auth in the url": lambda site: site.client.get(site.url.replace("//", "//u:p@") + "/basic"),
    "non-ascii header": sent("GET", "/x", headers={"X-A": "Grüße"}),
    "latin-1 header": sent("GET", "/x", headers=[(b"X-A", "Grüße".encode("latin-1"))]),
    **{f"{name} of {path}": read_by(name, path) for path in ("/lines", "/gzip", "/twice", "/latin", "/chunked")
       for name in ("aiter_bytes", "aiter_raw", "aiter_text", "aiter_lines")},
    "left early": left_early,
    "read twice": read_twice,
    "read closed": read_closed,
    **{f"{name} of {path} then get": then_get(read_by(name, path)) for path in BODILESS
       for name in ("aiter_bytes", "aiter_raw", "aiter_lines")},
    **{f"{method} without a body then get": then_get(sent(method, path)) for method, path in (
        ("HEAD", "/x"), ("POST", "/204"), ("PUT", "/304"), ("DELETE", "/empty"), ("GET", "/empty-chunked"))},
    "read after the client closed": read_after_client_closed,
    "read before the client closed": arrived_before_client_closed,
    "response closed twice": closed_twice,
    **{f"{path} closed while it is read": closed_while_reading(path) for path in ("/big", "/lines", "/chunked")},
    "method with a blank": sent("G T", "/x"),
    "client closed twice": client_closed_twice,
    "two streams by turns": two_streams,
    "cancelled connecting": cancelled_connecting,
    "cancelled sending": cancelled("/deaf", lambda: LARGE),
    "cancelled streaming": cancelled("/deaf", lambda: chunks(LARGE)),
    "cancelled waiting": cancelled("/silent"),
    "cancelled reading": cancelled("/half"),
    "connect timeout": connect_timeout,
    "pool timeout": pool_timeout,
    "write timeout": sent("POST", "/deaf", content=LARGE, timeout=SHORT),
    "write timeout of a stream": uploaded(lambda: chunks(LARGE), "/deaf", timeout=SHORT),
    "read timeout": sent("GET", "/silent", timeout=SHORT),
    "read timeout within the body": sent("GET", "/half", timeout=SHORT),
    "no timeout": sent("GET", "/x", timeout=None),
    "closed client": closed_client,
    "connection refused": lambda site: site.client.get("http://127.0.0.1:1/"),
    "no such host": lambda site: site.client.get("http://name.invalid/"),
    "other scheme": lambda site: site.client.get("ftp://127.0.0.1/"),
    "no scheme": lambda site: site.client.get("127.0.0.1/x"),
    "https": lambda site: site.client.get(f"{site.tls_url}/x"),
    "sni_hostname": other_name,
    "wrong name": wrong_name,
    "untrusted": untrusted,
    "https of a plain server": lambda site: site.client.get(site.url.replace("http:", "https:"), timeout=SHORT),
    "http of a tls server": lambda site: site.client.get(site.tls_url.replace("https:", "http:")),
    "once more": once_more,
    "early refusal": sent("POST", "/deaf-early", content=LARGE, timeout=SHORT),
    "early refusal of a stream": uploaded(lambda: chunks(LARGE), "/deaf-early", timeout=SHORT),
    "response extensions": extensions,
}  # fmt: skip


async def outcome_of(site: Site, ask: Ask) -> Any:
    """Return what a caller gets: the facts of a response, or the exception's class of httpx."""
    try:
        answer = await ask(site)
    except httpx.HTTPError as error:
        kind = next(cls for cls in type(error).__mro__ if cls.__module__ == "httpx")
        return kind.__name__, error.request.method, error.request.url.path
    except Exception as error:  # noqa: BLE001 - any exception must be the same
        return type(error).__name__, str(error)
    if not isinstance(answer, httpx.Response):
        return answer
    return {
        "status": (answer.status_code, answer.reason_phrase, answer.http_version),
        "headers": [(name.lower(), value) for name, value in answer.headers.raw],
        "body": answer.text,
        "history": [response.status_code for response in answer.history],
        "url": str(answer.url),
        "cookies": dict(site.client.cookies),
    }


async def outcomes(name: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> list[Any]:
    """Return the outcome of a request over each transport, of servers at the same address."""
    found = []
    server = EchoServer()
    async with serving(server.serve) as url, serving(server.serve, tls=server_tls) as tls_url:
        for make in (httpx.AsyncHTTPTransport, PooledTransport):
            async with httpx.AsyncClient(transport=make(verify=client_tls)) as client:
                found.append(await outcome_of(Site(client, url, tls_url, make), ASKS[name]))
        server.over.set()
    return found


DIFFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "HTTP/2, upgrades (101), Unix sockets, the extensions `target` and `network_stream`": ("response extensions",),
    "a read (GET, HEAD, OPTIONS) that meets a connection which the server had closed": ("once more",),
    "responses that are refused": ("path /same-lengths",),
    "a streamed body of another length than its header announces": (
        "streamed body too short",
        "streamed body too long",
    ),
    "a response that comes before a large body has left": ("early refusal", "early refusal of a stream"),
}
"""The subjects of the page's table, and the requests above whose outcomes differ."""
ELSEWHERE: Final[Mapping[str, str]] = {
    "a streamed body that no header announces": (
        "test_httpx.test_handle_async_request_body_that_no_header_announces_is_refused"
    ),
    "trio": "test_httpx.test_handle_async_request_without_asyncio_is_refused",
    "`timeout` extension": "test_httpx.test_total_extension_limits_the_whole_response",
    "`trace` extension": "test_trace.test_trace_events_of_an_exchange_are_those_of_httpcore",
    "`Keep-Alive: timeout=N, max=N` of a server": (
        "test_conformance_connections.test_connection_that_the_server_will_close_is_not_used_again"
    ),
}
"""Subjects of the page's table that other tests prove."""
DIFFERENT: Final = frozenset(name for names in DIFFERENCES.values() for name in names)


@pytest.mark.parametrize("name", ASKS)
async def test_client_over_pooled_transport_behaves_as_over_httpx(
    name: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Status, headers, body and the type of the exception are those of httpx's own transport, or on the page."""
    over_httpx, over_pooled = await outcomes(name, server_tls, client_tls)
    if name in DIFFERENT:
        assert over_pooled != over_httpx, "the page lists a difference that is none"
    else:
        assert over_pooled == over_httpx
