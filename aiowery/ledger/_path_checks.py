"""Checks of the path of a ledger, and errors that explain what is wrong with it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from aiowery.errors import LedgerError

_MOUNTS: Final = Path("/proc/self/mounts")
# Their locks and shared memory do not suffice for SQLite's log.
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
# They may give a file another inode number each time that it is opened.
_UNSTABLE_INODES: Final = frozenset({"exfat", "msdos", "vboxsf", "vfat"})
_MIN_FIELDS: Final = 3


def real_path(path: Path) -> Path:
    """Return the absolute path of a file, without symbolic links. Raises LedgerError for a dangling link."""
    try:
        return Path(os.path.realpath(path, strict=path.is_symlink()))
    except OSError as fault:
        raise LedgerError(
            f"{path} is a symbolic link that leads to no file ({fault.strerror}); nothing was sent: remove the link, or"
            " name the file itself"
        ) from fault


def check_path(path: Path) -> None:
    """Raise LedgerError unless a ledger may be at this path; network file systems are refused if detected."""
    directory = path.parent.resolve()
    if not directory.is_dir():
        raise LedgerError(f"{path}: there is no directory {directory}; nothing was sent: make it, or give another file")
    if path.is_dir():
        raise LedgerError(f"{path} is a directory; nothing was sent: give a file in it")
    mounts = _mounts()
    if path.as_posix() in dict(_mount_points(mounts)):
        raise LedgerError(
            f"{path} is mounted as a single file, and its log would be elsewhere; nothing was sent: mount its directory"
        )
    kind = file_system_of(directory, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise LedgerError(
            f"{path} is on a network file system ({kind}), whose locks are not reliable; nothing was sent: give a local"
            " file"
        )


def has_stable_inodes(path: Path) -> bool:
    """Return True if the file system of this path is not known to change inode numbers."""
    kind = file_system_of(path.parent, _mounts())
    return kind not in _UNSTABLE_INODES and not kind.startswith("fuse")


def file_system_of(directory: Path, mounts: str) -> str:
    """Return the type of the file system of a directory, by a list of mounts; an empty text if it is unknown."""
    best_length, kind = -1, ""
    for text, point_kind in _mount_points(mounts):
        point = PurePosixPath(text)
        if len(point.parts) >= best_length and PurePosixPath(directory).is_relative_to(point):
            best_length, kind = len(point.parts), point_kind
    return kind


def _mounts() -> str:
    return _MOUNTS.read_text("utf-8", "replace") if _MOUNTS.exists() else ""


def _mount_points(mounts: str) -> Iterator[tuple[str, str]]:
    """Yield each mount point of a list and the type of its file system."""
    for mount in mounts.splitlines():
        fields = mount.split()
        if len(fields) >= _MIN_FIELDS:
            yield fields[1].replace("\\040", " "), fields[2]


def path_error(path: Path, fault: Exception) -> LedgerError:
    """Return an error that explains an error of the system or of SQLite, and names the next step."""
    message = fault.strerror or "" if isinstance(fault, OSError) else str(fault)  # the path may contain any text
    if isinstance(fault, sqlite3.DatabaseError) and "not a database" in message:
        hint = "it is no database; give another file"
    elif "malformed" in message:
        hint = "it is damaged; keep a copy, and give another file"
    elif "full" in message:
        hint = "make room on the disk"
    elif "readonly" in message or isinstance(fault, PermissionError) or "unable to open" in message:
        hint = "the file and its directory must be writable"
    elif "locked" in message:
        hint = "another program has locked it; end that program"
    else:
        hint = "check the file and its directory"
    error = LedgerError(f"{path}: {message}; {hint}")
    error.__cause__ = fault
    return error
