"""The webhook receiver as a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiowery.cli.exit_codes import DONE, SOME_FAILED
from aiowery.cli.ledger.reader import LEDGER
from aiowery.cli.ledger.webhook_check import find_fault
from aiowery.cli.ledger.webhook_connections import ConnectionLimits, limited_connection
from aiowery.cli.output.logs import show_logs
from aiowery.cli.terminal import print_notice, print_summary, print_text
from aiowery.errors import ConfigurationError
from aiowery.ledger._path_checks import validate_path
from aiowery.webhook import Receiver
from aiowery.webhook._dispatch import DecodeDelivery
from aiowery.webhook._reports import OnceAMinute

if TYPE_CHECKING:
    from types import ModuleType

    from uvicorn import Config

_MAX_HEAD: Final = 16 * 1024
_REPORTING_LOGGERS: Final = ("uvicorn.error", "asyncio")


def run_receiver(ledger: Path, decode: DecodeDelivery, host: str, port: int, verbose: int) -> int:
    """Receive webhook deliveries for all users of the ledger, until Ctrl-C or SIGTERM.

    `decode` reads the provider's deliveries.

    Raises LedgerError, and ConfigurationError if the address cannot be listened on.
    """
    path = ledger / LEDGER if validate_path(ledger).is_dir() else ledger
    receiver = Receiver(ledger=path, decode=decode)
    # Warnings are shown by default. uvicorn raises KeyboardInterrupt again after its shutdown.
    with (
        show_logs(max(verbose, 1), print_notice),
        _limited_reports(),
        contextlib.suppress(KeyboardInterrupt),
    ):
        asyncio.run(_serve(_uvicorn(), receiver, path, (host, port)))
    counts = receiver.statistics()
    rejected = counts.unknown + counts.refused + counts.failed
    print_summary(f"{counts.recorded:,} deliveries recorded, {rejected:,} rejected.")
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
        config = server_config(receiver, ConnectionLimits())
        # A separate task, so that uvicorn's second KeyboardInterrupt does not interrupt the closing of the ledger.
        await asyncio.create_task(uvicorn.Server(config).serve(sockets))


def server_config(receiver: Receiver, limits: ConnectionLimits) -> Config:
    """Return uvicorn's configuration: with limits, and without an access log, because the paths of URLs are secrets."""
    return _uvicorn().Config(  # type: ignore[no-any-return]  # of a module that is imported late
        receiver,
        http=limited_connection(limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=limits.backlog,
        h11_max_incomplete_event_size=_MAX_HEAD,
    )


def check_receiver(public_url: str) -> int:
    """Print whether a receiver answers at a public URL, and return the exit code. Raises ConfigurationError."""
    fault = asyncio.run(find_fault(public_url))
    if fault is not None:
        print_text(f"No deliveries can arrive at {public_url}: {fault}.")
        return SOME_FAILED
    print_text(
        f"A receiver answers at {public_url}, as this machine sees it. The provider must be able to reach it, too."
    )
    return DONE


@contextlib.contextmanager
def _limited_reports() -> Iterator[None]:
    """Let the loggers of the server and of the event loop report once a minute, whatever strangers send."""
    filters = [(logging.getLogger(name), _OnceAMinuteFilter()) for name in _REPORTING_LOGGERS]
    for logger, limit in filters:
        logger.addFilter(limit)
    try:
        yield
    finally:
        for logger, limit in filters:
            logger.removeFilter(limit)


class _OnceAMinuteFilter(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._reports = OnceAMinute(time.monotonic)

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the signature of `logging.Filter`
        return self._reports.is_due()


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
    print_summary(
        f"Receiving at http://{where}:{port} until Ctrl-C, for all users of the ledger {path}.",
        "Route a public https URL there, and pass that URL as --public-url or Webhooks(public_url=...).",
    )
