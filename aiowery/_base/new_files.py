"""Files that are made without replacing anything: no link is followed, and only regular files are opened."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

PRIVATE: Final = 0o600
"""The mode of a file that only its owner may read."""
SHARED: Final = 0o666
"""The mode of a file that the process's umask restricts."""
NO_LINK: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
"""Flags of `os.open` by which no link is followed, and a pipe is not waited for."""
_CHUNK: Final = 1024 * 1024


def create(path: Path, mode: int = SHARED) -> BinaryIO:
    """Make a file and open it for reading and writing, unbuffered. Raises FileExistsError, also for a link."""
    return open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | NO_LINK, mode), "r+b", buffering=0)  # noqa: PTH123 - of a descriptor, which the caller closes


def open_regular(path: Path, *, writable: bool = False) -> BinaryIO:
    """Open an existing regular file, for writing unbuffered. Raises OSError for a link, a pipe and the like.

    One with several names is not opened for writing, because the other names may be foreign.
    """
    descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | NO_LINK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (writable and found.st_nlink > 1):
            raise OSError(errno.EINVAL, "it is no regular file of one name", str(path))  # noqa: TRY301 - closed below
        return open(descriptor, "r+b", buffering=0) if writable else open(descriptor, "rb")  # noqa: PTH123 - as above
    except BaseException:
        os.close(descriptor)
        raise


def place(file: Path, stem: str, suffix: str) -> Path:
    """Rename a file to the first free name beside it, and return its path. Raises OSError.

    If a file of that name has the same content, that is returned, and the new one is removed.
    """
    for name in _names(stem, suffix):
        target = file.with_name(name)
        try:
            _rename_new(file, target)
        except FileExistsError:
            if not _have_same_content(file, target):
                continue
            file.unlink(missing_ok=True)
        return target
    raise AssertionError  # the names never end


def write_new(directory: Path, stem: str, suffix: str, content: bytes, mode: int = SHARED) -> Path:
    """Write a file of the first free name, and return its path; one of the same content is returned. Raises OSError."""
    for name in _names(stem, suffix):
        path = directory / name
        try:
            file = create(path, mode)
        except FileExistsError:
            if _has_content(path, content):
                return path
            continue
        try:
            with file:
                write_all(file, content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path
    raise AssertionError  # the names never end


def write_all(file: BinaryIO, content: bytes) -> None:
    """Write to an unbuffered file, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _names(stem: str, suffix: str) -> Iterator[str]:
    yield f"{stem}{suffix}"
    for number in count(2):
        yield f"{stem}-{number}{suffix}"


def _rename_new(file: Path, target: Path) -> None:
    """Rename a file. Raises FileExistsError if the name is taken, by whatever."""
    try:
        os.link(file, target, follow_symlinks=False)
    except (FileExistsError, FileNotFoundError):
        raise
    except (OSError, NotImplementedError):  # a file system without hard links: the name is taken first
        create(target, PRIVATE).close()
        try:
            file.replace(target)
        except BaseException:
            target.unlink()
            raise
    else:
        file.unlink(missing_ok=True)


def _have_same_content(one: Path, other: Path) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            files = [stack.enter_context(open_regular(path)) for path in (one, other)]
        except FileNotFoundError:
            raise
        except OSError:
            return False
        if len({os.fstat(file.fileno()).st_size for file in files}) > 1:
            return False
        while True:
            parts = [file.read(_CHUNK) for file in files]
            if parts[0] != parts[1]:
                return False
            if not parts[0]:
                return True


def _has_content(path: Path, content: bytes) -> bool:
    with contextlib.suppress(OSError), open_regular(path) as file:
        return os.fstat(file.fileno()).st_size == len(content) and file.read() == content
    return False
