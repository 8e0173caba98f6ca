"""A server that shows each request as it has arrived, and answers some paths with a fixed response."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Mapping
from typing import Final

import attrs

from tests.support import http_response


@attrs.frozen
class Request:
    """A request as the server has read it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path without the query."""
        return self.target.partition("?")[0]

    def echo(self) -> bytes:
        """Return a response that shows the request."""
        names = ("accept", "content-type", "content-length", "cookie", "host", "transfer-encoding", "x-a")
        kept = {name: self.headers.get(name) for name in names}
        kept["authorization"] = self.headers.get("authorization", "")[:12]  # the rest of a digest is random
        body = self.body.decode("latin-1")
        if "multipart" in (kept["content-type"] or ""):  # so is a boundary
            kept |= {"content-type": "multipart"}
            body = f"{len(self.body)} bytes"
        return http_response({"line": f"{self.method} {self.target}", "headers": kept, "body": body[:40]})


async def _read_request(first: bytes, reader: asyncio.StreamReader) -> Request:
    """Read a whole request, whose first bytes have been read."""
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split(" ", 2)
    fields = (line.split(":", 1) for line in head.split("\r\n")[1:] if line)
    headers = {name.lower(): value.strip() for name, value in fields}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    if headers.get("transfer-encoding") == "chunked":
        while (size := int(await reader.readuntil(b"\n"), 16)) > 0:
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    return Request(method, target, headers, body)


RAW: Final = zlib.compressobj(wbits=-zlib.MAX_WBITS)
LINES: Final = "eins\nzwei\r\ndrei Grüße\n\nfünf".encode()
PACKED: Final = gzip.compress(LINES)
OK: Final = b"HTTP/1.1 200 OK\r\n"
RESPONSES: Final[Mapping[str, bytes]] = {
    "/302": http_response("", "302 Found", location="/final"),
    "/303": http_response("", "303 See Other", location="final?a=b#part"),
    "/307": http_response("", "307 Temporary Redirect", location="/final"),
    "/308": http_response("", "308 Permanent Redirect", location="/final"),
    "/loop": http_response("", "302 Found", location="/loop"),
    "/elsewhere": http_response("", "302 Found", location="ftp://files.example/"),
    "/bad-location": http_response("", "302 Found", location="https://a b:x/"),
    "/cookie": OK + b"set-cookie: a=1; Path=/\r\nset-cookie: b=2; Path=/\r\ncontent-length: 0\r\n\r\n",
    "/lines": http_response(LINES, content_type="text/plain; charset=utf-8"),
    "/latin": http_response("Grüße".encode("latin-1"), content_type="text/plain; charset=iso-8859-1"),
    "/gzip": http_response(PACKED, content_encoding="gzip"),
    "/deflate": http_response(zlib.compress(LINES), content_encoding="deflate"),
    "/raw-deflate": http_response(RAW.compress(LINES) + RAW.flush(), content_encoding="deflate"),
    "/twice": http_response(zlib.compress(PACKED), content_encoding="gzip, deflate"),
    "/unknown-coding": http_response(LINES, content_encoding="x-own"),
    "/corrupt": http_response(b"no gzip", content_encoding="gzip"),
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/304": b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
    "/304-with-length": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
    "/empty": OK + b"content-length: 0\r\n\r\n",
    "/empty-chunked": OK + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "/chunked": OK + b"transfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nx-late: 1\r\n\r\n",
    "/interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + http_response("ok"),
    "/old": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "/odd-headers": OK + b"X-A: 1\r\nx-a:2\r\nX-B:\r\nX-C: \xc3\xa9\r\nX-D: \xe9\r\ncontent-length: 0\r\n\r\n",
    "/long-header": OK + b"x-a: " + b"a" * 60_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "/reason": b"HTTP/1.1 299 Quite Odd\r\ncontent-length: 0\r\n\r\n",
    "/no-reason": b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n",
    "/garbage": b"this is no response\r\n\r\n",
    "/odd-length": OK + b"content-length: x\r\n\r\n",
    "/same-lengths": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "/switch": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "/big": http_response(b"x" * 300_000),
}
ENDS: Final[Mapping[str, bytes]] = {
    "/none": b"",
    "/cut": http_response("hello world")[:-3],
    "/cut-chunk": OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
    "/cut-head": OK + b"x: ",
    "/until-the-end": OK + b"\r\nuntil the end",
    "/garbage": RESPONSES["/garbage"],
}
"""What is sent before the connection ends."""
CHALLENGES: Final[Mapping[str, bytes]] = {
    "/digest": http_response("", "401 Unauthorized", www_authenticate='Digest realm="r", nonce="n", qop="auth"'),
    "/basic": http_response("", "401 Unauthorized", www_authenticate='Basic realm="r"'),
}
DEAF: Final[Mapping[bytes, bytes]] = {b"/deaf-early": http_response("too large", "413 Content Too Large")}
"""What is sent after the first bytes, before the server stops to read."""
SILENT: Final[Mapping[str, bytes]] = {"/silent": b"", "/half": OK + b"content-length: 9\r\n\r\nhalf"}
"""What is sent before the server falls silent."""


class EchoServer:
    """A server that echoes requests; a few paths do something else.

    `over` ends the connections of which it reads nothing more.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until one ends the connection."""
        used = 0
        while first := await reader.read(32):
            if b"/deaf" in first:
                writer.write(DEAF.get(first.split()[1], b""))
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await self.over.wait()
                writer.transport.abort()
                return
            request = await _read_request(first, reader)
            if request.path == "/once-more" and used:
                return
            used += 1
            if request.path in ENDS:
                writer.write(ENDS[request.path])
                return
            if request.path in SILENT:
                writer.write(SILENT[request.path])
                await reader.read()
                return
            writer.write(_response_to(request))
            await writer.drain()


def _response_to(request: Request) -> bytes:
    if request.path in CHALLENGES and "authorization" not in request.headers:
        return CHALLENGES[request.path]
    if request.method == "HEAD":
        return OK + b"content-length: 5\r\n\r\n"
    return RESPONSES.get(request.path) or request.echo()
