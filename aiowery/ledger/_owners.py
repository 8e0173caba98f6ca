"""Who is alive: each opening of a ledger holds a lock that the system takes back when its process ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from aiowery._file_lock import FileLock

_ENDING = ".alive"


class Owners:
    """The owners of one ledger, in a directory beside it. All methods block a little."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.name: str = f"{os.getpid()}-{secrets.token_hex(6)}"
        self._lock = FileLock(self._path(self.name))

    def appear(self) -> None:
        """Be alive from here on."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._lock.acquire()

    def leave(self) -> None:
        """Be gone, and leave nothing behind."""
        self._path(self.name).unlink(missing_ok=True)
        self._lock.release()

    def dead(self, names: Iterable[str]) -> list[str]:
        """Return those of these owners whose process has ended; a frozen one lives."""
        return [name for name in names if name != self.name and not self._lives(name)]

    def _lives(self, name: str) -> bool:
        path = self._path(name)
        if not path.exists():
            return False
        lock = FileLock(path)
        if not lock.acquire():
            return True
        path.unlink(missing_ok=True)
        lock.release()
        return False

    def _path(self, name: str) -> Path:
        return self._directory / (name + _ENDING)
