"""The standard streams: only this module prints, so that no text from outside controls a terminal.

Results go to standard output. If that cannot be written, OutputError is raised. Everything else is printed if possible:
a terminal that is gone, a full disk and a closed stream never end a run that costs money.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import sys
from collections.abc import Iterable
from textwrap import fill
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType

# Control and direction characters, which a terminal interprets. JSON escapes those below U+0020 by itself.
_UNSAFE: Final = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff"
_UNSAFE_IN_TEXT: Final = re.compile(rf"[\x00-\x08\x0b-\x1f{_UNSAFE}]")
_UNSAFE_IN_JSON: Final = re.compile(rf"[{_UNSAFE}]")
_WIDE: Final = 200
_UNWRAPPED: Final = 10_000
NARROW: Final = 80
"""The width of a terminal, in columns, below which output has a short form."""


class OutputError(Exception):
    """Standard output cannot be written. `is_closed` is True if its reader has closed it."""

    def __init__(self, fault: OSError | ValueError) -> None:
        reason = getattr(fault, "strerror", None) or fault
        super().__init__(f"cannot write to standard output: {reason}")
        self.is_closed: bool = isinstance(fault, BrokenPipeError)


def printable(text: str) -> str:
    """Return a text without control characters other than newlines."""
    return _UNSAFE_IN_TEXT.sub("\ufffd", "\n".join(text.splitlines()) if "\r" in text else text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return complete JSON, with control characters escaped."""
    return escape_json(json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def escape_json(text: str) -> str:
    """Return JSON with escapes for the control characters that it may hold."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_text(*lines: str) -> None:
    """Print lines on standard output. Raises OutputError."""
    text = "\n".join(lines)
    _require(_write(sys.stdout, f"{printable(text)}\n"))


def print_prose(*lines: str) -> None:
    """Print sentences on standard output, wrapped between words. Raises OutputError."""
    print_text(wrap("\n".join(lines), output_width()))


def print_result(text: str) -> None:
    """Print a result that was paid for: on standard error if standard output cannot be written. Raises OutputError."""
    try:
        print_text(text)
    except OutputError:
        print_notice(text)
        raise


def print_json(values: Iterable[Any]) -> bool:
    """Print values as JSON, one per line. Return True if there were any. Raises OutputError."""
    found = False
    for value in values:
        found = True
        print_text(_encodable(as_json(value)))
    return found


def print_summary(*lines: str) -> None:
    """Print lines on standard output, if possible."""
    text = "\n".join(lines)
    _write(sys.stdout, f"{printable(text)}\n")


def print_event(value: Any) -> None:
    """Print a value as a line of JSON on standard output, if possible."""
    print_summary(_encodable(as_json(value)))


def print_notice(text: str) -> None:
    """Print a text on standard error, if possible."""
    _write(sys.stderr, f"{printable(text)}\n")


def print_message(text: str) -> None:
    """Print sentences on standard error, if possible, wrapped between words on a narrow terminal."""
    width = _width_of(sys.stderr)
    print_notice(wrap(text, width, breaks_words=False) if width < NARROW else text)


def print_rendered(content: RenderableType) -> None:
    """Print a table of printable cells: as wide as the terminal, in whole lines elsewhere. Raises OutputError."""
    stream = _ConsoleStream(sys.stdout)
    stream.console(None if stream.isatty() else _WIDE).print(content)
    _require(stream.fault)


def output_width() -> int:
    """Return the width of the terminal on standard output, and a large one elsewhere."""
    return _width_of(sys.stdout)


def output_console() -> Console:
    """Return a console for pages of help, on standard output. A narrow terminal gets lines that end between words."""
    width = output_width()
    if width >= NARROW:
        return _ConsoleStream(sys.stdout).console()
    return _ConsoleStream(sys.stdout, wrap_at=width).console(_UNWRAPPED)


def bar_console() -> Console:
    """Return a console for a progress bar, on standard error."""
    return _ConsoleStream(sys.stderr).console()


def print_above(console: Console, text: str) -> None:
    """Print a text above the progress bar of a console, without markup."""
    console.print(printable(text), markup=False, highlight=False, emoji=False)


class StandardOutput:
    """Standard output as a file for one long text, of which nothing is flushed in between. Raises OutputError."""

    def write(self, text: str) -> None:
        """Write a part of the text."""
        _require(_write(sys.stdout, printable(text), flush=False))


def request_consent(question: str) -> bool:
    """Print a question on standard error, and return True if the user types "y" or "yes".

    A Ctrl-C raises KeyboardInterrupt. A terminal that is gone is a "no".
    """
    _write(sys.stderr, f"{question} [y/N] ")
    try:
        reply = "" if sys.stdin is None else sys.stdin.readline()
    except (OSError, ValueError):
        reply = ""
    except KeyboardInterrupt:
        print_notice("")
        raise
    return reply.strip().lower() in {"y", "yes"}


def is_interactive() -> bool:
    """Return True if a user at a terminal can be asked."""
    return _is_terminal(sys.stdin) and _is_terminal(sys.stderr)


def read_bytes() -> bytes:
    """Return all of standard input. Raises OSError, also if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer.read()


def prepare_streams() -> None:
    """Let characters that a stream cannot encode be replaced, and no file be opened in the place of a closed stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the next file, such as a ledger, would receive what is printed
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush_output() -> None:
    """Write what standard output holds. Raises OutputError."""
    if sys.stdout is not None:
        _require(_write(sys.stdout, ""))


class _ConsoleStream:
    """A standard stream for rich, whose writes never raise. `fault` is the first failure.

    Lines are wrapped at the column `wrap_at`, if that is given.
    """

    def __init__(self, stream: TextIO | None, *, wrap_at: int | None = None) -> None:
        self._stream = stream
        self._wrap_at = wrap_at
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.fault: OSError | ValueError | None = None

    def console(self, width: int | None = None) -> Console:
        """Return a console that writes to this stream."""
        file: Any = self
        return Console(file=file, width=width)

    def write(self, text: str, /) -> int:
        wrapped = text if self._wrap_at is None else wrap(text, self._wrap_at)
        self.fault = self.fault or _write(self._stream, wrapped, flush=False)
        return len(text)

    def flush(self) -> None:
        self.fault = self.fault or _write(self._stream, "")

    def isatty(self) -> bool:
        return _is_terminal(self._stream)


def wrap(text: str, width: int, *, breaks_words: bool = True) -> str:
    """Return the lines of a text, each wrapped between words. What goes on is indented below an indented line.

    Without `breaks_words`, a word that is longer than a line, such as a URL, stays whole.
    """
    return "\n".join(_wrapped(line.rstrip(), width, breaks_words) for line in text.split("\n"))


def _wrapped(line: str, width: int, breaks_words: bool) -> str:
    spaces = len(line) - len(line.lstrip())
    indent = " " * (spaces + 2) if spaces else ""
    return fill(line, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=breaks_words)


def _width_of(stream: TextIO | None) -> int:
    """Return the width of the terminal that a stream leads to, and a large one elsewhere."""
    checked = _ConsoleStream(stream)
    return checked.console().width if checked.isatty() else _WIDE


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _encodable(text: str) -> str:
    """Return JSON in characters that standard output can encode, with escapes for others."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(json.loads(text))
    return text


def _require(fault: OSError | ValueError | None) -> None:
    if fault is not None:
        raise OutputError(fault) from fault


def _write(stream: TextIO | None, text: str, *, flush: bool = True) -> OSError | ValueError | None:
    """Write a text, and return what prevented it. After a failure the stream leads nowhere."""
    if stream is None:
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except (OSError, ValueError) as fault:
        _discard(stream)
        return fault
    return None


def _discard(stream: TextIO) -> None:
    """Lead a broken stream nowhere, so that what it holds fails neither again nor at the end of the process."""
    with contextlib.suppress(OSError, ValueError):
        target = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, target)
        finally:
            os.close(nowhere)
