"""Where a ledger may lie, and what is wrong with where it does."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from aiowery.errors import LedgerError

_MOUNTS: Final = Path("/proc/self/mounts")
# Locks and shared memory do not work there as SQLite's log needs them.
_ELSEWHERE: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
# A file may have another number there each time that it is opened.
_NUMBERED_ANEW: Final = frozenset({"exfat", "msdos", "vboxsf", "vfat"})
_FIELDS: Final = 3


def real_path(path: Path) -> Path:
    """Return the absolute path of a file, without symbolic links; LedgerError for a link that leads nowhere."""
    try:
        return Path(os.path.realpath(path, strict=path.is_symlink()))
    except OSError as fault:
        raise LedgerError(
            f"{path} is a symbolic link that leads to no file ({fault.strerror}); nothing was sent: remove the link, or"
            " name the file itself"
        ) from fault


def check_path(path: Path) -> None:
    """Refuse a directory that is not there, and a network's file system where that can be known."""
    directory = path.parent.resolve()
    if not directory.is_dir():
        raise LedgerError(f"{path}: there is no directory {directory}; make it, or give another file")
    if path.is_dir():
        raise LedgerError(f"{path} is a directory; give a file in it")
    mounts = _mounts()
    if path.as_posix() in dict(_points(mounts)):
        raise LedgerError(f"{path} is mounted as a single file, and its log would lie elsewhere; mount its directory")
    kind = file_system_of(directory, mounts)
    if kind in _ELSEWHERE:
        raise LedgerError(f"{path} lies on a network file system ({kind}), whose locks do not hold; give a local file")


def has_stable_inodes(path: Path) -> bool:
    """Return whether a file keeps its inode number on the file system of this path, as far as that can be known."""
    kind = file_system_of(path.parent, _mounts())
    return kind not in _NUMBERED_ANEW and not kind.startswith("fuse")


def file_system_of(directory: Path, mounts: str) -> str:
    """Return the sort of file system that a directory lies on, by a list of mounts; an empty text if unknown."""
    best, kind = -1, ""
    for text, its_kind in _points(mounts):
        point = PurePosixPath(text)
        if len(point.parts) >= best and PurePosixPath(directory).is_relative_to(point):
            best, kind = len(point.parts), its_kind
    return kind


def _mounts() -> str:
    return _MOUNTS.read_text("utf-8", "replace") if _MOUNTS.exists() else ""


def _points(mounts: str) -> Iterator[tuple[str, str]]:
    """Yield the mount points of a list, and what sort of file system each has."""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) >= _FIELDS:
            yield fields[1].replace("\\040", " "), fields[2]


def path_error(path: Path, fault: Exception) -> LedgerError:
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
