"""The reader of a connection's responses: llhttp's callbacks, and guards where llhttp is more lenient than it is safe.

A response whose end is unclear could be followed by bytes that belong to another response, or to none. The reader
refuses it, although other libraries accept some of them. No callback raises: each sets a fault, and `feed` raises it.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from aiowery.transport._errors import RemoteProtocolError
from aiowery.transport._excerpt import MAX_EXCERPT, clean_excerpt, clean_quote

_MAX_OVERHEAD: Final = 64 * 1024
_MAX_FIELDS: Final = 200
_MAX_INTERIM: Final = 16
_MAX_QUOTED: Final = 200
_SWITCHING_PROTOCOLS: Final = 101
_FIRST_FINAL: Final = 200
_WITHOUT_BODY: Final = frozenset({204, 304})
_UP_TO_NEWLINE: Final = re.compile(rb"[^\n]*\n?")

Header = tuple[bytes, bytes]


class ResponseReader:
    """A reader of the responses on one connection, one after the other.

    `status` is 0 until the head of the final response has arrived. `body` holds the parts that were not taken yet, of
    `body_bytes` received and `announced` bytes (0 if the head does not say). `keep_alive`: the values of Keep-Alive.
    `is_complete`: the response has ended. `can_continue`: the connection may carry another request.
    """

    __slots__ = (
        "_fault",
        "_has_extra",
        "_interim",
        "_is_head_request",
        "_overhead",
        "_parser",
        "_start",
        "_until_close",
        "announced",
        "body",
        "body_bytes",
        "can_continue",
        "headers",
        "http_version",
        "is_complete",
        "keep_alive",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin(is_head=False)

    def begin(self, *, is_head: bool) -> None:
        """Expect the response to a request that is about to be written."""
        self._is_head_request = is_head
        self.status: int = 0
        self.reason: bytes = b""
        self.http_version: str = "1.1"
        self.headers: list[Header] = []
        self.body: list[bytes] = []
        self.body_bytes: int = 0
        self.announced: int = 0
        self.keep_alive: bytes = b""
        self.is_complete: bool = False
        self.can_continue: bool = False
        self._has_extra = False
        self._until_close = False
        self._fault: str | None = None
        self._overhead = 0
        self._interim = 0
        self._start = b""

    @property
    def has_started(self) -> bool:
        """True once a byte of a response has arrived."""
        return bool(self._start)

    @property
    def has_surplus(self) -> bool:
        """True if bytes have arrived behind the whole response."""
        return self._has_extra

    @property
    def ends_with_connection(self) -> bool:
        """True if only the end of the connection ends the response."""
        return self._until_close

    def feed(self, data: memoryview) -> None:
        """Read bytes. Raises RemoteProtocolError for bytes that are no response; then the connection is of no use."""
        if self._parser is None:
            return
        self.keep_start(data)
        before, error = self.body_bytes, None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            error = str(fault) or type(fault).__name__
        received = self.body_bytes - before
        self._overhead = len(data) - received + (0 if received else self._overhead)
        if self._fault is not None:
            raise self.error(self._fault)
        if error is not None and not self.is_complete:
            raise self.error(_with_quote(error, _offending_part(self._start)))
        if error is not None or self._has_extra:  # the complete response stands, and the connection is of no use
            self.can_continue, self._has_extra = False, True
        elif not self.is_complete and self._overhead > _MAX_OVERHEAD:
            raise self.error(f"more than {_MAX_OVERHEAD} bytes that are no body")

    def keep_start(self, data: memoryview) -> None:
        """Keep the beginning of what arrives, for errors."""
        if len(self._start) < MAX_EXCERPT:
            self._start += bytes(data[: MAX_EXCERPT - len(self._start)])

    def end(self) -> None:
        """Read the end of the connection, which the server has announced. Raises RemoteProtocolError if it is early."""
        self.can_continue = False
        if self._until_close:
            self.is_complete = True
        if not self.is_complete:
            raise self.cut_off()

    def cut_off(self) -> RemoteProtocolError:
        """Return the error of a connection that ended within the response."""
        what = "before its response ended" if self._start else "without a response"
        error = self.error(f"the server closed the connection {what}")
        error.nothing_received = not self._start
        return error

    def error(self, message: str) -> RemoteProtocolError:
        """Return an error with the beginning of what has arrived."""
        error = RemoteProtocolError(message)
        error.excerpt = self.excerpt
        return error

    @property
    def excerpt(self) -> str:
        """The beginning of what has arrived, at most 2,048 bytes, without control characters."""
        return clean_excerpt(self._start)

    def close(self) -> None:
        """Drop the parser, which refers to this reader."""
        self._parser = None

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Notice a response that follows a complete one: no request asked for it."""
        if self.is_complete:
            self._has_extra = True

    def on_status(self, reason: bytes) -> None:
        """Add a part of the reason phrase."""
        if not self.is_complete:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; fields after the head, of a trailer or another response, are ignored."""
        if not self.status and not self.is_complete:
            self.headers.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Decide what kind of response it is, and where it ends."""
        if self.is_complete or self._fault or self._parser is None:  # the parser goes on behind a fault
            return
        status = self._parser.get_status_code()
        self.http_version = self._parser.get_http_version()
        codings, lengths = self._framing()
        start = self._start.lstrip(b"\r\n")
        is_http = start.startswith(b"HTTP/")
        if not is_http or self.http_version not in {"1.0", "1.1"} or status < 100:  # noqa: PLR2004 - HTTP's first status
            self._refuse("it is no response in HTTP/1.0 or 1.1", start.partition(b"\n")[0])
        elif status == _SWITCHING_PROTOCOLS:
            self._refuse("the server switches to another protocol", b"HTTP/1.1 101 %b" % self.reason)
        elif len(self.headers) > _MAX_FIELDS:
            self._refuse(f"it has more than {_MAX_FIELDS} header fields", b": ".join(self.headers[_MAX_FIELDS]))
        elif status < _FIRST_FINAL:
            self._skip_interim(status, has_body=bool(codings) or lengths not in ([], [b"0"]))
        elif codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
            self._refuse("it has another coding than chunked", b"Transfer-Encoding: " + b", ".join(codings))
        else:
            self.status = status
            self.can_continue = self._parser.should_keep_alive()
            self.announced = int(lengths[0]) if lengths else 0
            if self._is_head_request:
                # The parser waits for the body that a HEAD's response only announces.
                self.is_complete, self.can_continue = True, False
            self._until_close = not (self._is_head_request or codings or lengths or status in _WITHOUT_BODY)

    def _framing(self) -> tuple[list[bytes], list[bytes]]:
        """Return the values of Transfer-Encoding and of Content-Length; keep those of Keep-Alive."""
        codings, lengths = [], []
        for name, value in self.headers:
            match name.lower():
                case b"transfer-encoding":
                    codings.append(value)
                case b"content-length":
                    lengths.append(value)
                case b"keep-alive":
                    self.keep_alive += b"," + value
        return codings, lengths

    def on_body(self, data: bytes) -> None:
        """Keep a part of the body."""
        if self.is_complete:
            self._has_extra = True
        elif self.status:
            self.body.append(data)
            self.body_bytes += len(data)

    def on_message_complete(self) -> None:
        """Notice the end of the response."""
        if self.status and not self.is_complete and self._parser is not None:
            self.is_complete = True
            self.can_continue = self.can_continue and self._parser.should_keep_alive()

    def _skip_interim(self, status: int, *, has_body: bool) -> None:
        self._interim += 1
        if has_body or self._interim > _MAX_INTERIM:
            part = b"HTTP/1.1 %d %b" % (status, self.reason)
            self._refuse(f"an interim response has a body, or more than {_MAX_INTERIM} came", part)
        self.headers = []
        self.reason = self.keep_alive = b""

    def _refuse(self, fault: str, part: bytes) -> None:
        self._fault = self._fault or _with_quote(fault, part)


def _with_quote(fault: str, part: bytes) -> str:
    """Return the message of a response that cannot be read, which quotes the part that shows it, if that is known."""
    quoted = clean_quote(part.strip()[:_MAX_QUOTED])
    return f"the response cannot be read: {fault}{'; the line is: ' if quoted else ''}{quoted}"


def _offending_part(start: bytes) -> bytes:
    """Return the part, up to a newline, at which llhttp stops; b"" if it is not within the beginning."""
    parser = httptools.HttpResponseParser(object())
    for part in _UP_TO_NEWLINE.findall(start):
        try:
            parser.feed_data(part)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return bytes(part)
    return b""
