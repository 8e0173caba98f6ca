"""The state of a queue in a file, for several processes with one API key and across restarts.

Beside the state lies a lock file, which the sending process holds until its task has ended. The state holds the tasks
under way and the end of the provider's pause, by the wall clock, because no other clock survives a process. It also
holds its own path, by which a copy is recognized. Both files lie at the real path, without symbolic links.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from aiowery._core.events import log
from aiowery.errors import ConfigurationError, LedgerError

T = TypeVar("T")

_LARGEST: Final = 65_536
_IDS: Final = 100
_OPEN_AGAIN: Final = "see that all processes use one file, and open the client again"


@attrs.frozen(kw_only=True)
class StoredState:
    """The content of the file. `since` is when the last submission began, `not_before` when the next one may begin.

    `open` is True until the end of that submission was observed; `task_ids` are its tasks, if known. `path` is where
    the file was written; empty if unknown. Times are in seconds since the epoch.
    """

    since: float = 0.0
    not_before: float = 0.0
    open: bool = False
    task_ids: tuple[str, ...] = ()
    path: str = ""


class QueueStateFile:
    """The cross-process turn of one open client.

    `max_wait`: seconds after which a task of another process is not waited for any more. `pause`: seconds between two
    attempts to take a lock that another process holds. `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        *,
        cool_down: float,
        expected_duration: float,
        max_wait: float,
        pause: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._lock = FileLock(_lock_of(path))
        self._located = False
        self._written = False
        self._cool_down = cool_down
        self._expected_duration = expected_duration
        self._max_wait = max_wait
        self._pause = pause
        self._clock = clock
        self._turn_lock = asyncio.Lock()
        self._io = asyncio.Lock()

    async def acquire(self, ended: Callable[[tuple[str, ...]], Awaitable[None]]) -> None:
        """Wait until no other process is sending and the provider's pause is over, and store that this one is sending.

        `ended` waits for the end of tasks that a process left under way. Cancelling releases the turn. Raises
        ConfigurationError for a file that cannot be used, or is not the one that other processes use, and LedgerError
        once it has been removed, renamed or replaced while it is in use.
        """
        await self._turn_lock.acquire()
        try:
            await self._wait_for_lock()
            state = await self._in_thread(self._read)
            if state.open and self._clock() < state.since + self._max_wait:
                state = await self._wait_for_tasks(state, ended)
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
        """End the turn; no process sends for `pause` seconds."""
        try:
            await self._in_thread(partial(self._write, StoredState(not_before=self._clock() + pause)))
        finally:
            self._lock.release()
            self._turn_lock.release()

    def abandon(self) -> None:
        """End the turn like a process that dies: the next process waits for the tasks under way."""
        self._lock.release()

    async def _wait_for_lock(self) -> None:
        logged = False
        while not await self._in_thread(self._try_lock):
            if not logged:
                log.info("another process uses the queue of %s; waiting until it ends", self._path)
                logged = True
            await anyio.sleep(self._pause)

    def _try_lock(self) -> bool:
        """Take the lock if it is free, and return True if it is held; all links lead to one lock."""
        if not self._located:
            self._path = Path(os.path.realpath(self._path))
            self._lock = FileLock(_lock_of(self._path))
            self._located = True
        return self._lock.acquire()

    async def _wait_for_tasks(
        self, state: StoredState, ended: Callable[[tuple[str, ...]], Awaitable[None]]
    ) -> StoredState:
        """Wait for the tasks that a process left under way, and return the state that follows."""
        if not state.task_ids:
            log.warning("%s: an earlier submission ended without a clear response; the queue pauses first", self._path)
            return StoredState(not_before=state.since + self._expected_duration + self._cool_down)
        log.info("%s: waiting for task %s of an earlier run", self._path, ", ".join(state.task_ids))
        with anyio.move_on_after(max(0.0, state.since + self._max_wait - self._clock())):
            await ended(state.task_ids)
        return StoredState(not_before=self._clock() + self._cool_down)

    def _pause_seconds(self, state: StoredState) -> float:
        """Return the seconds to wait; a clock that was set back must not block the queue for ever."""
        return min(max(0.0, state.not_before - self._clock()), self._expected_duration + self._cool_down)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in order of arrival; when cancelled, wait for its end: a thread cannot be stopped."""
        async with self._io:
            working = asyncio.create_task(anyio.to_thread.run_sync(work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                while not working.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({working})
                working.exception()  # its result is not needed any more
                raise
            except OSError as fault:
                raise ConfigurationError(
                    f"queue_file={str(self._path)!r} cannot be used: {fault.strerror or fault}; give a file in a"
                    " directory that exists and may be written to"
                ) from fault

    def _read(self) -> StoredState:
        """Return the stored state; a file without a valid state counts as a task that has just ended."""
        try:
            with self._path.open("rb") as file:
                self._check_names(os.fstat(file.fileno()))
                return self._check_path(_state(json.loads(file.read(_LARGEST))))
        except ConfigurationError:  # which is a ValueError, too
            raise
        except FileNotFoundError:
            if self._written:
                raise LedgerError(self._unusable("it was removed or renamed while it is in use", _OPEN_AGAIN)) from None
            return StoredState()
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("%s holds no state of a queue; the queue pauses first", self._path)
            return StoredState(not_before=self._clock() + self._cool_down)

    def _check_names(self, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            raise ConfigurationError(self._unusable("it has a second name (a hard link)", "remove that name"))

    def _check_path(self, state: StoredState) -> StoredState:
        """Return the state. Raises ConfigurationError or LedgerError for the state of another file."""
        if state.path in {"", str(self._path)}:
            return state
        others = _lock_of(Path(state.path))
        if not others.exists() or others.samefile(_lock_of(self._path)):  # moved, or seen elsewhere by another process
            return state
        if self._written:
            raise LedgerError(
                self._unusable(f"it was replaced by that of {state.path} while it is in use", _OPEN_AGAIN)
            )
        if not FileLock(others).is_free():
            fault = f"it is a copy of {state.path}, which another process uses"
            raise ConfigurationError(self._unusable(fault, "give that file"))
        return state

    def _store_sending(self) -> None:
        """Store that this process is about to send."""
        if not self._lock.is_in_place():
            raise LedgerError(self._unusable("its lock was removed or renamed while it is held", _OPEN_AGAIN))
        self._write(StoredState(since=self._clock(), open=True))
        self._written = True

    def _unusable(self, fault: str, next_step: str) -> str:
        return f"queue_file={str(self._path)!r} cannot be used: {fault}; nothing was sent: {next_step}"

    def _write(self, state: StoredState) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        with open(beside, "w", encoding="utf-8", opener=_private) as file:
            json.dump(attrs.asdict(attrs.evolve(state, path=str(self._path))), file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)


def _state(values: Any) -> StoredState:
    """Return the checked content of a file. Raises ValueError, TypeError or KeyError."""
    since, not_before = float(values["since"]), float(values["not_before"])
    task_ids = tuple(map(str, values["task_ids"]))
    if not (math.isfinite(since) and math.isfinite(not_before)) or len(task_ids) > _IDS:
        raise ValueError(values)
    path = str(values.get("path", ""))  # which earlier versions did not write
    return StoredState(since=since, not_before=not_before, open=bool(values["open"]), task_ids=task_ids, path=path)
