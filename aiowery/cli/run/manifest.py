"""The output directory: the check that it is writable, files of an earlier batch, and the manifest."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

from aiowery._base.file_lock import FileLock
from aiowery._base.new_files import PRIVATE, create, open_regular, write_all
from aiowery.cli.file_names import GALLERY, LOCK, MANIFEST, UNDER_WAY
from aiowery.cli.output.gallery import is_gallery
from aiowery.cli.records import Record
from aiowery.cli.terminal import escape_json, print_notice
from aiowery.errors import ConfigurationError

_PROBE: Final = ".aiowery-probe"
_BYTES_PER_ITEM: Final = 2048
_MAX_RESERVE: Final = 16 * 1024**2
_RESERVE_STEP: Final = 8192


class ManifestWriter(Protocol):
    """A writer of task ids and records, which must not be lost."""

    def add_accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Write the task ids of an accepted item. Raises OSError if that fails."""
        ...

    def add_record(self, record: Record) -> None:
        """Write an item's record. Raises OSError if that fails, although a later write may include it."""
        ...


class NoManifest:
    """A writer that stores nothing, for a single request: its outcome is printed."""

    def add_accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Store nothing."""

    def add_record(self, record: Record) -> None:
        """Store nothing."""


class Manifest:
    """A writer of `manifest.jsonl`, one line per item in order of completion, and of the ids of accepted items.

    Every line is handed to the operating system before the method returns, so a crash of this process loses none.
    `under-way.jsonl` receives the task ids at acceptance. It is removed at the end if every item has its line.

    Disk space for the lines of `items` items is reserved. Raises ConfigurationError if it is not available. A full
    disk raises OSError even if the line was written into that reserve. A line that could not be written is retried
    with the next one. `close` retries for the last time, and prints the remaining lines on standard error. The files
    are made with this `mode`, and nothing is replaced.
    """

    def __init__(self, directory: Path, items: int = 0, *, batch: str = "", mode: int = PRIVATE) -> None:
        self._batch = batch
        self._reserve = _Reserve(directory, min(items * _BYTES_PER_ITEM, _MAX_RESERVE))
        self._unrecorded: set[int] = set()
        try:
            self._records_file = _JsonLinesFile(directory / MANIFEST, mode)
            self._ids_file = _JsonLinesFile(directory / UNDER_WAY, mode)
        except OSError as fault:
            self._reserve.release()
            raise ConfigurationError(
                f"cannot write to {directory}: {fault.strerror or fault};"
                " nothing was sent: choose another directory with --out"
            ) from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(is_complete=kind is None)

    def add_accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Write the task ids of an accepted item."""
        self._unrecorded.add(index)
        self._add(self._ids_file, _to_line({"index": index, "batch": self._batch, "task_ids": task_ids}))

    def add_record(self, record: Record) -> None:
        """Write an item's record."""
        line = _to_line({**record.to_dict(), "batch": self._batch})
        self._unrecorded.discard(record.index)
        self._add(self._records_file, line)

    def _add(self, lines: _JsonLinesFile, line: bytes) -> None:
        try:
            lines.add(line)
        except OSError:
            while lines.pending and self._reserve.shrink():
                with contextlib.suppress(OSError):
                    lines.flush()
            raise

    def close(self, *, is_complete: bool) -> None:
        """Close the files. `is_complete` means that every item has its record."""
        self._reserve.release()
        left = self._records_file.close()
        self._ids_file.close()
        if left:
            print_notice(f"{MANIFEST} could not be written to its end. These lines are missing:")
            print_notice(left.decode().rstrip("\n"))
        elif self._unrecorded:
            return
        elif is_complete:
            self._ids_file.path.unlink(missing_ok=True)
        elif self._records_file.empty:  # the run ended before anything was sent
            self._ids_file.path.unlink(missing_ok=True)
            self._records_file.path.unlink(missing_ok=True)


def _to_line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()
    return f"{escape_json(text)}\n".encode()


