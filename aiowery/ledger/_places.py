"""Where a ledger may lie, and what is wrong with where it does."""

from __future__ import annotations

import sqlite3
from pathlib import Path, PurePosixPath
from typing import Final

from aiowery.errors import LedgerError

_MOUNTS: Final = Path("/proc/self/mounts")
# Locks and shared memory do not work there as SQLite's log needs them.
_ELSEWHERE: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_FIELDS: Final = 3


def check_place(path: Path) -> None:
    """Refuse a directory that is not there, and a network's file system where that can be known."""
    directory = path.parent.resolve()
    if not directory.is_dir():
        raise LedgerError(f"{path}: there is no directory {directory}; make it, or give another file")
    if path.is_dir():
        raise LedgerError(f"{path} is a directory; give a file in it")
    kind = file_system_of(directory, _MOUNTS.read_text("utf-8", "replace") if _MOUNTS.exists() else "")
    if kind in _ELSEWHERE:
        raise LedgerError(f"{path} lies on a network file system ({kind}), whose locks do not hold; give a local file")


def file_system_of(directory: Path, mounts: str) -> str:
    """Return the sort of file system that a directory lies on, by a list of mounts; an empty text if unknown."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < _FIELDS:
            continue
        point = PurePosixPath(fields[1].replace("\\040", " "))
        if len(point.parts) >= best and PurePosixPath(directory).is_relative_to(point):
            best, kind = len(point.parts), fields[2]
    return kind


def explained(path: Path, fault: Exception) -> LedgerError:
    """Return what the system's or SQLite's words mean for a ledger, with the way out."""
    said = fault.strerror or "" if isinstance(fault, OSError) else str(fault)  # not the path, which may say anything
    if isinstance(fault, sqlite3.DatabaseError) and "not a database" in said:
        hint = "it is no database; give another file"
    elif "malformed" in said:
        hint = "it is damaged; keep a copy, and give another file"
    elif "full" in said:
        hint = "make room on the disk"
    elif "readonly" in said or isinstance(fault, PermissionError) or "unable to open" in said:
        hint = "the file and its directory must be writable"
    elif "locked" in said:
        hint = "another program holds it; end that"
    else:
        hint = "check the file and its directory"
    error = LedgerError(f"{path}: {said}; {hint}")
    error.__cause__ = fault
    return error
