"""Which owners are alive: each opening of a ledger holds a lock that the system takes back when its process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aiowery._base.file_lock import FileLock

_ENDING: Final = ".alive"
_LARGEST: Final = 100
_TRIES: Final = 100
_PAUSE: Final = 0.01


def new_owner() -> str:
    """Return a name for an opening that no other has."""
    return f"{os.getpid()}-{secrets.token_hex(6)}"


class LiveProcesses:
    """The owners of the ledger at a path, in a directory beside it. All methods block a little."""

    def __init__(self, ledger: Path, name: str) -> None:
        self.directory: Path = ledger.with_name(ledger.name + ".owners")
        self._name = name
        self._lock = FileLock(self._path(name))

    def register(self, reason: str) -> None:
        """Be alive from here on, and let others read this reason. Raises OSError."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        for _ in range(_TRIES):
            if self._lock.acquire():
                self._lock.write(reason)
                return
            time.sleep(_PAUSE)  # another process is just finding out whether it is held
        raise TimeoutError(None, "its lock cannot be had")

    def unregister(self) -> None:
        """Be gone, and leave nothing behind."""
        _remove(self._path(self._name))
        self._lock.release()

    def is_in_place(self) -> bool:
        """Return whether other processes can see that this one is alive."""
        return self._lock.is_in_place()

    def dead(self, names: Iterable[str]) -> list[str]:
        """Return those of these owners whose process has ended; a frozen one lives."""
        return [name for name in names if not self.is_alive(name)]

    def alive(self) -> dict[str, str]:
        """Return the notes of the owners that are alive, besides this one; an empty text where none can be read."""
        names = [path.name.removesuffix(_ENDING) for path in self.directory.glob(f"*{_ENDING}")]
        return {name: self._note(name) for name in names if name != self._name and self.is_alive(name)}

    def is_alive(self, name: str) -> bool:
        """Return whether the process of an owner is alive; what a dead one has left is removed."""
        path = self._path(name)
        if name == self._name or not path.exists():
            return name == self._name
        lock = FileLock(path)
        if not lock.acquire():
            return True
        _remove(path)
        lock.release()
        return False

    def _note(self, name: str) -> str:
        try:
            with self._path(name).open("rb") as file:
                return file.read(_LARGEST).decode("utf-8", "replace")
        except OSError:  # gone just now, or on a system whose locks forbid reading
            return ""

    def _path(self, name: str) -> Path:
        return self.directory / (name + _ENDING)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # gone already, or open, which forbids it on some systems
        path.unlink()
