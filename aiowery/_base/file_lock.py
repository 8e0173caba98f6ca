"""A lock between processes: an open file, which the operating system unlocks when the process that holds it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final
from weakref import WeakSet

from aiowery._base.new_files import NO_LINK, PRIVATE

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _leads_to(path: Path, descriptor: int) -> bool:  # noqa: ARG001 - Windows cannot remove an open file
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


_MAX_ATTEMPTS: Final = 10


class FileLock:
    """A lock that at most one `FileLock` of the same path holds, in this process or in another.

    All methods block, for the time of a few system calls. A forked process does not hold the locks of its parent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lock if it is free. Return True if this object holds it now.

        Raises OSError if the file cannot be opened or made.
        """
        for _ in range(_MAX_ATTEMPTS):
            if self._descriptor is not None:
                return True
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_LINK, PRIVATE)
            try:
                _lock(descriptor)
            except OSError:
                os.close(descriptor)
                return False
            if _leads_to(self._path, descriptor):
                self._descriptor = descriptor
            else:  # the former holder has removed the file: other processes lock the new one at this path
                os.close(descriptor)
        return self._descriptor is not None

    def write(self, text: str) -> None:
        """Write the text into the file if this object holds the lock; the file was empty."""
        if self._descriptor is not None:
            os.write(self._descriptor, text.encode())

    def is_free(self) -> bool:
        """Return True if nothing holds the lock; afterwards this object does not hold it either.

        Raises OSError if the file cannot be opened or made.
        """
        try:
            return self.acquire()
        finally:
            self.release()

    def is_in_place(self) -> bool:
        """Return True if this object holds the lock and the path still leads to the locked file."""
        return self._descriptor is not None and _leads_to(self._path, self._descriptor)

    def release(self) -> None:
        """Release the lock if this object holds it; the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_locks: Final[WeakSet[FileLock]] = WeakSet()


def _drop_inherited() -> None:
    """Close a forked process's copies of its parent's locks, which would otherwise outlive the parent."""
    for lock in tuple(_locks):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drop_inherited)
