"""Compare the reader with h11 on mutated responses: `python -m tests.transport.fuzz 1000000`.

Never may both accept a response and read it differently, and never may the reader accept what h11 refuses, except for
what `is_known_difference` lists. Every response is read whole and byte by byte, with the same outcome.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from typing import Final

import h11

from aiowery.transport import RemoteProtocolError
from aiowery.transport._reader import ResponseReader

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Read = tuple[int, bytes] | None
"""Status and body of a response, None for a refused one."""
MakeReader = Callable[[], ResponseReader]

_HEADS: Final = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 110 Odd\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n",
)  # fmt: skip
_FIELDS: Final = (
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Content-Type: text/plain; charset=utf-8\r\n",
    b"X-Odd: \t a \r\n", b"Transfer-Encoding: gzip\r\n", b"Content-Length: 05\r\n", b"Keep-Alive: timeout=5, max=3\r\n",
)  # fmt: skip
_BODIES: Final = (
    b"hello", b"", b"5\r\nhello\r\n0\r\n\r\n", b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello" * 50,
    b"helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"helloHTTP/1.1 429 Busy\r\nContent-Length: 2\r\n\r\nno",
)  # fmt: skip
_ODD: Final = (b"\r", b"\n", b"\0", b" ", b":", b"0", b"-", b"\xff", b",", b"\t", b"chunked", b"\r\n", b"HTTP/1.1 ")


def responses(seed: int, count: int) -> Iterator[bytes]:
    """Yield mutated responses."""
    chosen = random.Random(seed)  # noqa: S311 - repeatable
    for _ in range(count):
        fields = b"".join(chosen.choices(_FIELDS, k=chosen.randrange(4)))
        data = bytearray(chosen.choice(_HEADS) + fields + b"\r\n" + chosen.choice(_BODIES))
        for _ in range(chosen.choice((0, 0, 1, 1, 2, 3))):
            place = chosen.randrange(len(data) + 1)
            match chosen.randrange(3):
                case 0:
                    data[place:place] = chosen.choice(_ODD)
                case 1:
                    del data[place : place + chosen.randrange(1, 4)]
                case _:
                    data[place : place + 1] = bytes((chosen.randrange(256),))
        yield bytes(data)


def read_ours(data: bytes, step: int, make_reader: MakeReader = ResponseReader) -> Read:
    """Return the response as the reader reads it, the end of the connection included."""
    reader = make_reader()
    try:
        for start in range(0, len(data), step):
            reader.feed(memoryview(data[start : start + step]))
            if reader.is_complete:
                break
        if not reader.is_complete:
            reader.end()
    except RemoteProtocolError:
        # A connection raises no failure behind a complete response.
        return (reader.status, b"".join(reader.body)) if reader.is_complete else None
    return reader.status, b"".join(reader.body)


def read_h11(data: bytes) -> Read:
    """Return the response as h11 reads it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    status, body = 0, b""
    ended = False
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    return None
                connection.receive_data(b"")
                ended = True
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


class GluingReader(ResponseReader):
    """A reader with a planted fault: it adds the body of a second response to the first."""

    def on_body(self, data: bytes) -> None:
        """Keep a part of a body, also behind the end of the response."""
        if self.is_complete:
            self.body.append(data)
        else:
            super().on_body(data)


class LosingReader(ResponseReader):
    """A reader with a planted fault: it keeps the last part of a body alone."""

    def on_body(self, data: bytes) -> None:
        """Forget what came before."""
        self.body = []
        super().on_body(data)


class UnguardedReader(ResponseReader):
    """A reader with a planted fault: it leaves Transfer-Encoding to llhttp."""

    def _framing(self) -> tuple[list[bytes], list[bytes]]:
        return [], super()._framing()[1]


def is_known_difference(data: bytes) -> bool:
    """Return True for what the reader accepts and h11 refuses, without a doubt about where the response ends.

    These are line ends before a status line, and control characters in a reason phrase.
    """
    reasons = re.findall(rb"HTTP/1\.[01] [0-9]{3}([^\r\n]*)", data)
    return bool(re.search(rb"(\A|\r\n\r\n)[\r\n]+HTTP/1", data)) or any(_CONTROL.search(reason) for reason in reasons)


def differences(seed: int, count: int, make_reader: MakeReader = ResponseReader) -> Iterator[tuple[bytes, str]]:
    """Yield the responses on which a rule is broken, with the rule."""
    for data in responses(seed, count):
        ours, theirs = read_ours(data, len(data) or 1, make_reader), read_h11(data)
        if ours != read_ours(data, 1, make_reader):
            yield data, "bytewise reading differs"
        if ours is not None and theirs is None and not is_known_difference(data):
            yield data, "accepted, although h11 refuses it"
        if ours is not None and theirs is not None and ours != theirs:
            yield data, f"read as {ours}, by h11 as {theirs}"


def main() -> int:
    """Print the differences of so many responses; return 1 if there are any."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    found = 0
    for data, rule in differences(seed, count):
        found += 1
        if found <= 20:
            sys.stdout.write(f"{rule}: {data!r}\n")
    sys.stdout.write(f"{count:,} responses, {found:,} differences\n")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
