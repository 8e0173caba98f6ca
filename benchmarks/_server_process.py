"""Run a fake server in a process of its own, and read its counts from the parent.

The server first prints its port. It answers each line of its standard input with a line of JSON that holds its counts.
When its standard input is closed, it prints the counts a last time and ends.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

HOME: Final = Path(__file__).parent.parent
_REPORT: Final = "report\n"


class ServerProcess:
    """A server process: `with ServerProcess(module, ...) as server`, then `server.end()` for its counts.

    `certificate` is the file of a certificate with its key; the server then speaks TLS, if its module can.
    """

    def __init__(self, module: str, *arguments: str, certificate: Path | None = None) -> None:
        tls = () if certificate is None else ("--certificate", str(certificate))
        self._command = [sys.executable, "-m", module, *arguments, *tls]
        self._scheme = "http" if certificate is None else "https"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - a module of this package
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HOME
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    @property
    def url(self) -> str:
        """The URL at which the server listens."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def send_command(self, command: str = _REPORT) -> dict[str, Any]:
        """Send one line to the server and return the counts until now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command)
        self._process.stdin.flush()
        counts: dict[str, Any] = json.loads(self._process.stdout.readline())
        return counts

    def end(self) -> dict[str, Any]:
        """End the server and return its final counts."""
        output, _ = self._process.communicate(timeout=20)
        counts: dict[str, Any] = json.loads(output)
        return counts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


async def serve(
    make_protocol: Callable[[], asyncio.BaseProtocol],
    on_command: Callable[[str], None],
    counts: Callable[[], dict[str, Any]],
    certificate: str | None = None,
) -> None:
    """Serve until standard input ends; pass each of its lines to `on_command`, then print `counts()`."""
    loop = asyncio.get_running_loop()
    tls = None if certificate is None else _tls_context(certificate)
    server = await loop.create_server(make_protocol, "127.0.0.1", 0, backlog=4096, ssl=tls)
    print(server.sockets[0].getsockname()[1], flush=True)
    input_ended = asyncio.Event()

    def read_command() -> None:
        command = sys.stdin.readline()
        if not command:
            input_ended.set()
            return
        on_command(command)
        print(json.dumps(counts()), flush=True)

    loop.add_reader(sys.stdin, read_command)
    await input_ended.wait()
    loop.remove_reader(sys.stdin)
    server.close()


def _tls_context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
