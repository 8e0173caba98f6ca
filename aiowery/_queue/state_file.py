"""The state of a queue in a file, for several processes with one API key and across restarts.

Next to the state file is a lock file, which the sending process holds until its task has ended. The state contains the
tasks under way and the end of the provider's pause. The end is in wall-clock time, because no other clock survives a
process. The state also contains its own path, by which a copy is recognized. Both files are at the real path, without
symbolic links.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import math
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import attrs

from aiowery._base.file_lock import FileLock
from aiowery._base.new_files import PRIVATE, create, open_regular, write_all
from aiowery._core.events import log
from aiowery.errors import ConfigurationError, LedgerError

T = TypeVar("T")

_MAX_BYTES: Final = 65_536
_MAX_TASK_IDS: Final = 100
_REOPEN: Final = "make sure that all processes use one file, then open the client again"


@attrs.frozen(kw_only=True)
class StoredState:
    """The content of the file; times are in seconds since the epoch.

    `since` is when the last submission began, `not_before` when the next one may begin. `open` is True until the end of
    the last submission was observed. `task_ids` are its tasks, if known. `path` is where the file was written, or empty
    if unknown.
    """

    since: float = 0.0
    not_before: float = 0.0
    open: bool = False
    task_ids: tuple[str, ...] = ()
    path: str = ""


class QueueStateFile:
    """The cross-process turn of one open client.

    `max_wait` is how many seconds after its submission a task of another process is waited for at most.
    `lock_retry_interval` is the time in seconds between two attempts to take a lock that another process holds.
    `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        cool_down: float,
        expected_duration: float,
        max_wait: float,
        lock_retry_interval: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._lock = FileLock(_lock_path(path))
        self._is_path_resolved = False
        self._has_written = False
        self._cool_down = cool_down
        self._expected_duration = expected_duration
        self._max_wait = max_wait
        self._lock_retry_interval = lock_retry_interval
        self._clock = clock
        self._turn_lock = asyncio.Lock()
        self._io_lock = asyncio.Lock()

    async def acquire(self, wait_for_tasks: Callable[[tuple[str, ...]], Awaitable[None]]) -> None:
        """Wait until no other process is sending and the provider's pause is over; store that this one is sending.

        `wait_for_tasks` waits for the end of tasks that a process left under way. Cancelling releases the turn. Raises
        ConfigurationError if the file cannot be used, or is not the one that other processes use. Raises LedgerError if
        the file was removed, renamed or replaced while it is in use.
        """
        await self._turn_lock.acquire()
        try:
            await self._wait_for_lock()
            state = await self._in_thread(self._read)
            if state.open and self._clock() < state.since + self._max_wait:
                state = await self._wait_for_earlier_tasks(state, wait_for_tasks)
            await anyio.sleep(self._pause_seconds(state))
            await self._in_thread(self._store_sending)
        except BaseException:
            self._lock.release()
            self._turn_lock.release()
            raise

    async def record_tasks(self, task_ids: tuple[str, ...]) -> None:
        """Store the tasks of this turn, for the next process if this one does not observe their end."""
        await self._in_thread(partial(self._write, StoredState(since=self._clock(), open=True, task_ids=task_ids)))

    async def release(self, pause: float) -> None:
        """End the turn; no process submits for `pause` seconds."""
        try:
            await self._in_thread(partial(self._write, StoredState(not_before=self._clock() + pause)))
        finally:
            self._lock.release()
            self._turn_lock.release()

    def abandon(self) -> None:
        """End the turn as if this process had died: the next process waits for the tasks under way."""
        self._lock.release()

    async def _wait_for_lock(self) -> None:
        logged = False
        while not await self._in_thread(self._try_lock):
            if not logged:
                log.info("another process uses the queue of %s; waiting until it ends", self._path)
                logged = True
            await anyio.sleep(self._lock_retry_interval)

    def _try_lock(self) -> bool:
        """Take the lock if it is free, and return True if it is held; all links lead to one lock."""
        if not self._is_path_resolved:
            self._path = Path(os.path.realpath(self._path))
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._lock = FileLock(_lock_path(self._path))
            self._is_path_resolved = True
        return self._lock.acquire()

    async def _wait_for_earlier_tasks(
        self, state: StoredState, wait_for_tasks: Callable[[tuple[str, ...]], Awaitable[None]]
    ) -> StoredState:
        """Wait for the tasks that a process left under way, and return the state that follows."""
        if not state.task_ids:
            log.warning("%s: an earlier submission ended without a clear response; the queue pauses first", self._path)
            return StoredState(not_before=state.since + self._expected_duration + self._cool_down)
        log.info("%s: waiting for task %s of an earlier run", self._path, ", ".join(state.task_ids))
        with anyio.move_on_after(max(0.0, state.since + self._max_wait - self._clock())):
            await wait_for_tasks(state.task_ids)
        return StoredState(not_before=self._clock() + self._cool_down)

    def _pause_seconds(self, state: StoredState) -> float:
        """Return the seconds to wait, limited so that a clock that was set back does not block the queue for ever."""
        return min(max(0.0, state.not_before - self._clock()), self._expected_duration + self._cool_down)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in order of arrival; if cancelled, wait for its end, because a thread cannot be stopped."""
        async with self._io_lock:
            working = asyncio.create_task(anyio.to_thread.run_sync(work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                while not working.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({working})
                working.exception()  # its result is not needed any more
                raise
            except OSError as error:
                raise ConfigurationError(
                    f"queue_file={str(self._path)!r} cannot be used: {error.strerror or error}; give a file in a"
                    " directory that exists and is writable"
                ) from error

    def _read(self) -> StoredState:
        """Return the stored state; a file without a valid state counts as a task that has just ended."""
        try:
            with open_regular(self._path) as file:  # opening a pipe would wait for ever
                self._check_hard_links(os.fstat(file.fileno()))
                return self._check_path(_parse_state(json.loads(file.read(_MAX_BYTES))))
        except ConfigurationError:  # it is a ValueError too
            raise
        except FileNotFoundError:
            if self._has_written:
                raise LedgerError(
                    self._unusable_message("it was removed or renamed while it is in use", _REOPEN)
                ) from None
            return StoredState()
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("%s contains no state of a queue; the queue pauses first", self._path)
            return StoredState(not_before=self._clock() + self._cool_down)

    def _check_hard_links(self, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            raise ConfigurationError(self._unusable_message("it has a second name (a hard link)", "remove that name"))

    def _check_path(self, state: StoredState) -> StoredState:
        """Return the state. Raises ConfigurationError or LedgerError for the state of another file."""
        if state.path in {"", str(self._path)}:
            return state
        other_lock = _lock_path(Path(state.path))
        if not other_lock.exists() or other_lock.samefile(
            _lock_path(self._path)
        ):  # the file was moved, or another process reaches it by another path
            return state
        if self._has_written:
            raise LedgerError(
                self._unusable_message(f"it was replaced by that of {state.path} while it is in use", _REOPEN)
            )
        if not FileLock(other_lock).is_free():
            reason = f"it is a copy of {state.path}, which another process uses"
            raise ConfigurationError(self._unusable_message(reason, "give that file"))
        return state

    def _store_sending(self) -> None:
        """Store that this process is about to send."""
        if not self._lock.is_in_place():
            raise LedgerError(self._unusable_message("its lock was removed or renamed while it is held", _REOPEN))
        self._write(StoredState(since=self._clock(), open=True))
        self._has_written = True

    def _unusable_message(self, reason: str, next_step: str) -> str:
        return f"queue_file={str(self._path)!r} cannot be used: {reason}; nothing was sent: {next_step}"

    def _write(self, state: StoredState) -> None:
        new_file = Path(f"{self._path}.new")
        new_file.unlink(missing_ok=True)  # left by a process that was killed, or a link
        with create(new_file, PRIVATE) as file:
            write_all(file, json.dumps(attrs.asdict(attrs.evolve(state, path=str(self._path)))).encode())
            os.fsync(file.fileno())
        new_file.replace(self._path)


def _lock_path(path: Path) -> Path:
    return Path(f"{path}.lock")


def _parse_state(values: Any) -> StoredState:
    """Return the checked content of a file. Raises ValueError, TypeError or KeyError."""
    since, not_before = float(values["since"]), float(values["not_before"])
    task_ids = tuple(map(str, values["task_ids"]))
    if not (math.isfinite(since) and math.isfinite(not_before)) or len(task_ids) > _MAX_TASK_IDS:
        raise ValueError(values)
    path = str(values.get("path", ""))  # earlier versions did not write it
    return StoredState(since=since, not_before=not_before, open=bool(values["open"]), task_ids=task_ids, path=path)