class _JsonLinesFile:
    """A file of JSON lines that never holds a partial line."""

    def __init__(self, path: Path, mode: int) -> None:
        self.path = path
        self._file: BinaryIO = create(path, mode)
        self._size = 0
        self.pending = b""

    @property
    def empty(self) -> bool:
        """True if nothing has been written."""
        return not self._size

    def add(self, line: bytes) -> None:
        """Write the pending lines and this one. Raises OSError, and keeps them pending, if that fails."""
        self.pending += line
        self.flush()

    def close(self) -> bytes:
        """Close the file, and return the lines that could not be written."""
        with contextlib.suppress(OSError):
            self.flush()
        with contextlib.suppress(OSError):
            self._file.close()
        return self.pending

    def flush(self) -> None:
        """Write the pending lines. Raises OSError, and keeps them pending, if that fails."""
        written = 0
        try:
            while written < len(self.pending):
                written += self._file.write(self.pending[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
                self._file.seek(self._size)
            raise
        self._size += written
        self.pending = b""


class _Reserve:
    """Disk space reserved for the manifest by a file of zeros."""

    def __init__(self, directory: Path, size: int) -> None:
        self._path = directory / f"{_PROBE}-reserve-{os.getpid()}-{secrets.token_hex(4)}"
        self._size = size
        self._file: BinaryIO | None = None
        try:
            self._file = create(self._path, PRIVATE)
            write_all(self._file, bytes(size))
        except OSError as fault:
            self.release()
            raise ConfigurationError(
                f"cannot write to {directory}: {fault.strerror or fault}; the manifest alone may need {size:,} bytes;"
                " nothing was sent: choose another directory with --out"
            ) from fault

    def shrink(self) -> bool:
        """Free a small part of the reserve, and return True if any was left.

        The part is small, so that other programs are unlikely to take the space first.
        """
        had, self._size = self._size, max(0, self._size - _RESERVE_STEP)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(self._size)
        return had > 0

    def release(self) -> None:
        """Free the whole reserve."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def prepare_directory(directory: Path) -> None:
    """Create the directory if it is missing, and check that files can be written there.

    Raises ConfigurationError if they cannot.
    """
    probe = directory / f"{_PROBE}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = create(probe, PRIVATE)
        try:
            with file:
                write_all(file, b"aiowery was here\n")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as fault:
        raise ConfigurationError(
            f"cannot write to {directory}: {fault.strerror or fault};"
            " nothing was sent: choose another directory with --out"
        ) from fault


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep a directory for one batch. Raises ConfigurationError if another one, of any process, is running in it."""
    path = directory / LOCK
    lock = FileLock(path)
    try:
        is_free = lock.acquire()
    except OSError as fault:
        raise ConfigurationError(
            f"cannot write to {directory}: {fault.strerror or fault};"
            " nothing was sent: choose another directory with --out"
        ) from fault
    if not is_free:
        raise ConfigurationError(
            f"another batch is running in {directory}; nothing was sent: wait for its end, or choose another directory"
            " with --out"
        )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # removed while it is locked, so that no other batch holds it
            path.unlink(missing_ok=True)
        lock.release()


def belongs_to(directory: Path, batch: str) -> bool:
    """Return True if the manifest in the directory is of this batch, or if there is none."""
    for name in (MANIFEST, UNDER_WAY):
        try:
            with open_regular(directory / name) as lines:
                first = json.loads(lines.readline() or b'{"batch": null}')
        except (OSError, ValueError):
            continue
        if isinstance(first, dict) and first.get("batch", "") not in {None, batch}:
            return False
    return True


def remove_run_files(directory: Path) -> None:
    """Remove manifest and gallery of an earlier run of the same batch; its ledger, its outputs and other pages stay."""
    galleries = filter(is_gallery, directory.glob(f"{PurePath(GALLERY).stem}*.html"))
    names = (directory / MANIFEST, directory / UNDER_WAY)
    for path in (*directory.glob(f"{_PROBE}-*"), *names, *galleries):
        path.unlink(missing_ok=True)


def free_gallery(directory: Path) -> Path:
    """Return a path for the gallery that is not taken."""
    stem, suffix = PurePath(GALLERY).stem, PurePath(GALLERY).suffix
    names = itertools.chain([GALLERY], (f"{stem}-{number}{suffix}" for number in itertools.count(2)))
    return next(path for name in names if not os.path.lexists(path := directory / name))


def set_aside(directory: Path) -> Path | None:
    """Move the files of an earlier batch into a subdirectory, and return it.

    The gallery still works there, and no picture is overwritten. Returns None if there were no such files.
    """
    for reserve in directory.glob(f"{_PROBE}-*"):  # left by a batch that was killed
        reserve.unlink(missing_ok=True)
    left = [name for name in (MANIFEST, UNDER_WAY, GALLERY) if os.path.lexists(directory / name)]
    if not left:
        return None
    aside = next(path for number in itertools.count(1) if not (path := directory / f"earlier-{number}").exists())
    try:
        aside.mkdir()
        for name in (*_files_of(directory / MANIFEST), *left):
            (directory / name).rename(aside / name)
    except OSError as fault:
        raise ConfigurationError(
            f"cannot move the earlier batch in {directory} into a subdirectory: {fault.strerror or fault};"
            " nothing was sent: choose another directory with --out"
        ) from fault
    return aside


def _files_of(manifest: Path) -> Iterable[str]:
    """Return the existing files that a manifest names, each once."""
    try:
        with open_regular(manifest) as file:
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ()
    names = dict.fromkeys(name for line in lines for name in _names_in(line))
    return [name for name in names if (manifest.parent / name).is_file()]


def _names_in(line: str) -> Iterator[str]:
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        files, covers = (record.get("files"), record.get("covers")) if isinstance(record, dict) else (None, None)
        named = (*(files if isinstance(files, list) else ()), *(covers.values() if isinstance(covers, dict) else ()))
        for name in named:
            if isinstance(name, str) and name and Path(name).name == name:
                yield name
