"""The webhook receiver as a server of its own."""

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
from aiowery.ledger._path_checks import validate_path
from aiowery.webhook import Receiver
from aiowery.webhook._dispatch import DecodeDelivery

if TYPE_CHECKING:
    from types import ModuleType


def run_receiver(ledger: Path, decode: DecodeDelivery, host: str, port: int, verbose: int) -> int:
    """Receive webhook deliveries for all users of the ledger, until Ctrl-C or SIGTERM.

    `decode` reads the provider's deliveries.

    Raises LedgerError, and ConfigurationError if the address cannot be listened on.
    """
    path = ledger / LEDGER if validate_path(ledger).is_dir() else ledger
    receiver = Receiver(ledger=path, decode=decode)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # uvicorn raises KeyboardInterrupt again after its shutdown.
    with show_logs(verbose, lambda text: write_line(sys.stderr, text)), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(_uvicorn(), receiver, path, (host, port)))
    counts = receiver.statistics()
    print(f"{counts.recorded:,} deliveries recorded, {counts.unknown + counts.refused + counts.failed:,} rejected.")
    return 0


async def _serve(uvicorn: ModuleType, receiver: Receiver, path: Path, address: tuple[str, int]) -> None:
    async with receiver:
        try:
            # uvicorn would end the program if it could not bind.
            binder = await asyncio.get_running_loop().create_server(asyncio.Protocol, *address, start_serving=False)
        except OSError as fault:
            reason = fault.strerror or fault
            raise ConfigurationError(
                f"cannot listen on {':'.join(map(str, address))}: {reason}; choose another --host or --port"
            ) from fault
        sockets = [sock.dup() for sock in binder.sockets]
        binder.close()
        _print_address(path, *sockets[0].getsockname()[:2])
        # No access log, because the paths of webhook URLs are secrets.
        config = uvicorn.Config(receiver, lifespan="off", log_config=None, access_log=False)
        # A separate task, so that uvicorn's second KeyboardInterrupt does not interrupt the closing of the ledger.
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
    print(f"Receiving at http://{where}:{port} until Ctrl-C, for all users of the ledger {path}.")
    print("Route a public https URL there, and pass that URL as --public-url or Webhooks(public_url=...).")
    sys.stdout.flush()
