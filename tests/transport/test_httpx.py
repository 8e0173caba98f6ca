"""httpx over PooledTransport does what it does over its own transport, apart from what the page lists."""

from __future__ import annotations

import asyncio
import gc
import gzip
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx
import pytest

from aiowery.transport import PooledTransport
from tests.support import http_response, peer, serving

pytestmark = pytest.mark.anyio

MAKERS: Final[dict[str, Callable[[], httpx.AsyncBaseTransport]]] = {
    "httpx": httpx.AsyncHTTPTransport,
    "pooled": PooledTransport,
}
Ask = Callable[[httpx.AsyncClient, str], Awaitable[Any]]


async def _echo(  # noqa: C901, PLR0912 - one branch for each path
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer each request with its own first line, some headers and its body; a few paths do something else."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in head.split("\r\n")[1:] if line)}
        body = b""
        if "content-length" in headers:
            body = await reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while (size := int(await reader.readline(), 16)) > 0:
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        path = target.partition("?")[0]
        if path == "/redirect":
            writer.write(http_response("", "302 Found", location="/final"))
        elif path == "/cookie":
            writer.write(http_response("", "200 OK", set_cookie="a=1; Path=/"))
        elif path == "/gzip":
            writer.write(http_response(gzip.compress(b"hello"), content_encoding="gzip"))
        elif path == "/auth" and "authorization" not in headers:
            writer.write(http_response("", "401 Unauthorized", www_authenticate='Digest realm="r", nonce="n"'))
        elif path == "/204":
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif path == "/close":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
            return
        elif path == "/none":
            return
        elif path == "/odd":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n")
        elif path == "/slow":
            await asyncio.sleep(0.3)
            return
        elif path == "/big":
            writer.write(http_response(b"x" * 300_000))
        elif method == "HEAD":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        else:
            kept = {name: headers.get(name) for name in ("host", "accept", "cookie", "content-type", "x-a")}
            kept["authorization"] = headers.get("authorization", "")[:12]
            if "multipart" in (kept["content-type"] or ""):  # the boundary is random
                kept["content-type"], body = "multipart", b"multipart"
            writer.write(http_response({"line": f"{method} {target}", "headers": kept, "body": body.decode()[:20]}))
        await writer.drain()


async def _chunks() -> AsyncIterator[bytes]:
    yield b"hello "
    await asyncio.sleep(0)
    yield b"world"


async def _stream_lines(client: httpx.AsyncClient, url: str) -> Any:
    async with client.stream("GET", f"{url}/big") as response:
        return response.status_code, sum([len(part) async for part in response.aiter_bytes()])


async def _read_part(client: httpx.AsyncClient, url: str) -> Any:
    async with client.stream("GET", f"{url}/big") as response:
        parts = response.aiter_raw()
        return response.status_code, (await anext(parts))[:5]


async def _cancelled(client: httpx.AsyncClient, url: str) -> Any:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.get(f"{url}/slow")
    return (await client.get(f"{url}/after")).json()["line"]


def _requesting(method: str) -> Ask:
    return lambda client, url: client.request(method, f"{url}/a/b?c=d%20e", headers={"X-A": "1"})


ASKS: Final[dict[str, Ask]] = {
    **{method: _requesting(method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")},
    "json": lambda client, url: client.post(url, json={"a": 1}),
    "form": lambda client, url: client.post(url, data={"a": "1"}),
    "multipart": lambda client, url: client.post(url, files={"f": ("a.txt", b"hello")}),
    "streamed body": lambda client, url: client.post(url, content=_chunks()),
    "streamed body with a length": lambda client, url: client.post(
        url, content=_chunks(), headers={"content-length": "11"}
    ),
    "redirect": lambda client, url: client.get(f"{url}/redirect", follow_redirects=True),
    "cookie": lambda client, url: _after(client.get(f"{url}/cookie"), lambda: client.get(f"{url}/x")),
    "gzip": lambda client, url: client.get(f"{url}/gzip"),
    "basic auth": lambda client, url: client.get(f"{url}/auth", auth=("u", "p")),
    "digest auth": lambda client, url: client.get(f"{url}/auth", auth=httpx.DigestAuth("u", "p")),
    "no content": lambda client, url: client.get(f"{url}/204"),
    "until the end": lambda client, url: client.get(f"{url}/close"),
    "no response": lambda client, url: client.post(f"{url}/none"),
    "no http": lambda client, url: client.get(f"{url}/odd"),
    "read timeout": lambda client, url: client.get(f"{url}/slow", timeout=0.05),
    "connect error": lambda client, _: client.get("http://127.0.0.1:1/"),
    "no such host": lambda client, _: client.get("http://name.invalid/"),
    "other scheme": lambda client, _: client.get("ftp://127.0.0.1/"),
    "streamed response": _stream_lines,
    "response left early": _read_part,
    "cancelled": _cancelled,
}


async def _after(first: Awaitable[Any], then: Callable[[], Awaitable[Any]]) -> Any:
    await first
    return await then()


async def _outcome(make: Callable[[], httpx.AsyncBaseTransport], ask: Ask) -> Any:
    async with serving(_echo) as url, httpx.AsyncClient(transport=make()) as client:
        try:
            answer = await ask(client, url)
        except httpx.HTTPError as error:
            kind = next(cls for cls in type(error).__mro__ if cls.__module__ == "httpx")
            return kind.__name__, error.request.method
        if not isinstance(answer, httpx.Response):
            return answer
        headers = sorted((name, value) for name, value in answer.headers.items())
        return answer.status_code, headers, answer.text.replace(url.rpartition(":")[2], "PORT"), answer.http_version


@pytest.mark.parametrize("name", ASKS)
async def test_client_over_pooled_transport_behaves_as_over_httpx(name: str) -> None:
    """Status, headers, body and the type of the exception are those of httpx's own transport."""
    over_httpx, over_pooled = [await _outcome(make, ASKS[name]) for make in MAKERS.values()]
    if name == "no response":  # httpx tells a lost connection as either, depending on the moment
        assert over_pooled[0] in {"RemoteProtocolError", "ReadError"}
    else:
        assert over_pooled == over_httpx


@pytest.mark.parametrize(
    ("extensions", "headers"),
    [({"target": b"/x"}, {}), ({"network_stream": object()}, {}), ({}, {"upgrade": "websocket"})],
)
async def test_handle_async_request_unsupported_feature_is_refused(
    extensions: dict[str, Any], headers: dict[str, str]
) -> None:
    """What the transport does not support is refused by name, and nothing is sent."""
    async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.LocalProtocolError, match="not supported") as caught:
            await client.get(server.url, headers=headers, extensions=extensions)
    assert getattr(caught.value, "unsent", False)
    assert server.requests == []


async def test_handle_async_request_header_with_a_line_break_is_refused() -> None:
    """A value that would be a header of its own is never written."""
    async with peer(http_response("ok")) as server:
        async with PooledTransport() as transport:
            request = httpx.Request("GET", server.url)
            request.headers.raw.append((b"x", b"1\r\ny: 2"))
            request.headers = httpx.Headers([(b"host", b"x"), (b"x", b"1\r\ny: 2")])
            with pytest.raises(httpx.LocalProtocolError, match="HTTP forbids"):
                await transport.handle_async_request(request)
    assert server.requests == []


async def test_response_dropped_unread_gives_its_connection_up() -> None:
    """A streamed response that is forgotten warns, and its connection is closed."""
    async with peer(http_response(b"x" * 1_000_000)) as server, PooledTransport() as transport:
        request = httpx.Request("GET", server.url, extensions={"timeout": {"read": 1, "connect": 1, "pool": 1}})
        response = await transport.handle_async_request(request)
        with pytest.warns(ResourceWarning, match="was dropped unread"):  # noqa: PT031 - the collector warns
            del response
            gc.collect()
        await asyncio.sleep(0.01)
        assert transport.pool.connections == 0


async def test_total_extension_limits_the_whole_response() -> None:
    """The timeout extension knows `total`, from the first byte written to the end."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(30):
            if writer.is_closing():
                return
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(trickle) as url, httpx.AsyncClient(transport=PooledTransport()) as client:
        timeout = {"read": 1, "write": 1, "connect": 1, "pool": 1, "total": 0.05}
        with pytest.raises(httpx.ReadTimeout, match=r"not complete within 0\.05 s"):
            await client.get(url, extensions={"timeout": timeout})


async def test_client_without_a_response_left_open_warns_of_nothing() -> None:
    """Ordinary use leaves no warning, no task and no connection."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
            for _ in range(3):
                assert (await client.get(server.url)).text == "ok"
        gc.collect()
    assert server.connections == 1
    assert len(asyncio.all_tasks()) <= 2


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"hello", {"content-length": "3"}),
        (b"hello", {"content-length": "9"}),
        (b"hello", {"transfer-encoding": "chunked"}),
        (b"hello", {"content-length": "+5"}),
        (_chunks, {"content-length": "11", "transfer-encoding": "chunked"}),
        (_chunks, {"transfer-encoding": "gzip, chunked"}),
    ],
)
async def test_handle_async_request_body_that_does_not_fit_its_headers_is_refused(
    content: Any, headers: dict[str, str]
) -> None:
    """A body of another framing than announced would become the next request; nothing of it is sent."""
    async with peer(http_response("ok")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        body = content() if callable(content) else content
        with pytest.raises(httpx.LocalProtocolError, match="does not fit") as caught:
            await client.post(server.url, content=body, headers=headers)
        assert (await client.get(server.url)).text == "ok"
    assert getattr(caught.value, "unsent", False)
    assert len(server.requests) == 1


async def test_response_read_late_is_whole() -> None:
    """A response that has arrived waits for its reader longer than the read timeout, and its connection lives on."""
    async with peer(http_response("hello")) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        async with client.stream("GET", server.url, timeout=0.05) as response:
            await asyncio.sleep(0.15)
            assert await response.aread() == b"hello"
        assert (await client.get(server.url)).text == "hello"
    assert server.connections == 1


async def test_coded_body_comes_in_small_pieces() -> None:
    """A compressed body reaches httpx's decoder in pieces, so that a small one cannot fill the memory at once."""
    body = gzip.compress(b"\0" * 100_000_000)
    async with peer(http_response(body, content_encoding="gzip")) as server:
        async with (
            httpx.AsyncClient(transport=PooledTransport()) as client,
            client.stream("GET", server.url) as response,
        ):
            largest = max([len(part) async for part in response.aiter_bytes()])
    assert largest <= 20_000_000
