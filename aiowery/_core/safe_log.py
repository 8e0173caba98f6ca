"""The log of the library: printable records without keys, and handlers that cannot break the work."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any, Final

from aiowery._base.text import printable, safe_text
from aiowery._core.redaction import redact

_MAX_RECORD: Final = 10_000
_INDENT: Final = "  "
_TAB: Final = "\t"


class RedactionFilter(logging.Filter):
    """A filter that makes each log record one line of text without API keys. The logger `aiowery` has one.

    The lines of a traceback are indented, so that no line of an exception's message can be taken for a record.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record's texts, and return True for every record."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself reports arguments that do not fit the message
            return True
        safe = safe_text(redact(message), _MAX_RECORD)
        if safe != message:
            record.msg, record.args = safe, None
        if record.exc_info:  # formatters use a cached exc_text instead of formatting again
            record.exc_text = "\n".join(_traceback_rows(record.exc_info))
        return True


def _traceback_rows(exc_info: Any) -> Iterator[str]:
    for part in traceback.format_exception(*exc_info):
        text = redact(part)
        # A place in the code is indented and has several lines. What an exception says becomes one.
        rows = text.rstrip().split("\n") if text.startswith(_INDENT) else [safe_text(text, _MAX_RECORD)]
        yield from (_INDENT + printable(row, _TAB) for row in rows)


class _Handle:
    """A function that passes each record on to a logger; the first exception is reported on standard error."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._handle = logger.handle
        self._has_reported = False

    def __call__(self, record: logging.LogRecord) -> None:
        try:
            self._handle(record)
        except Exception as fault:  # noqa: BLE001 - a handler may raise anything, and a job is under way
            if not self._has_reported and logging.lastResort is not None:
                self._has_reported = True
                logging.lastResort.handle(self._report(fault))

    def _report(self, fault: Exception) -> logging.LogRecord:
        message = "a log handler raised %s; the work goes on, and further exceptions are not reported"
        name = type(fault).__name__  # its message may quote a prompt
        return self._logger.makeRecord(self._logger.name, logging.ERROR, __file__, 0, message, (name,), None)


def safe_logger(name: str) -> logging.Logger:
    """Return a logger for code that must go on, with a `RedactionFilter`.

    What a handler or a filter raises never reaches the code that logs.
    """
    logger = logging.getLogger(name)
    logger.handle = _Handle(logger)  # type: ignore[method-assign]
    logger.addFilter(RedactionFilter())
    return logger
