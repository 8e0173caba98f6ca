"""Log records of the library, written to the output of a command."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Final

from aiowery.cli.terminal import print_notice

# Records about the model registry concern the whole command, but are logged for each request.
_REGISTRY: Final = "the model registry"
_registry_readings: Final[list[None]] = []
_LEVELS: Final = (logging.ERROR, logging.INFO, logging.DEBUG)


class Logs(logging.Handler):
    """A log handler that writes records of the chosen level, and counts the warnings that it hides."""

    def __init__(self, verbosity: int, write: Callable[[str], None]) -> None:
        super().__init__()  # without a level, so that it can count the hidden records
        self.min_level = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
        self._write = write
        self.hidden: int = 0
        self._shown: set[tuple[object, ...]] = set()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, or count it. A record about the model registry is written once."""
        if str(record.msg).startswith(_REGISTRY):
            return self._is_repeated(record)
        if record.levelno >= self.min_level:
            return super().handle(record)
        self.hidden += record.levelno >= logging.WARNING and not _registry_readings
        return False

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        names = (name for name in record.args or () if isinstance(name, str))
        key = (record.msg, *names)
        if key not in self._shown:
            self._shown.add(key)
            self._write(f"Note: {record.getMessage()}")
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        self._write(self.format(record))


class _LastResort(logging.Handler):
    """A handler of records outside `show_logs`, whose texts may come from outside too."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record on standard error."""
        print_notice(self.format(record))


@contextlib.contextmanager
def printable_logs() -> Iterator[None]:
    """Print warnings that no handler receives as `logging` does, but without control characters."""
    before, logging.lastResort = logging.lastResort, _LastResort(logging.WARNING)
    try:
        yield
    finally:
        logging.lastResort = before


@contextlib.contextmanager
def watch_registry() -> Iterator[None]:
    """Count no warnings inside the block: one message is enough if the registry cannot be read."""
    _registry_readings.append(None)  # no context variable: the client reads in the context of its opening
    try:
        yield
    finally:
        _registry_readings.pop()


@contextlib.contextmanager
def show_logs(verbosity: int, write: Callable[[str], None]) -> Iterator[Logs]:
    """Pass aiowery's records, and the warnings of other loggers, to `write`."""
    handler = Logs(verbosity, write)
    library, root = logging.getLogger("aiowery"), logging.getLogger()
    before = library.level
    library.setLevel(min(handler.min_level, logging.WARNING))
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        library.setLevel(before)
