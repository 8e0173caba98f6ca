"""The lease: a lane's turn kept in a file, for several processes with one credential and across restarts.

Beside the state lies a lock file, which whoever sends holds until the task has ended. The state says what is under
way and until when the provider wants a rest, by the wall clock, for no other survives a process. It also says where it
lies, by which a copy is known. Both lie at the real path, without symbolic links.
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
    """What the file says. `since` is when the last submission began, `not_before` when the next one may.

    `open` says that the submission of that moment has not been seen to end; `task_ids` are its tasks, if known. `path`
    is where the file was written; empty where it does not say.
    """

    since: float = 0.0
    not_before: float = 0.0
    open: bool = False
    task_ids: tuple[str, ...] = ()
    path: str = ""


class QueueStateFile:
    """The turn of one open client. `longest`: seconds after which nobody waits for a task any more.

    `pause` is how often a lock that somebody else holds is tried, `clock` the time of the day in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        cool_down: float,
        usual: float,
        longest: float,
        pause: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._lock = FileLock(_lock_of(path))
        self._located = False
        self._written = False
        self._cool_down = cool_down
        self._usual = usual
        self._longest = longest
        self._pause = pause
        self._clock = clock
        self._turn = asyncio.Lock()
        self._io = asyncio.Lock()

    async def acquire(self, ended: Callable[[tuple[str, ...]], Awaitable[None]]) -> None:
        """Wait until nobody else is sending and the provider has had its rest, and note that we are.

        `ended` waits for the end of tasks that a process left under way. Cancelling gives the turn back. Raises
        ConfigurationError for a file that cannot be used, or is not the one that other processes use, and LedgerError
        once it has been removed, renamed or replaced while we use it.
        """
        await self._turn.acquire()
        try:
            await self._locked()
            state = await self._in_thread(self._read)
            if state.open and self._clock() < state.since + self._longest:
                state = await self._settled(state, ended)
            await anyio.sleep(self._rest(state))
            await self._in_thread(self._begin)
        except BaseException:
            self._lock.release()
            self._turn.release()
            raise

    async def record_tasks(self, task_ids: tuple[str, ...]) -> None:
        """Note the tasks of this turn, for whoever comes after us should we not see their end."""
        await self._in_thread(partial(self._write, StoredState(since=self._clock(), open=True, task_ids=task_ids)))

    async def release(self, rest: float) -> None:
        """End the turn; nobody sends for `rest` seconds."""
        try:
            await self._in_thread(partial(self._write, StoredState(not_before=self._clock() + rest)))
        finally:
            self._lock.release()
            self._turn.release()

    def abandon(self) -> None:
        """End the turn as a process does that dies: whoever comes next looks after what is under way."""
        self._lock.release()

    async def _locked(self) -> None:
        told = False
        while not await self._in_thread(self._acquire):
            if not told:
                log.info("another process has the lane of %s; waiting for its turn to end", self._path)
                told = True
            await anyio.sleep(self._pause)

    def _acquire(self) -> bool:
        """Take the lock if it is free, and return whether it is held; all links lead to one lock."""
        if not self._located:
            self._path = Path(os.path.realpath(self._path))
            self._lock = FileLock(_lock_of(self._path))
            self._located = True
        return self._lock.acquire()

    async def _settled(self, state: StoredState, ended: Callable[[tuple[str, ...]], Awaitable[None]]) -> StoredState:
        """See that what a process left under way has ended, and return what that means for us."""
        if not state.task_ids:
            log.warning("%s: an earlier submission ended without a clear answer; the lane rests first", self._path)
            return StoredState(not_before=state.since + self._usual + self._cool_down)
        log.info("%s: waiting for task %s of an earlier run", self._path, ", ".join(state.task_ids))
        with anyio.move_on_after(max(0.0, state.since + self._longest - self._clock())):
            await ended(state.task_ids)
        return StoredState(not_before=self._clock() + self._cool_down)

    def _rest(self, state: StoredState) -> float:
        """Return the seconds to wait; a clock that was set back must not stop us for ever."""
        return min(max(0.0, state.not_before - self._clock()), self._usual + self._cool_down)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do what blocks, in the order of asking; cancelled, wait for its end, for a thread cannot be stopped."""
        async with self._io:
            working = asyncio.create_task(anyio.to_thread.run_sync(work))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                while not working.done():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.wait({working})
                working.exception()  # nobody waits for it any more
                raise
            except OSError as fault:
                raise ConfigurationError(
                    f"queue_file={str(self._path)!r} cannot be used: {fault.strerror or fault}; give a file in a"
                    " directory that exists and may be written to"
                ) from fault

    def _read(self) -> StoredState:
        """Read the file; what makes no sense counts as a task that has just ended."""
        try:
            with self._path.open("rb") as file:
                self._check_names(os.fstat(file.fileno()))
                return self._is_own(_state(json.loads(file.read(_LARGEST))))
        except ConfigurationError:  # which is a ValueError, too
            raise
        except FileNotFoundError:
            if self._written:
                raise LedgerError(self._unusable("it was removed or renamed while it is in use", _OPEN_AGAIN)) from None
            return StoredState()
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warning("%s holds no state of a lane; the lane rests first", self._path)
            return StoredState(not_before=self._clock() + self._cool_down)

    def _check_names(self, found: os.stat_result) -> None:
        if found.st_nlink > 1:
            raise ConfigurationError(self._unusable("it has a second name (a hard link)", "remove that name"))

    def _is_own(self, state: StoredState) -> StoredState:
        """Return the state; ConfigurationError or LedgerError for that of another file."""
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

    def _begin(self) -> None:
        """Note that we are about to send."""
        if not self._lock.is_in_place():
            raise LedgerError(self._unusable("its lock was removed or renamed while it is held", _OPEN_AGAIN))
        self._write(StoredState(since=self._clock(), open=True))
        self._written = True

    def _unusable(self, fault: str, way_out: str) -> str:
        return f"queue_file={str(self._path)!r} cannot be used: {fault}; nothing was sent: {way_out}"

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
    """Check what a file said; raises ValueError, TypeError or KeyError."""
    since, not_before = float(values["since"]), float(values["not_before"])
    task_ids = tuple(map(str, values["task_ids"]))
    if not (math.isfinite(since) and math.isfinite(not_before)) or len(task_ids) > _IDS:
        raise ValueError(values)
    path = str(values.get("path", ""))  # which earlier versions did not write
    return StoredState(since=since, not_before=not_before, open=bool(values["open"]), task_ids=task_ids, path=path)
