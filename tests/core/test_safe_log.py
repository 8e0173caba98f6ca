"""Records of the logger `aiowery` are one printable line, and no handler can break the code that logs."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.logging import RichHandler

from aiowery._core.events import log

FORGED = "x\nERROR forged\r\x1b[31m\u202e\u2028\ud800"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


class Broken(logging.Handler):
    """A handler that raises."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Raise."""
        raise LookupError(record.getMessage())


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Collect the output of a plain handler of the logger."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield stream
    log.removeHandler(handler)
    log.setLevel(level)


@given(ANY_TEXT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_record_any_text_is_one_printable_line(written: io.StringIO, text: str) -> None:
    """Whatever an argument holds, one record is one line."""
    written.seek(0)
    written.truncate()
    log.warning("refused: %s", text)
    (line,) = written.getvalue().split("\n")[:-1]
    assert line.isprintable()
    assert line.startswith("WARNING refused:")


def test_record_of_a_huge_text_is_short(written: io.StringIO) -> None:
    """A record has at most 10,000 characters, and keeps its end."""
    log.warning("%s the end", "x" * 1_000_000)
    assert len(written.getvalue()) < 10_100
    assert written.getvalue().endswith(" the end\n")


def raise_it(error: Exception) -> None:
    """Raise an exception."""
    raise error


def test_traceback_forges_no_record(written: io.StringIO) -> None:
    """Each line of a traceback is printable and indented, and what an exception says is one line."""
    error = ValueError(FORGED)
    error.add_note(FORGED)
    error.__cause__ = KeyError(FORGED)
    try:
        raise_it(error)
    except ValueError:
        log.exception("a check failed: %s", FORGED)
    first, *lines = written.getvalue().split("\n")[:-1]
    assert first.startswith("ERROR a check failed: x ERROR forged")
    assert len(lines) > 5
    assert [line for line in lines if not (line.startswith("  ") and line.isprintable())] == []
    assert any(line.startswith("  ValueError: x ERROR forged ?[31m") for line in lines)
    assert any(line.endswith("    raise error") for line in lines)


def test_traceback_of_a_group_is_printable(written: io.StringIO) -> None:
    """The exceptions of a group are indented too."""
    log.error("failed", exc_info=ExceptionGroup(FORGED, [ValueError(FORGED), OSError(FORGED)]))
    lines = written.getvalue().split("\n")[1:-1]
    assert [line for line in lines if not (line.startswith("  ") and line.isprintable())] == []


def test_log_without_an_exception_to_report(written: io.StringIO) -> None:
    """A logged exception outside of a handler of one is a record too."""
    log.exception("nothing was raised")
    assert written.getvalue().startswith("ERROR nothing was raised")


class Unprintable:
    """A value without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_log_argument_without_a_text_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What raises while a message is made is contained."""
    caplog.set_level(logging.DEBUG, "aiowery")
    log.handlers.append(logging.NullHandler())
    log.propagate = False
    try:
        log.info("odd: %s", Unprintable())
    finally:
        log.propagate = True
        log.handlers.pop()


@pytest.mark.parametrize("handler", [Broken(), RichHandler(markup=True)], ids=lambda handler: type(handler).__name__)
def test_log_handler_that_raises_is_contained_and_reported_once(
    handler: logging.Handler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code that logs goes on; standard error names the exception once, without the text."""
    stream = io.StringIO()
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler(stream))
    monkeypatch.setattr(log.handle, "_has_reported", False)
    log.addHandler(handler)
    try:
        for _ in range(3):
            log.error("failed: %s", "a secret prompt with [/b]")
    finally:
        log.removeHandler(handler)
    assert stream.getvalue().count("a log handler raised") == 1
    assert "secret" not in stream.getvalue()


def test_log_filter_that_raises_is_contained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of the caller's own raises into nothing either."""
    monkeypatch.setattr(logging, "lastResort", None)
    monkeypatch.setattr(log.handle, "_has_reported", False)

    def broken(_: logging.LogRecord) -> bool:
        raise LookupError

    log.addFilter(broken)
    try:
        log.error("failed")
    finally:
        log.removeFilter(broken)


def test_log_records_name_the_place_that_logs(caplog: pytest.LogCaptureFixture) -> None:
    """The module and line of a record are the caller's."""
    log.warning("here")
    assert caplog.records[-1].pathname == __file__
