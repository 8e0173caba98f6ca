"""The sandbox's public class, and `run`, which serves until it is interrupted."""

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
from aiowery.sandbox._weryai.dialect import Dialect
from aiowery.sandbox._weryai.state import WeryAIState
from aiowery.sandbox.faults import from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from aiowery.sandbox._betterwaifu.state import CoolFrom
    from aiowery.sandbox._durations import Durations
    from aiowery.sandbox._weryai.dialect import CodeDialect, StatusDialect

DEFAULT_KEY = "sk-sandbox"
_SLEEP_SECONDS = 3600.0


class Sandbox:
    """A local server that behaves like WeryAI and like BetterWaifu, with separate state for each provider.

    Enter it with `async with` or `with`. It accepts connections inside the block and leaves no thread, socket or task
    behind. The server runs in its own thread, so the caller's event loop stays free. The state outlives the block, for
    assertions, and continues when the sandbox is entered again.

    - `speed`: factor by which all durations are divided (100: an image takes 50-150 ms).
    - `credits`: initial balance at either provider. An image costs 1.
    - `keys`: the accepted API keys, of any text. None accepts every key that begins with "sk-", or at BetterWaifu with
      "bw_".
    - `in_flight`: number of WeryAI tasks that run at the same time. Further submissions are refused with code 6010.
    - `cool_down`: seconds at speed 1 during which BetterWaifu refuses jobs after a generation. They count from its end
      or from its submission (`cool_from`). `v1_cool_down` is the same for the v1-images edition.
    - `subscription`: if False, BetterWaifu refuses jobs with HTTP 403.
    - `seed`: makes durations and random faults repeatable.
    - `faults`: initial faults, also as texts such as "server-error:0.2" (`faults.from_text`). `inject` adds more.
    - `status_words`: WeryAI's words for the state of a task: "docs" (those of each endpoint's documentation), "upper"
      (SUCCESS, FAILED) or "lower" (succeed, failed).
    - `codes`: WeryAI's codes of refusals: "seed" (those of its guide) or "late" (those of its later clients, in which
      1002 is a wrong parameter).
    - `durations`: shortest and longest duration of a task in seconds at speed 1: one pair for all models, or a mapping
      by model key. BetterWaifu's model ids are written as text, "*" stands for all other models.
    - `port`, `host`: where to listen. Port 0 takes a free port. Without a `host` it listens on loopback, and refuses
      requests whose `Host` or `Origin` is not this machine, as those of a web page that a browser shows.
    - `picture_size`: pixels of an image's longer side, 16-4096.

    Entering raises OSError if the address cannot be bound.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        credits: int = 10_000,  # noqa: A002 - the provider's term; the builtin is a copyright notice
        keys: Iterable[str] | None = (DEFAULT_KEY,),
        in_flight: int = 20,
        cool_down: float = 60.0,
        cool_from: CoolFrom = "end",
        v1_cool_down: float = 0.0,
        subscription: bool = True,
        seed: int = 0,
        faults: Iterable[Fault | str] = (),
        status_words: StatusDialect = "docs",
        codes: CodeDialect = "seed",
        durations: Durations | None = None,
        port: int = 0,
        host: str | None = None,
        picture_size: int = 512,
    ) -> None:
        if not SHORTEST_SIDE <= picture_size <= LONGEST_SIDE:
            raise ValueError(f"picture_size must be {SHORTEST_SIDE}-{LONGEST_SIDE} pixels, got {picture_size!r}")
        self._keys = None if keys is None else tuple(keys)
        if self._keys is not None and not (self._keys and all(self._keys)):
            raise ValueError(
                f"keys must contain at least one key, and none that is empty, got {self._keys!r}; pass None to accept"
                " any key that begins with 'sk-'"
            )
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
        self._dialect = Dialect(status_words, codes)
        self._script = FaultScript(seed)
        self.inject(*faults)
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
        """Base URL of WeryAI and of v1-images, without a trailing slash. Raises RuntimeError outside the block."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running; enter it with `async with` or `with` first")
        return self._server.started.result()

    @property
    def jobs_url(self) -> str:
        """Base URL of BetterWaifu's jobs edition, without a trailing slash. Raises RuntimeError outside the block."""
        return f"{self.url}/api/v1"

    @property
    def key(self) -> str:
        """An API key that the sandbox accepts."""
        return self._keys[0] if self._keys else DEFAULT_KEY

    def settings_for(self, provider: str, edition: str | None = None) -> dict[str, str]:
        """Return the arguments that direct a provider's client to this sandbox: `WeryAI(**settings_for("weryai"))`.

        Raises ValueError for a provider or edition that it does not simulate.
        """
        settings = {
            ("weryai", None): {"base_url": self.url, "models_base_url": self.url},
            ("betterwaifu", "v1-images"): {"base_url": self.url, "edition": "v1-images"},
            ("betterwaifu", "jobs"): {"base_url": self.jobs_url, "edition": "jobs"},
        }.get((provider, edition))
        if settings is None:
            raise ValueError(f"the sandbox does not simulate {' '.join(filter(None, (provider, edition)))}")
        return {"api_key": self.key, **settings}

    @property
    def speed(self) -> float:
        """Factor by which all durations are divided."""
        return self._speed

    @property
    def weryai(self) -> WeryAIState:
        """WeryAI's tasks and credits, and the counters of both providers. Any thread may read it."""
        return self._weryai

    @property
    def betterwaifu(self) -> BetterWaifuState:
        """BetterWaifu's generations, credits and refusals. Any thread may read it."""
        return self._betterwaifu

    def inject(self, *faults: Fault | str) -> None:
        """Add faults, also as texts such as "server-error:0.2", to the existing ones.

        They apply from the next request on, and to the deliveries of tasks that are accepted from now on. Raises
        ValueError for a text that names no fault.
        """
        self._script.add(from_text(fault) if isinstance(fault, str) else fault for fault in faults)

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
            # Shielded, because a cancelled wait would cancel `started` itself.
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
            raise RuntimeError("the sandbox is running already; leave its block before you enter it again")
        self._server = ServerThread(
            self._weryai,
            self._betterwaifu,
            self._script,
            self._gallery,
            self._keys,
            self._dialect,
            host=self._host,
            port=self._port,
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
    """Wait until the thread has ended, without blocking the event loop unless the wait is cancelled."""
    try:
        while server.is_alive:  # noqa: ASYNC110 - the end of a thread sets no event
            await asyncio.sleep(0.005)
    finally:
        server.join()


def run(
    host: str | None = None,
    port: int = 8765,
    *,
    speed: float = 1.0,
    credits: int = 10_000,  # noqa: A002 - as in `Sandbox`
    keys: Iterable[str] | None = None,
    in_flight: int = 20,
    cool_down: float = 60.0,
    cool_from: CoolFrom = "end",
    seed: int = 0,
    faults: Iterable[Fault | str] = (),
    status_words: StatusDialect = "docs",
    codes: CodeDialect = "seed",
    picture_size: int = 512,
    ready: Callable[[Sandbox], None] | None = None,
) -> None:
    """Serve until Ctrl-C (KeyboardInterrupt), then return. Prints nothing.

    `ready` is called once with the running sandbox. The other arguments are those of `Sandbox`, but by default any key
    that begins with "sk-" (or "bw_") is accepted. Raises OSError if the address is in use.
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
        status_words=status_words,
        codes=codes,
        picture_size=picture_size,
    )
    with contextlib.suppress(KeyboardInterrupt), sandbox:
        if ready is not None:
            ready(sandbox)
        while True:
            time.sleep(_SLEEP_SECONDS)
