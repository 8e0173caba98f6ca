"""What comes back, over every way: whose response it is, where it ends, how large it is and how long it takes."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from typing import Any, Final

import pytest

from aiowery._core.messages import HttpRequest
from aiowery.errors import DownloadError, NoAnswer, UnexpectedResponse
from tests.support import http_response, peer, serving
from tests.transport.conformance import GET, OK, POST, SHORT, Way, proves

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("trusting")]

OWN: Final = "a response belongs to its request, also after surplus bytes"
INTERIM: Final = "interim responses (1xx) are skipped; 101, 17 of them, and those with a body are refused"
UNCLEAR: Final = "a response whose end is unclear is refused"
CUT: Final = "a body cut over TLS is an error"
LIMIT: Final = "the head of a response, and the whole, have a limit"
ANNOUNCED: Final = "a length beyond the limit ends the read before the body"
OWN_LENGTH: Final = "a response that its own length cuts is no JSON, and a doubt"
BEHIND: Final = "bytes behind the announced end of a download are an error"
SILENT: Final = "a server that is silent, or accepts nothing, is given up in time"
TRICKLE: Final = "bytes that trickle are given up in time"
CODED: Final = "a compressed response is decoded within the limit"
UNDECODED: Final = "a coding that cannot be decoded, or is cut, is an error"
BEYOND_ASCII: Final = "bytes beyond ASCII in a header are no error, and none is lost"
STOPPED: Final = "a download that is left, or read slowly, stops its server"

Tls = Any
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter

HEAD: Final = b"HTTP/1.1 200 OK\r\n"
SURPLUS: Final = http_response({"ok": "not asked"})


@proves(OWN)
@pytest.mark.parametrize(
    "late", [SURPLUS, b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n", b"?"], ids=["whole", "408", "odd"]
)
async def test_bytes_to_a_resting_connection_are_no_response(way: Way, tls: Tls, late: bytes) -> None:
    """What a server sends while no request is under way is dropped with its connection."""
    writers: list[Writer] = []

    async def script(reader: Reader, writer: Writer) -> None:
        writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(OK)

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        await client.send(GET)
        writers[0].write(late)
        await asyncio.sleep(0.02)
        assert (await client.send(GET)).json() == {"ok": 1}
    assert len(writers) == 2


@proves(OWN, wholly=True)
async def test_bytes_behind_a_response_are_no_response(way: Way, tls: Tls) -> None:
    """The response stands, and its connection carries no other request."""
    async with peer(OK + SURPLUS, OK, tls=tls[0]) as server, way.client(server.url) as client:
        for _ in range(3):
            assert (await client.send(GET)).json() == {"ok": 1}
    assert server.connections == 2


@proves(INTERIM)
async def test_interim_responses_are_skipped(way: Way, tls: Tls) -> None:
    """The final response counts, however many interim ones are legal before it."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 14
    harmless = b"HTTP/1.1 102 Processing\r\ncontent-length: 0\r\n\r\n"
    async with peer(interim + harmless + OK, tls=tls[0]) as server, way.client(server.url) as client:
        for _ in range(2):
            assert (await client.send(POST)).json() == {"ok": 1}
    assert server.connections == 1


@proves(INTERIM, wholly=True)
async def test_interim_responses_without_end_are_refused(way: Way, tls: Tls) -> None:
    """One too many, one with a body and a switch to another protocol leave a doubt, and no connection."""
    refused = (
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK,
        b"HTTP/1.1 103 Early Hints\r\ncontent-length: 3\r\n\r\nabc" + OK,
        b"HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
        b"HTTP/1.1 110 Odd\r\ncontent-length: 3\r\n\r\nabc" + OK,
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + OK,
    )
    async with peer(*refused, OK, tls=tls[0]) as server, way.client(server.url) as client:
        for _ in refused:
            with pytest.raises(NoAnswer, match="may have arrived"):
                await client.send(POST)
        assert (await client.send(POST)).json() == {"ok": 1}
    assert server.connections == len(refused) + 1


