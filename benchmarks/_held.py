"""A server in a process of its own, and the parent's hold on it.

The server prints its port first. Each line of its standard input is answered with a line of JSON that tells what it
has seen; closing the input ends it, and its last line tells once more.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks._wire import Answerer, Connection, Traffic

HOME: Final = Path(__file__).parent.parent
_LOOK = "look\n"


class ServerProcess:
    """`with ServerProcess(module, ...) as server`, then `server.stop()` for what it saw."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOME
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def ordered(self, order: str = _LOOK) -> dict[str, Any]:
        """Send it a line and return what it has seen."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order)
        self._process.stdin.flush()
        seen: dict[str, Any] = json.loads(self._process.stdout.readline())
        return seen

    def ended(self) -> dict[str, Any]:
        """End it and return what it saw."""
        told, _ = self._process.communicate(timeout=20)
        seen: dict[str, Any] = json.loads(told)
        return seen

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


async def serve(
    answerer: Answerer, traffic: Traffic, obey: Callable[[str], None], seen: Callable[[], dict[str, Any]]
) -> None:
    """Serve until standard input ends; `obey` gets its lines, each answered with `seen`."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answerer, traffic), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def next_line() -> None:
        order = sys.stdin.readline()
        if not order:
            over.set()
            return
        obey(order)
        print(json.dumps(seen()), flush=True)

    loop.add_reader(sys.stdin, next_line)
    await over.wait()
    loop.remove_reader(sys.stdin)
    server.close()
