"""The reader finds where each response ends, and refuses a response whose end is unclear."""

from __future__ import annotations

import functools

import pytest

from aiowery.transport import RemoteProtocolError
from aiowery.transport._excerpt import clean_excerpt
from aiowery.transport._reader import ResponseReader
from tests.transport import fuzz
from tests.transport.fuzz import GluingReader, LosingReader, UnguardedReader, differences


def read(data: bytes, *, reader: ResponseReader | None = None, head: bool = False, step: int = 0) -> ResponseReader:
    """Feed bytes to a reader, whole or in steps, until the response is complete or refused."""
    reader = reader or ResponseReader()
    reader.begin(is_head=head)
    for start in range(0, len(data), step or len(data)):
        reader.feed(memoryview(data[start : start + (step or len(data))]))
    return reader


def body_of(reader: ResponseReader) -> bytes:
    """Return the body read so far."""
    return b"".join(reader.body)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("step", [0, 1, 7], ids=["whole", "bytewise", "in sevens"])
@pytest.mark.parametrize(
    ("data", "body", "can_continue"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
        (OK + b"Content-Length: 0\r\n\r\n", b"", True),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi", b"hi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi", True),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n1;x=y\r\nh\r\n1\r\ni\r\n0\r\nX: y\r\n\r\n", b"hi", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 16 + OK + b"Content-Length: 2\r\n\r\nhi", b"hi", True),
        (b"HTTP/1.1 102 P\r\nContent-Length: 0\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", b"", True),
    ],
)  # fmt: skip
def test_reader_legal_response_is_read(data: bytes, body: bytes, can_continue: bool, step: int) -> None:
    """Every legal framing ends where HTTP says, however the bytes are split."""
    reader = read(data, step=step)
    assert (reader.status >= 200, reader.is_complete, reader.can_continue) == (True, True, can_continue)
    assert body_of(reader) == body


def test_reader_close_delimited_response_ends_with_the_connection() -> None:
    """A response without a length is complete at the end of the connection, which then carries nothing else."""
    reader = read(OK + b"\r\nhello")
    assert (reader.is_complete, reader.ends_with_connection) == (False, True)
    reader.end()
    assert (reader.is_complete, reader.can_continue, body_of(reader)) == (True, False, b"hello")


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 2", OK, OK + b"Content-Length: 3\r\n\r\nhi"])
def test_reader_end_within_the_response_is_refused(data: bytes) -> None:
    """An end before the response's own end is an error, which knows whether anything had come."""
    reader = ResponseReader()
    if data:
        reader.feed(memoryview(data))
    with pytest.raises(RemoteProtocolError) as caught:
        reader.end()
    assert caught.value.nothing_received is not bool(data)
    assert caught.value.excerpt == data.decode().replace("\r\n", "\n")


def test_reader_head_response_ends_after_its_head() -> None:
    """The length of a HEAD's response announces no body; the connection is not used again."""
    reader = read(OK + b"Content-Length: 5\r\n\r\n", head=True)
    assert (reader.is_complete, reader.can_continue) == (True, False)


@pytest.mark.parametrize("extra", [OK + b"Content-Length: 1\r\n\r\n!", b"garbage", b"\x00"])
@pytest.mark.parametrize("step", [0, 1])
def test_reader_bytes_after_the_response_leave_it_as_it_is(extra: bytes, step: int) -> None:
    """A second response is not glued to the first; the first stands, and the connection is not used again."""
    reader = read(b"HTTP/1.1 429 Busy\r\nContent-Length: 2\r\n\r\nhi" + extra, step=step)
    assert (reader.status, body_of(reader), reader.is_complete, reader.can_continue) == (429, b"hi", True, False)
    assert reader.headers == [(b"Content-Length", b"2")]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17 + OK + b"Content-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 110 Odd\r\nContent-Length: 3\r\n\r\nabc" + OK + b"Content-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"garbage\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 2, 2\r\n\r\nhi",
        OK + b"Content-Length: -2\r\n\r\nhi",
        OK + b"Content-Length: +2\r\n\r\nhi",
        OK + b"Content-Length: 0x2\r\n\r\nhi",
        OK + b"Content-Length: \r\n\r\nhi",
        OK + b"Content-Length: 18446744073709551616\r\n\r\nhi",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nhi",
        OK + b"Transfer-Encoding: identity\r\n\r\nhi",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n",
        OK + b"X: a\r\n b\r\n\r\n",
        OK.replace(b"\r", b"") + b"\n",
        OK + b"X: a\x00b\r\n\r\n",
        OK + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        OK + b"X: y\r\n" * 201 + b"\r\n",
        b"\r\n" * 40_000 + OK + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200_000 + b"\r\nh\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [65_536, 4096, 1000])
