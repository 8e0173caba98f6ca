"""Checks of the path of a ledger, and errors that explain what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from aiowery._base.new_files import PRIVATE
from aiowery._core.events import log
from aiowery._core.paths import IN_MEMORY, file_path
from aiowery.errors import ConfigurationError, LedgerError

FILE_SYSTEMS_VARIABLE: Final = "AIOWERY_LEDGER_FILE_SYSTEMS"
"""The environment variable with the types of file systems that a ledger may be on although they are refused."""
_MOUNTS: Final = Path("/proc/self/mounts")
# Other machines see them too, and their locks and shared memory do not suffice for SQLite's log.
_SHARED_FILE_SYSTEMS: Final = frozenset(
    {
        *("9p", "acfs", "afs", "auristorfs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fakeowner", "fuse"),
        *("gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "prl_fs"),
        *("pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"),
    }
)
_ANY_FUSE: Final = "fuse."
_ANY_USER: Final = stat.S_IRWXO
# They may give a file another inode number each time that it is opened.
_UNSTABLE_INODES: Final = frozenset({"exfat", "msdos", "vboxsf", "vfat"})
_MIN_FIELDS: Final = 3


def validate_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a ledger. Raises ConfigurationError for a text that names no file."""
    if os.fsdecode(path) == IN_MEMORY:
        raise ConfigurationError(
            "ledger must be the path of a file, got ':memory:'; nothing was sent: leave it out to keep the ledger in"
            " memory, or pass aiowery.ledger.MemoryLedger()"
        )
    return file_path("ledger", path, "jobs.db")


def tighten(paths: Iterable[Path]) -> None:
    """Make the files of a ledger private if all users of the machine may read them: they hold prompts and URLs.

    What the owner has granted to a group alone stays. A file of another owner is left as it is.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.lstat().st_mode
            mode = stat.S_IMODE(found)
            if os.name == "posix" and stat.S_ISREG(found) and mode & _ANY_USER:
                path.chmod(PRIVATE)
                log.info("%s was readable by all users (%04o); it is private now (%04o)", path, mode, PRIVATE)


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
    """Raise LedgerError unless a ledger may be at this path; file systems of several machines are refused if detected.

    AIOWERY_LEDGER_FILE_SYSTEMS names types, separated by commas, that are accepted all the same.
    """
    directory = path.parent.resolve()
    if not directory.is_dir():
        raise LedgerError(f"{path}: there is no directory {directory}; nothing was sent: make it, or give another file")
    if path.is_dir():
        raise LedgerError(f"{path} is a directory; nothing was sent: give a file in it")
    if path.exists() and not path.is_file():
        raise LedgerError(f"{path} is a device or a pipe; nothing was sent: give a regular file")
    if not _is_text(path):  # SQLite stores the path of each opening
        raise LedgerError(
            f"{path} has a name, or is in a directory with a name, that is no valid text; nothing was sent: rename it"
        )
    mounts = _mounts()
    if path.as_posix() in dict(_mount_points(mounts)):
        raise LedgerError(
            f"{path} is mounted as a single file, and its log would be elsewhere; nothing was sent: mount its directory"
        )
    kind = file_system_of(directory, mounts)
    if is_shared(kind) and kind not in os.environ.get(FILE_SYSTEMS_VARIABLE, "").replace(" ", "").split(","):
        raise LedgerError(
            f"{path} is on a network file system ({kind}), whose locks are not reliable; nothing was sent: give a local"
            f" file. If you know that locks work between all its users, set {FILE_SYSTEMS_VARIABLE}={kind}"
        )


def _is_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_shared(kind: str) -> bool:
    """Return True for a type of file system that other machines, or other systems on this one, may use too."""
    return kind in _SHARED_FILE_SYSTEMS or kind.startswith(_ANY_FUSE)


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
