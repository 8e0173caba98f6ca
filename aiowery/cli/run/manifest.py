"""The output directory: whether it can be written, what an earlier batch left in it, and the manifest."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Protocol, Self

from aiowery.cli.file_names import GALLERY, MANIFEST, UNDER_WAY
from aiowery.cli.records import Record
from aiowery.errors import ConfigurationError

_PROBE: Final = ".aiowery-probe"
_ROOM_PER_ITEM: Final = 2048
_MOST_ROOM: Final = 16 * 1024**2
_PIECE: Final = 8192


class ManifestWriter(Protocol):
    """Where a run writes down what must not be lost."""

    def accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Note that the provider has taken an item; raises OSError when that cannot be written."""
        ...

    def ended(self, record: Record) -> None:
        """Write an item's end; raises OSError when that cannot be written (yet)."""
        ...


class NoManifest:
    """For a single request, whose end is told on the screen."""

    def accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Keep nothing."""

    def ended(self, record: Record) -> None:
        """Keep nothing."""


class Manifest:
    """`manifest.jsonl`, one line per item in order of completion, and the ids of what is under way.

    Every line is with the operating system when the call returns, so a crash of this process loses none.
    `under-way.jsonl` gets the task ids at acceptance and is removed if every item has its line by then. Room for the
    lines of so many `items` is kept free on the disk; ConfigurationError when there is none. A full disk is told as
    OSError even though the line found that room. A line that cannot be written all the same is tried again with the
    next one; `close` tries for the last time and then prints what is left on standard error.
    """

    def __init__(self, directory: Path, items: int = 0, *, batch: str = "") -> None:
        self._batch = batch
        self._reserve = _Reserve(directory, min(items * _ROOM_PER_ITEM, _MOST_ROOM))
        self._without_line: set[int] = set()
        try:
            self._ended = _Lines(directory / MANIFEST)
            self._accepted = _Lines(directory / UNDER_WAY)
        except OSError as fault:
            self._reserve.release()
            raise ConfigurationError(f"cannot write to {directory}: {fault.strerror or fault}") from fault

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(whole=kind is None)

    def accepted(self, index: int, task_ids: tuple[str, ...]) -> None:
        """Note that the provider has taken an item."""
        self._without_line.add(index)
        self._add(self._accepted, _line({"index": index, "batch": self._batch, "task_ids": task_ids}))

    def ended(self, record: Record) -> None:
        """Write an item's line."""
        line = _line({**record.as_object(), "batch": self._batch})
        self._without_line.discard(record.index)
        self._add(self._ended, line)

    def _add(self, lines: _Lines, line: bytes) -> None:
        try:
            lines.add(line)
        except OSError:
            while lines.pending and self._reserve.shrink():
                with contextlib.suppress(OSError):
                    lines.flush()
            raise

    def close(self, *, whole: bool) -> None:
        """Close the files; `whole` says that every item has its end."""
        self._reserve.release()
        left = self._ended.close()
        self._accepted.close()
        if left:
            print(f"{MANIFEST} could not be written to its end; these lines are missing in it:", file=sys.stderr)
            sys.stderr.write(left.decode())
        elif self._without_line:
            return
        elif whole:
            self._accepted.path.unlink(missing_ok=True)
        elif self._ended.empty:  # it broke off before anything was sent
            self._accepted.path.unlink(missing_ok=True)
            self._ended.path.unlink(missing_ok=True)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class _Lines:
    """A file of JSON lines that never holds half a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("xb", buffering=0)
        self._size = 0
        self.pending = b""

    @property
    def empty(self) -> bool:
        """Whether nothing has been written."""
        return not self._size

    def add(self, line: bytes) -> None:
        """Write a line, after those that could not be written before; raises OSError and keeps them all."""
        self.pending += line
        self.flush()

    def close(self) -> bytes:
        """Close the file; return what could not be written."""
        with contextlib.suppress(OSError):
            self.flush()
        with contextlib.suppress(OSError):
            self._file.close()
        return self.pending

    def flush(self) -> None:
        """Write what could not be written before; raises OSError and keeps it."""
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
    """Room on the disk that nothing else can take, until it is needed."""

    def __init__(self, directory: Path, size: int) -> None:
        self._path = directory / f"{_PROBE}-reserve-{os.getpid()}"
        self._size = size
        try:
            self._path.write_bytes(bytes(size))
        except OSError as fault:
            self.release()
            raise ConfigurationError(
                f"cannot write to {directory}: {fault.strerror or fault}; the manifest alone may need {size:,} bytes"
            ) from fault

    def shrink(self) -> bool:
        """Give a piece of the room back, small enough that others hardly find it; whether there was any."""
        had, self._size = self._size, max(0, self._size - _PIECE)
        with contextlib.suppress(OSError):
            os.truncate(self._path, self._size)
        return had > 0

    def release(self) -> None:
        """Give the room back."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def prepare(directory: Path) -> None:
    """Make the directory, if it is missing, and prove that files can be written there.

    Raises ConfigurationError, before anything has cost money.
    """
    probe = directory / f"{_PROBE}-{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"aiowery was here\n")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as fault:
        raise ConfigurationError(
            f"cannot write to {directory}: {fault.strerror or fault}; choose another directory with --out"
        ) from fault


def belongs(directory: Path, batch: str) -> bool:
    """Whether what an earlier run has told in the directory is of this batch; nothing told belongs to everybody."""
    for name in (MANIFEST, UNDER_WAY):
        try:
            with (directory / name).open("rb") as lines:
                first = json.loads(lines.readline() or b'{"batch": null}')
        except (OSError, ValueError):
            continue
        if isinstance(first, dict) and first.get("batch", "") not in {None, batch}:
            return False
    return True


def forget(directory: Path) -> None:
    """Remove what an earlier run of the same batch has told; the ledger knows it, and its files stay."""
    for path in (*directory.glob(f"{_PROBE}-*"), *(directory / name for name in (MANIFEST, UNDER_WAY, GALLERY))):
        path.unlink(missing_ok=True)


def set_aside(directory: Path) -> Path | None:
    """Move what an earlier batch left in the directory into one of its own below; return that, if there was any.

    Its gallery goes on working there, and none of its pictures is overwritten.
    """
    for reserve in directory.glob(f"{_PROBE}-*"):  # of a batch that was killed
        reserve.unlink(missing_ok=True)
    left = [name for name in (MANIFEST, UNDER_WAY, GALLERY) if (directory / name).exists()]
    if not left:
        return None
    aside = next(path for number in itertools.count(1) if not (path := directory / f"earlier-{number}").exists())
    try:
        aside.mkdir()
        for name in (*_files_of(directory / MANIFEST), *left):
            (directory / name).rename(aside / name)
    except OSError as fault:
        raise ConfigurationError(
            f"cannot move the earlier batch in {directory} out of the way: {fault.strerror or fault}"
        ) from fault
    return aside


def _files_of(manifest: Path) -> Iterable[str]:
    """Return the files that a manifest names and that are there, each once."""
    try:
        lines = manifest.read_text(encoding="utf-8", errors="replace").split("\n")
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