def test_reader_response_of_unclear_end_is_refused(data: bytes, step: int) -> None:
    """A response that another reader could end elsewhere, or that never ends, is refused with its beginning.

    Nothing that follows in the same bytes counts as the response.
    """
    reader = ResponseReader()
    with pytest.raises(RemoteProtocolError) as caught:
        read(data, reader=reader, step=step)
    assert not reader.is_complete
    assert caught.value.excerpt.startswith(clean_excerpt(data[:4]))
    assert len(caught.value.excerpt) <= 2048


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (OK + b"X: y\r\nContent-Length: +2\r\nZ: 1\r\n\r\nhi", "Content-Length: +2"),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "Content-Length: 3"),
        (OK + b"X: a\x00\x1b[31mb\r\n\r\n", "X: a??[31mb"),
        (OK + b"X: a\r\n b\r\n\r\n", "b"),
        (OK + b"Transfer-Encoding: gzip\r\n\r\nhi", "Transfer-Encoding: gzip"),
        (OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: gzip, chunked"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0x2\r\n", "0x2"),
        (b"HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 102 Processing"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 101 Switching"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "HTTP/2.0 200 OK"),
        (b"\r\n<html>" + b"x" * 300, "<html>" + "x" * 194),
        (OK + b"A: b\r\n" * 200 + b"C: d\r\n\r\n", "C: d"),
    ],
)  # fmt: skip
def test_reader_refused_response_shows_its_line(data: bytes, line: str) -> None:
    """The message ends with the line at which the response was refused: at most 200 bytes, one line, printable.

    If the response arrives bytewise, it is as much of the line as has arrived.
    """
    with pytest.raises(RemoteProtocolError) as caught:
        read(data)
    assert str(caught.value).endswith(f"; the line is: {line}")
    with pytest.raises(RemoteProtocolError) as caught:
        read(data, step=1)
    assert line.startswith(str(caught.value).partition("; the line is: ")[2])


def test_reader_line_beyond_the_kept_bytes_is_not_shown() -> None:
    """A chunk far into a body is refused without a line."""
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096 + b"\r\n0x2\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        read(data)
    assert "the line is" not in str(caught.value)


def test_reader_long_body_in_small_chunks_is_read() -> None:
    """Framing is counted since the last byte of body: ten megabytes in chunks of 1,000 bytes are legal."""
    chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
    reader = read(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 10_000 + b"0\r\n\r\n", step=65_536)
    assert (reader.is_complete, reader.body_bytes) == (True, 10_000_000)


def test_reader_trailers_are_ignored() -> None:
    """A field after the body changes neither the headers nor the framing."""
    reader = read(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n0\r\nX-Late: 1\r\nConnection: close\r\n\r\n")
    assert (reader.is_complete, reader.headers) == (True, [(b"Transfer-Encoding", b"chunked")])


def test_reader_header_values_lose_their_outer_blanks() -> None:
    """Blanks around a value are not a part of it; repeated fields and other bytes stay."""
    reader = read(OK + b"X: \t a b \t \r\nSet-Cookie: a\r\nSet-Cookie: b\r\nN: \xc3\xa9\r\nContent-Length: 0\r\n\r\n")
    assert reader.headers[:4] == [(b"X", b"a b"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"N", b"\xc3\xa9")]


def test_reader_serves_one_response_after_another() -> None:
    """One reader reads the responses of a connection; nothing of the first is left in the second."""
    reader = read(OK + b"Content-Length: 2\r\nX: 1\r\n\r\nhi")
    reader.begin(is_head=False)
    assert (reader.status, reader.body, reader.headers, reader.has_started) == (0, [], [], False)
    reader.feed(memoryview(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
    assert (reader.status, reader.reason, reader.is_complete, reader.can_continue) == (404, b"Not Found", True, True)


@pytest.mark.slow("thousands of mutated responses, each read three times")
def test_reader_agrees_with_h11() -> None:
    """Of mutated responses none is read differently by h11, and none is accepted that h11 refuses, but for a list."""
    assert list(differences(seed=1, count=12_000)) == []


@pytest.mark.parametrize(
    ("reader", "rules"),
    [
        (GluingReader, ("bytewise reading differs", "by h11 as")),
        (LosingReader, ("bytewise reading differs", "by h11 as")),
        (UnguardedReader, ("accepted, although h11 refuses it",)),
    ],
)
def test_fuzz_planted_fault_is_found(reader: type[ResponseReader], rules: tuple[str, ...]) -> None:
    """A reader with one fault is found within a few hundred responses, by the rules that it breaks alone."""
    found = {rule for _, rule in differences(seed=1, count=600, make_reader=reader)}
    assert all(any(rule in text for text in found) for rule in rules)
    assert all(any(rule in text for rule in rules) for text in found)


@pytest.mark.parametrize(("reader", "status"), [(ResponseReader, 0), (GluingReader, 1)])
def test_fuzz_by_hand_counts_the_differences(
    reader: type[ResponseReader], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The number of responses is an option, and a difference is an exit status."""
    monkeypatch.setattr(fuzz, "differences", functools.partial(differences, make_reader=reader))
    monkeypatch.setattr("sys.argv", ["fuzz", "300", "2"])
    assert fuzz.main() == status
    assert capsys.readouterr().out.splitlines()[-1].startswith("300 responses, ")
