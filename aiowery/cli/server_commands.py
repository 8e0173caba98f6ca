"""The commands that serve: a sandbox, and the webhook receiver."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter, validators

from aiowery.cli.connect import check_speed, sandbox_module
from aiowery.cli.exit_codes import DONE
from aiowery.cli.ledger import webhook_server
from aiowery.cli.ledger.reader import LEDGER
from aiowery.cli.options import Verbose
from aiowery.cli.providers import accepts, service_of
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_PORT: Final = validators.Number(gte=0, lte=65_535)


def sandbox(
    *,
    port: Annotated[int, Parameter(help="The port to listen on; 0 takes a free port.")] = 8765,
    speed: Annotated[
        float, Parameter(help="Speed factor: tasks take their real durations divided by this number.")
    ] = 1.0,
) -> int:
    """Serve a sandbox that behaves like the providers, until Ctrl-C."""
    check_speed(speed)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sandbox_module().run(port=port, speed=speed, ready=_print_sandbox)
    except (OSError, OverflowError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise ConfigurationError(f"cannot listen on port {port}: {reason}; choose another with --port") from fault
    return DONE


def webhook(
    *,
    port: Annotated[int, Parameter(help="The port to listen on; 0 takes a free port.", validator=_PORT)] = 8766,
    host: Annotated[str, Parameter(help="The address to listen on; 0.0.0.0 means all addresses of this machine.")] = (
        "127.0.0.1"
    ),
    ledger: Annotated[
        Path,
        Parameter(help="The ledger of the submitting processes (created if missing), or the directory that holds it."),
    ] = LEDGER,
    provider: Annotated[str | None, Parameter(help="The provider that sends the deliveries (default: weryai).")] = None,
    check: Annotated[
        str | None,
        Parameter(
            help="Only find out whether a receiver answers at this public URL, the one of --public-url or"
            " Webhooks(public_url=...); exit with 1 if none does."
        ),
    ] = None,
    verbose: Verbose = 0,
) -> int:
    """Receive webhook deliveries for batches and clients that share a ledger, until Ctrl-C.

    They submit with --public-url or Webhooks(public_url=...), and receive a delivery within 0.1 seconds.
    """
    if check is not None:
        return webhook_server.check_receiver(check)
    service = service_of(provider, None, None)
    if not accepts(service.client_type, "webhooks"):
        raise ConfigurationError(f"--provider {provider} sends no webhook deliveries; name another provider")
    return webhook_server.run_receiver(ledger, service.info.provider.decode_delivery, host, port, verbose)


def _print_sandbox(server: Sandbox) -> None:
    print(f"The sandbox runs at {server.url} until Ctrl-C. To use it:")
    print(f"  export WERYAI_BASE_URL={server.url}")
    print(f"  export WERYAI_API_KEY={server.key}")
    print("It serves BetterWaifu too (the jobs edition below /api/v1):")
    print(f"  export BETTERWAIFU_BASE_URL={server.url}")
    print(f"  export BETTERWAIFU_API_KEY={server.key}")
    print("Clients adapt to its speed with:")
    print(f"  export AIOWERY_SANDBOX_SPEED={server.speed:g}", flush=True)