@proves(UNCLEAR)
@pytest.mark.parametrize("step", [0, 1], ids=["whole", "bytewise"])
async def test_response_of_each_legal_framing_ends_where_it_should(way: Way, tls: Tls, step: int) -> None:
    """Length, chunks with extensions and trailers, no body, and the end of the connection."""
    legal = (
        (HEAD + b"Content-Length: 2\r\n\r\n{}", b"{}"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\n{\r\n1\r\n}\r\n0\r\nX-Late: 1\r\n\r\n", b"{}"),
        (HEAD + b"Content-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}", b"{}"),
        (HEAD + b"Connection: close\r\n\r\n{}", b"{}"),
    )
    waiting = [data for data, _ in legal]

    async def script(reader: Reader, writer: Writer) -> None:
        while waiting:
            await reader.readuntil(b"\r\n\r\n")
            data = waiting.pop(0)
            for start in range(0, len(data), step or len(data)):
                writer.write(data[start : start + (step or len(data))])
                await asyncio.sleep(0)

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        for _, body in legal:
            assert (await client.send(GET)).body == body


@proves(UNCLEAR)
async def test_response_that_no_reader_accepts_is_a_doubt(way: Way, tls: Tls) -> None:
    """What is no response, or has two lengths, is a doubt for a POST, and the next request is answered."""
    await refuse_all(
        way,
        tls,
        b"garbage\r\n\r\n",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        HEAD + b"Content-Length: -2\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n{}",
    )


@proves(UNCLEAR, wholly=True)
async def test_response_that_readers_end_elsewhere_is_a_doubt(way: Way, tls: Tls) -> None:
    """What another reader could end elsewhere is refused, although some accept it."""
    await refuse_all(
        way,
        tls,
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
        HEAD + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
        b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        HEAD + b"X: y\r\n" * 201 + b"Content-Length: 2\r\n\r\n{}",
    )


async def refuse_all(way: Way, tls: Tls, *refused: bytes) -> None:
    """Send a POST for each response, which must be refused; each ends its connection."""
    async with peer(*refused, OK, tls=tls[0]) as server, way.client(server.url) as client:
        for data in refused:
            with pytest.raises(NoAnswer, match="may have arrived"):
                pytest.fail(f"{data[:80]!r} was accepted as {await client.send(POST)}")
        assert (await client.send(POST)).json() == {"ok": 1}
    assert server.connections == len(refused) + 1


@proves(CUT)
async def test_body_with_a_length_that_is_cut_is_a_doubt(way: Way, tls: Tls) -> None:
    """A body that lacks bytes is no response, whether the end was announced or not."""
    await cut(way, tls, http_response(b"{} " * 10)[:-1])


@proves(CUT, wholly=True)
async def test_body_without_a_length_that_is_cut_over_tls_is_a_doubt(way: Way, server_tls: Tls) -> None:
    """Over TLS the end of a connection counts only if it was announced."""
    await cut(way, (server_tls,), HEAD + b"Connection: close\r\n\r\n{}")


async def cut(way: Way, tls: Tls, response: bytes) -> None:
    """Send a POST whose response ends with its TCP stream, over TLS without an announcement."""

    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(POST.body or b"")
        writer.write(response)
        await asyncio.sleep(0.01)
        writer.transport.abort()

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        with pytest.raises(NoAnswer, match="may have arrived"):
            await client.send(POST)


@proves(LIMIT)
@pytest.mark.parametrize("part", ["field", "chunk extension", "body"])
async def test_response_without_end_is_given_up(way: Way, tls: Tls, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field, a chunk's extension and a body that never end are not kept in memory."""
    monkeypatch.setattr("aiowery._http.http_client._MAX_RESPONSE", 300_000)
    begin = {
        "field": HEAD + b"x: ",
        "chunk extension": HEAD + b"transfer-encoding: chunked\r\n\r\n5;",
        "body": HEAD + b"\r\n",
    }[part]
    sent = 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal sent
        await reader.readuntil(POST.body or b"")
        writer.write(begin)
        while sent < 30_000_000 and not writer.is_closing():
            writer.write(b"a" * 50_000)
            await writer.drain()
            sent += 50_000

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        with pytest.raises(UnexpectedResponse if part == "body" else NoAnswer):
            await client.send(POST)
        assert sent < 20_000_000


@proves(LIMIT)
async def test_response_in_many_small_chunks_is_read(way: Way, tls: Tls) -> None:
    """The limit of what frames a body counts anew with each byte of it."""
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    whole = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 1000 + b"2\r\n{}\r\n0\r\n\r\n"
    async with peer(whole, tls=tls[0]) as server, way.client(server.url) as client:
        assert len((await client.send(GET)).body) == 1_000_002


@proves(ANNOUNCED)
async def test_length_beyond_the_limit_ends_the_read(way: Way, tls: Tls) -> None:
    """The head alone shows that the response is too long; it does not wait for the body."""
    head = HEAD + b"content-length: 100000000\r\n\r\n"
    async with peer(head, OK, tls=tls[0]) as server, way.client(server.url) as client:
        with pytest.raises(UnexpectedResponse, match="more than 16777216 bytes"):
            await client.send(POST)
        assert (await client.send(POST)).json() == {"ok": 1}
    assert server.connections == 2


def with_length(response: bytes, number: int) -> bytes:
    """Return a response with another Content-Length."""
    head, _, body = response.partition(b"\r\n\r\n")
    return head.replace(b"content-length: %d" % len(body), b"content-length: %d" % number) + b"\r\n\r\n" + body


@proves(OWN_LENGTH)
@pytest.mark.parametrize("missing", [1, 3, 9])
async def test_length_too_small_cuts_a_response(way: Way, tls: Tls, missing: int) -> None:
    """Each way reads so many bytes as are announced, and what is left of the JSON is none."""
    response = with_length(http_response({"ok": 1}, connection="close"), len(b'{"ok": 1}') - missing)
    async with peer(response, tls=tls[0]) as server, way.client(server.url) as client:
        answer = await client.send(POST)
        with pytest.raises(UnexpectedResponse, match=r"not JSON|an empty body"):
            answer.json()
    assert len(server.requests) == 1


@proves(BEHIND)
async def test_length_too_small_for_a_download_is_an_error(way: Way, tls: Tls) -> None:
    """A file of which only the beginning was announced is not taken for whole; one that is announced rightly is."""
    whole = http_response(b"a file of many bytes", connection="close")
    async with peer(with_length(whole, 7), whole, tls=tls[0]) as server, way.client(server.url) as client:
        async with client.download(server.url, {}) as body:
            chunks = body.chunks()
            assert await anext(chunks) == b"a file "
            with pytest.raises(NoAnswer, match="bytes follow the announced end of the response"):
                await anext(chunks)
        async with client.download(server.url, {}) as body:
            assert [chunk async for chunk in body.chunks()] == [b"a file of many bytes"]


@proves(SILENT)
async def test_server_that_is_silent_is_given_up(way: Way, tls: Tls) -> None:
    """A server that reads nothing, does not answer, or stops within the body, is a doubt after the timeout."""
    over = asyncio.Event()

    async def deaf(_: Reader, writer: Writer) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()
        writer.transport.abort()

    async def mute(reader: Reader, writer: Writer) -> None:
        if b"/body" in await reader.readuntil(POST.body or b""):
            writer.write(HEAD + b"content-length: 5\r\n\r\n{")
        await reader.read()

    async with serving(deaf, tls=tls[0]) as deaf_url, serving(mute, tls=tls[0]) as mute_url:
        async with way.client(deaf_url, SHORT) as to_deaf, way.client(mute_url, SHORT) as to_mute:
            ends = await asyncio.gather(
                to_deaf.send(HttpRequest("POST", "/paid", b"x" * 12_000_000)),
                to_mute.send(POST),
                to_mute.send(HttpRequest("POST", "/body", POST.body)),
                return_exceptions=True,
            )
            over.set()
    assert [type(end) for end in ends] == [NoAnswer] * 3, ends


@proves(TRICKLE)
async def test_body_that_trickles_is_given_up(way: Way, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not keep a request alive for ever."""
    await trickle(way, tls, HEAD + b"content-length: 1000\r\n\r\n", monkeypatch)


@proves(TRICKLE)
async def test_head_that_trickles_is_given_up(way: Way, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole response has a limit, its head included."""
    await trickle(way, tls, HEAD + b"x: ", monkeypatch)


async def trickle(way: Way, tls: Tls, begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a POST to a server that sends a byte every 10 ms."""
    monkeypatch.setattr("aiowery._http.transport._TOTAL_BEYOND_IDLE", SHORT)
    over = asyncio.Event()

    async def script(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(POST.body or b"")
        writer.write(begin)
        while not over.is_set() and not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    async with serving(script, tls=tls[0]) as url, way.client(url, SHORT) as client:
        with pytest.raises(NoAnswer, match="may have arrived"):
            async with asyncio.timeout(10 * SHORT):
                await client.send(POST)
        over.set()


@proves(CODED)
async def test_compressed_response_is_decoded(way: Way, tls: Tls) -> None:
    """Gzip and both forms of deflate are decoded, although none is accepted."""
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    coded = (
        http_response(gzip.compress(b'{"ok": 1}'), content_encoding="gzip"),
        http_response(gzip.compress(b'{"ok": 1}'), content_encoding="X-GZip"),
        http_response(zlib.compress(b'{"ok": 1}'), content_encoding="deflate"),
        http_response(raw.compress(b'{"ok": 1}') + raw.flush(), content_encoding="deflate"),
        http_response(b'{"ok": 1}', content_encoding="identity"),
    )
    async with peer(*coded, tls=tls[0]) as server, way.client(server.url) as client:
        for _ in coded:
            assert (await client.send(POST)).json() == {"ok": 1}
    assert all(b"accept-encoding: identity\r\n" in head.lower() for head in server.requests)


@proves(CODED)
async def test_compressed_response_beyond_the_limit_is_an_error(
    way: Way, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bomb of a few kilobytes is not unpacked, and the error names the coding and the limit."""
    monkeypatch.setattr("aiowery._http.http_client._MAX_RESPONSE", 100_000)
    bomb = http_response(gzip.compress(b" " * 20_000_000), content_encoding="gzip")
    async with peer(bomb, tls=tls[0]) as server, way.client(server.url) as client:
        tracemalloc.start()
        try:
            with pytest.raises(UnexpectedResponse, match="the gzip body has more than 100000 bytes"):
                await client.send(POST)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 5_000_000


@proves(UNDECODED)
async def test_coding_that_cannot_be_decoded_is_an_error(way: Way, tls: Tls) -> None:
    """An unknown coding, two at once and a cut body are no response, and say that the request has arrived."""
    whole = gzip.compress(b'{"ok": 1}')
    twice = gzip.compress(whole)
    coded = (
        (http_response(b"{}", content_encoding="br"), "'br'"),
        (http_response(b"{}", content_encoding="zstd"), "'zstd'"),
        (http_response(twice, content_encoding="gzip, gzip"), "'gzip, gzip'"),
        (http_response(twice, content_encoding="gzip\r\ncontent-encoding: gzip"), "'gzip, gzip'"),
        (http_response(whole[:-4], content_encoding="gzip"), "the gzip body is not complete"),
        (http_response(whole + b"x", content_encoding="gzip"), "the gzip body goes on after its end"),
        (http_response(b"{}", content_encoding="deflate"), "deflate"),
    )
    async with peer(*(data for data, _ in coded), tls=tls[0]) as server, way.client(server.url) as client:
        for _, reason in coded:
            with pytest.raises(UnexpectedResponse, match=f"{reason}.*; the request has arrived"):
                await client.send(POST)


@proves(UNDECODED)
@pytest.mark.parametrize(
    "coding", ["gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "gzip\r\ncontent-encoding: br"]
)
async def test_compressed_download_is_refused(way: Way, tls: Tls, coding: str) -> None:
    """A file whose bytes are coded is not saved as it is, and the error names the coding; "identity" is none."""
    named = coding.replace("\r\ncontent-encoding:", ",")
    coded, plain = (http_response(b"file", content_encoding=one) for one in (coding, "Identity"))
    async with peer(coded, plain, tls=tls[0]) as server, way.client(server.url) as client:
        with pytest.raises(DownloadError, match=f"content-encoding '{named}'"):
            async with client.download(server.url, {}):
                pass
        async with client.download(server.url, {}) as body:
            assert [chunk async for chunk in body.chunks()] == [b"file"]


@proves(BEYOND_ASCII)
async def test_header_bytes_beyond_ascii_are_kept(way: Way, tls: Tls) -> None:
    """UTF-8 and bytes that are no text are values like any other: no error, and no byte is lost."""
    odd = "Jörg €".encode() + b"\xff\x80"
    response = HEAD + b"x-request-id: " + odd + b"\r\nserver: \xe9\r\ncontent-length: 2\r\n\r\n{}"
    async with peer(response, tls=tls[0]) as server, way.client(server.url) as client:
        answer = await client.send(POST)
        async with client.download(server.url, {}) as body:
            assert body.headers["x-request-id"].encode("latin-1") == odd
    assert answer.headers["x-request-id"].encode("latin-1") == odd
    assert answer.headers["server"] == "é"


@proves(BEYOND_ASCII)
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/bild-ü.png?ä=€".encode(), b"/bild-%C3%BC.png?%C3%A4=%E2%82%AC"),
        (b"/bild-\xfc.png", b"/bild-%FC.png"),
        (b"/50%25-\xff%20a", b"/50%25-%FF%20a"),
    ],
    ids=["utf-8", "latin-1", "escapes"],
)
async def test_redirect_to_bytes_beyond_ascii_is_followed(way: Way, tls: Tls, location: bytes, target: bytes) -> None:
    """The bytes of a Location header are those of the next request, percent-encoded."""
    moved = b"HTTP/1.1 302 Found\r\nlocation: " + location + b"\r\ncontent-length: 0\r\n\r\n"
    async with peer(moved, http_response("file"), tls=tls[0]) as server, way.client(server.url) as client:
        async with client.download(server.url, {}) as body:
            assert [chunk async for chunk in body.chunks()] == [b"file"]
    assert server.requests[1].startswith(b"GET " + target + b" HTTP/1.1\r\n")


@proves(STOPPED)
async def test_download_stops_its_server(way: Way, tls: Tls) -> None:
    """A server cannot send more than is read, and a download that is left gives its connection up."""
    size, sent, connections = 40_000_000, 0, 0

    async def script(reader: Reader, writer: Writer) -> None:
        nonlocal sent, connections
        connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/file" not in head:
            writer.write(OK)
            return
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(b"x" * 200_000)
            await writer.drain()
            sent += 200_000

    async with serving(script, tls=tls[0]) as url, way.client(url) as client:
        async with client.download(f"{url}/file", {}) as body:
            assert await anext(body.chunks())
            await asyncio.sleep(0.05)
            assert 0 < sent < size
        assert (await client.send(GET)).json() == {"ok": 1}
    assert (connections, sent < size) == (2, True)
