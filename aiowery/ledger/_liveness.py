"""Detection of dead processes: each opening of a ledger holds a lock that the system frees when its process ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aiowery._base.file_lock import FileLock

_SUFFIX: Final = ".alive"
_MAX_BYTES: Final = 100
_TRIES: Final = 100
_PAUSE: Final = 0.01


def new_owner() -> str:
    """Return a unique name for an opening."""
    return f"{os.getpid()}-{secrets.token_hex(6)}"


class LiveProcesses:
    """Locks of the owners of a ledger, in a directory beside its file. All methods block briefly."""

    def __init__(self, ledger: Path, name: str) -> None:
        self.directory: Path = ledger.with_name(ledger.name + ".owners")
        self._name = name
        self._lock = FileLock(self._path(name))

    def register(self, content: str) -> None:
        """Acquire the lock of this opening and write a text to it, for other processes. Raises OSError."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        for _ in range(_TRIES):
            if self._lock.acquire():
                self._lock.write(content)
                return
            time.sleep(_PAUSE)  # another process is testing whether it is held
        raise TimeoutError(None, "its lock cannot be acquired")

    def unregister(self) -> None:
        """Release the lock of this opening and remove its file."""
        _remove(self._path(self._name))
        self._lock.release()

    def is_in_place(self) -> bool:
        """Return True if other processes can see that this one is alive."""
        return self._lock.is_in_place()

    def dead(self, names: Iterable[str]) -> list[str]:
        """Return the owners whose process has ended; a frozen process is alive."""
        return [name for name in names if not self.is_alive(name)]

    def alive(self) -> dict[str, str]:
        """Return the texts of the other owners that are alive; an empty text if it cannot be read."""
        names = [path.name.removesuffix(_SUFFIX) for path in self.directory.glob(f"*{_SUFFIX}")]
        return {name: self._content(name) for name in names if name != self._name and self.is_alive(name)}

    def is_alive(self, name: str) -> bool:
        """Return True if the process of an owner is alive; the lock file of a dead one is removed."""
        path = self._path(name)
        if name == self._name or not path.exists():
            return name == self._name
        lock = FileLock(path)
        if not lock.acquire():
            return True
        _remove(path)
        lock.release()
        return False

    def _content(self, name: str) -> str:
        try:
            with self._path(name).open("rb") as file:
                return file.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError:  # removed meanwhile, or the system does not let locked files be read
            return ""

    def _path(self, name: str) -> Path:
        return self.directory / (name + _SUFFIX)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # removed already, or open, which some systems do not allow
        path.unlink()
