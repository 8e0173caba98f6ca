"""The library's log records on a command's screen."""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterator
from typing import Final

# What the library says of a registry concerns the whole command, and would be said again for each request.
_REGISTRY: Final = "the model registry"
_asking_registry: Final = contextvars.ContextVar("asking_registry", default=False)
_LEVELS: Final = (logging.ERROR, logging.INFO, logging.DEBUG)


class Logs(logging.Handler):
    """Says what is important enough, and counts the warnings that it keeps to itself."""

    def __init__(self, verbosity: int, say: Callable[[str], None]) -> None:
        super().__init__()  # at no level of its own, so that it gets to count what it does not say
        self.least = _LEVELS[min(verbosity, len(_LEVELS) - 1)]
        self._say = say
        self.unsaid = 0
        self._said: set[tuple[object, ...]] = set()
        self.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    def handle(self, record: logging.LogRecord) -> bool:
        """Say the record, or count it; what is said of the model registry is said once."""
        if str(record.msg).startswith(_REGISTRY):
            return self._is_repeated(record)
        if record.levelno >= self.least:
            return super().handle(record)
        self.unsaid += record.levelno >= logging.WARNING and not _asking_registry.get()
        return False

    def _is_repeated(self, record: logging.LogRecord) -> bool:
        names = (name for name in record.args or () if isinstance(name, str))
        key = (record.msg, *names)
        if key not in self._said:
            self._said.add(key)
            self._say(f"Note: {record.getMessage()}")
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Say the record."""
        self._say(self.format(record))


@contextlib.contextmanager
def watch_registry() -> Iterator[None]:
    """Count no warnings in here: of a registry that cannot be read, one note is enough."""
    token = _asking_registry.set(True)
    try:
        yield
    finally:
        _asking_registry.reset(token)


@contextlib.contextmanager
def show_logs(verbosity: int, say: Callable[[str], None]) -> Iterator[Logs]:
    """Send aiowery's records, and the warnings of others, to `say`."""
    handler = Logs(verbosity, say)
    ours, root = logging.getLogger("aiowery"), logging.getLogger()
    before = ours.level
    ours.setLevel(min(handler.least, logging.WARNING))
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        ours.setLevel(before)
