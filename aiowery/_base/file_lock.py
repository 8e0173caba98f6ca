"""A lock between processes: an open file that the system unlocks when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _leads_to(path: Path, descriptor: int) -> bool:  # noqa: ARG001 - a file that is open cannot be removed there
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _leads_to(path: Path, descriptor: int) -> bool:
        try:
            return os.path.samestat(path.stat(), os.fstat(descriptor))
        except OSError:
            return False


_TRIES: Final = 10


class FileLock:
    """Held by at most one opening of the file, in this process or in another. All methods block a little."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free, and return whether it is held now. Raises OSError when there can be no file."""
        for _ in range(_TRIES):
            if self._descriptor is not None:
                return True
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                _lock(descriptor)
            except OSError:
                os.close(descriptor)
                return False
            if _leads_to(self._path, descriptor):
                self._descriptor = descriptor
            else:  # its last holder has removed it meanwhile: others lock the file that comes after it
                os.close(descriptor)
        return self._descriptor is not None

    def write(self, text: str) -> None:
        """Write into the file, which is held and was empty."""
        if self._descriptor is not None:
            os.write(self._descriptor, text.encode())

    def is_free(self) -> bool:
        """Return whether nothing holds the lock. Raises OSError when there can be no file."""
        try:
            return self.acquire()
        finally:
            self.release()

    def is_in_place(self) -> bool:
        """Return whether the lock is held, and its path still leads to the file that is locked."""
        return self._descriptor is not None and _leads_to(self._path, self._descriptor)

    def release(self) -> None:
        """Give the lock back, if it is held; the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
