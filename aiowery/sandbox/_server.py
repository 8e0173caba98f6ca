"""The sandbox as its users hold it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

from aiowery.sandbox._betterwaifu.state import BetterWaifuState
from aiowery.sandbox._faults.script import Fault, FaultScript
from aiowery.sandbox._media.gallery import Gallery
from aiowery.sandbox._media.shape import LONGEST_SIDE, SHORTEST_SIDE
from aiowery.sandbox._thread import ServerThread
from aiowery.sandbox._weryai.state import WeryAIState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from aiowery.sandbox._betterwaifu.state import CoolFrom
    from aiowery.sandbox._durations import Durations

DEFAULT_KEY = "sk-sandbox"
_SLEEP_SECONDS = 3600.0


class Sandbox:
    """A local server that behaves like WeryAI and like BetterWaifu, with a world of its own for each.

    Enter it with `async with` or `with`; it accepts connections inside the block and leaves nothing
    behind after it. The server lives in a thread of its own, so the caller's event loop stays free.
    The worlds outlive the block, for assertions, and go on when the sandbox is entered again.

    - `speed`: how many times faster than the real services everything goes (100: 50-150 ms a picture).
    - `credits`: the balance to begin with, at either provider; a picture costs 1.
    - `keys`: the accepted API keys; None accepts every key that begins with "sk-", or at BetterWaifu with "bw_".
    - `in_flight`: WeryAI's tasks at once before submissions are refused with 6010.
    - `cool_down`: seconds at speed 1 that BetterWaifu refuses jobs after a generation, counted from its end or from
      its submission (`cool_from`); `v1_cool_down` is the same for the v1-images edition.
    - `subscription`: without one BetterWaifu refuses jobs with HTTP 403.
    - `seed`: makes durations and random faults repeatable.
    - `faults`: misfortunes from the beginning; `script` adds more.
    - `durations`: shortest and longest seconds of a task at speed 1, as one pair for all models or by
      model key, BetterWaifu's ids as text ("*" for all others).
    - `port`, `host`: where to listen; port 0 takes a free one.
    - `picture_size`: pixels of a picture's longer side, 16-4096.

    Entering raises OSError when the address cannot be had.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        credits: int = 10_000,  # noqa: A002 - the provider's word; the builtin is a copyright notice
        keys: Iterable[str] | None = (DEFAULT_KEY,),
        in_flight: int = 20,
        cool_down: float = 60.0,
        cool_from: CoolFrom = "end",
        v1_cool_down: float = 0.0,
        subscription: bool = True,
        seed: int = 0,
        faults: Iterable[Fault] = (),
        durations: Durations | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        picture_size: int = 512,
    ) -> None:
        if not SHORTEST_SIDE <= picture_size <= LONGEST_SIDE:
            raise ValueError(f"picture_size must be {SHORTEST_SIDE}-{LONGEST_SIDE} pixels, not {picture_size!r}")
        self._keys = None if keys is None else tuple(keys)
        if self._keys == ():
            raise ValueError("keys must name at least one key, or be None to accept any that begins with 'sk-'")
        self._weryai = WeryAIState(credits=credits, in_flight=in_flight, seed=seed, speed=speed, durations=durations)
        self._betterwaifu = BetterWaifuState(
            credits=credits,
            cool_down=cool_down,
            cool_from=cool_from,
            v1_cool_down=v1_cool_down,
            subscription=subscription,
            seed=seed,
            speed=speed,
            durations=durations,
        )
        self._speed = speed
        self._script = FaultScript(seed)
        self._script.add(faults)
        self._gallery = Gallery(picture_size)
        self._host = host
        self._port = port
        self._server: ServerThread | None = None

    def __repr__(self) -> str:
        server = self._server
        address = server.started.result() if server is not None and server.started.done() else "not running"
        return f"<Sandbox {address}, {len(self._weryai.tasks)} tasks, {len(self._betterwaifu.generations)} generations>"

    @property
    def url(self) -> str:
        """WeryAI's and v1-images' base url, without a slash at its end. RuntimeError outside the block."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running; enter it with `async with` or `with` first")
        return self._server.started.result()

    @property
    def jobs_url(self) -> str:
        """The base url of BetterWaifu's jobs edition, without a slash at its end. RuntimeError outside the block."""
        return f"{self.url}/api/v1"

    @property
    def key(self) -> str:
        """A key that the sandbox accepts."""
        return self._keys[0] if self._keys else DEFAULT_KEY

    @property
    def speed(self) -> float:
        """How many times as fast as the real services everything goes."""
        return self._speed

    @property
    def weryai(self) -> WeryAIState:
        """WeryAI's tasks and credits, and the counters of both providers; may be read from any thread."""
        return self._weryai

    @property
    def betterwaifu(self) -> BetterWaifuState:
        """BetterWaifu's generations, credits and refusals; may be read from any thread."""
        return self._betterwaifu

    def inject(self, *faults: Fault) -> None:
        """Add faults to those that there are; they strike from the next call on, deliveries from the next task on."""
        self._script.add(faults)

    def __enter__(self) -> Self:
        server = self._start()
        try:
            server.started.result()
        except BaseException:
            self._stop().join()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop().join()

    async def __aenter__(self) -> Self:
        server = self._start()
        try:
            # Shielded, for a cancelled wait would cancel `started` itself.
            await asyncio.shield(asyncio.wrap_future(server.started))
        except BaseException:
            await _join(self._stop())
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _join(self._stop())

    def _start(self) -> ServerThread:
        if self._server is not None:
            raise RuntimeError("the sandbox is running already; leave its block before entering it again")
        self._server = ServerThread(
            self._weryai, self._betterwaifu, self._script, self._gallery, self._keys, host=self._host, port=self._port
        )
        self._server.start()
        return self._server

    def _stop(self) -> ServerThread:
        server, self._server = self._server, None
        if server is None:
            raise RuntimeError("the sandbox is not running")
        server.stop()
        return server


async def _join(server: ServerThread) -> None:
    """Wait for the end of a thread without blocking the loop, unless the wait is cancelled."""
    try:
        while server.is_alive:  # noqa: ASYNC110 - the very end of a thread sets no event
            await asyncio.sleep(0.005)
    finally:
        server.join()


def run(
    host: str = "127.0.0.1",
    port: int = 8765,
    *,
    speed: float = 1.0,
    credits: int = 10_000,  # noqa: A002 - as in `Sandbox`
    keys: Iterable[str] | None = None,
    in_flight: int = 20,
    cool_down: float = 60.0,
    cool_from: CoolFrom = "end",
    seed: int = 0,
    faults: Iterable[Fault] = (),
    picture_size: int = 512,
    ready: Callable[[Sandbox], None] | None = None,
) -> None:
    """Serve until Ctrl-C (KeyboardInterrupt), then return. Prints nothing.

    `ready` is called once, with the running sandbox; the other arguments are those of `Sandbox`, except
    that any key beginning with "sk-" (or "bw_") is accepted by default. Raises OSError when the address is taken.
    """
    sandbox = Sandbox(
        host=host,
        port=port,
        speed=speed,
        credits=credits,
        keys=keys,
        in_flight=in_flight,
        cool_down=cool_down,
        cool_from=cool_from,
        seed=seed,
        faults=faults,
        picture_size=picture_size,
    )
    with contextlib.suppress(KeyboardInterrupt), sandbox:
        if ready is not None:
            ready(sandbox)
        while True:
            time.sleep(_SLEEP_SECONDS)
