"""The receiver, served alone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aiowery.cli.ledger.reader import LEDGER
from aiowery.cli.output.logs import show_logs
from aiowery.cli.output.progress import write_line
from aiowery.errors import ConfigurationError
from aiowery.webhook import Receiver

if TYPE_CHECKING:
    from types import ModuleType


def run_receiver(ledger: Path, host: str, port: int, verbose: int) -> int:
    """Receive for everybody who shares the ledger, until Ctrl-C or SIGTERM.

    Raises LedgerError, and ConfigurationError where nothing can be listened to.
    """
    path = ledger / LEDGER if ledger.is_dir() else ledger
    receiver = Receiver(ledger=path)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # uvicorn raises KeyboardInterrupt once more when it has ended.
    with show_logs(verbose, lambda text: write_line(sys.stderr, text)), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_uvicorn(), receiver, path, (host, port)))
    counts = receiver.statistics()
    print(f"{counts.recorded:,} calls recorded, {counts.unknown + counts.refused + counts.failed:,} turned away.")
    return 0


async def _serve(uvicorn: ModuleType, receiver: Receiver, path: Path, address: tuple[str, int]) -> None:
    async with receiver:
        try:
            # Bound here, for uvicorn would end the program.
            binder = await asyncio.get_running_loop().create_server(asyncio.Protocol, *address, start_serving=False)
        except OSError as fault:
            reason = fault.strerror or fault
            raise ConfigurationError(f"cannot listen on {':'.join(map(str, address))}: {reason}") from fault
        sockets = [sock.dup() for sock in binder.sockets]
        binder.close()
        _print_address(path, *sockets[0].getsockname()[:2])
        # Without an access log: the paths are secrets.
        config = uvicorn.Config(receiver, lifespan="off", log_config=None, access_log=False)
        # In a task of its own: the Ctrl-C that it hands on must not meet the closing of the ledger.
        await asyncio.create_task(uvicorn.Server(config).serve(sockets))


def _uvicorn() -> ModuleType:
    try:
        import uvicorn  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise ConfigurationError(
            "aiowery webhook needs uvicorn, which is not installed; run: pip install 'aiowery[cli,webhook]'"
        ) from None
    return uvicorn


def _print_address(path: Path, host: str, port: int) -> None:
    where = f"[{host}]" if ":" in host else host
    print(f"Receiving at http://{where}:{port} until Ctrl-C, for all who use the ledger {path}.")
    print("Let a public https address lead there, and give it to them: --public-url, or Webhooks(public_url=...).")
    sys.stdout.flush()
