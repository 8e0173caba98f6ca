"""The commands that serve: a sandbox, and the webhook receiver."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter, validators

from aiowery.cli.connect import check_speed, sandbox_module
from aiowery.cli.exit_codes import DONE
from aiowery.cli.ledger import webhook_server
from aiowery.cli.ledger.reader import LEDGER
from aiowery.cli.options import AT_LEAST_ONE, Verbose
from aiowery.cli.providers import accepts, service_of
from aiowery.cli.terminal import print_summary
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_PORT: Final = validators.Number(gte=0, lte=65_535)
_NOT_NEGATIVE: Final = validators.Number(gte=0)


def sandbox(
    *,
    port: Annotated[int, Parameter(help="The port to listen on; 0 takes a free port.", validator=_PORT)] = 8765,
    host: Annotated[
        str | None,
        Parameter(
            help="The address to listen on, such as 0.0.0.0 for all addresses of this machine. Then requests under any"
            " host name are served; by default only those of this machine (127.0.0.1, localhost)."
        ),
    ] = None,
    speed: Annotated[
        float, Parameter(help="Speed factor: tasks take their real durations divided by this number.")
    ] = 1.0,
    key: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            show_default=False,
            help="An accepted API key, of any text; may be repeated (default: any that begins with sk- or bw_).",
        ),
    ] = None,
    credits_: Annotated[
        int, Parameter(name="--credits", help="Credits at the start, at each provider.", validator=_NOT_NEGATIVE)
    ] = 10_000,
    in_flight: Annotated[
        int, Parameter(help="WeryAI's maximum number of tasks at the same time.", validator=AT_LEAST_ONE)
    ] = 20,
    seed: Annotated[int, Parameter(help="The same number repeats the same durations and random faults.")] = 0,
    status_words: Annotated[
        Literal["docs", "upper", "lower"],
        Parameter(
            help="WeryAI's words for states: docs (as each endpoint documents them), upper (SUCCESS), lower (succeed)."
        ),
    ] = "docs",
    codes: Annotated[
        Literal["seed", "late"],
        Parameter(help="WeryAI's codes of refusals: seed (as in its guide) or late (as in its later clients)."),
    ] = "seed",
    fault: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            show_default=False,
            help="NAME, NAME:SHARE or NAME@ON:SHARE, such as server-error:0.2 or lost-answer@submit:0.1; may be"
            " repeated. The names are those of aiowery.sandbox.faults.",
        ),
    ] = None,
) -> int:
    """Serve a sandbox that behaves like the providers, until Ctrl-C."""
    check_speed(speed)
    try:
        sandbox_module().run(
            host,
            port,
            speed=speed,
            credits=credits_,
            keys=key,
            in_flight=in_flight,
            seed=seed,
            status_words=status_words,
            codes=codes,
            faults=fault or (),
            ready=_print_sandbox,
        )
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        place = f"port {port}" if host is None else f"port {port} of {host}"
        options = "--port" if host is None else "--host or --port"
        raise ConfigurationError(f"cannot listen on {place}: {reason}; choose another with {options}") from error
    except ValueError as error:  # of a key or a fault
        raise ConfigurationError(f"{error}; nothing was started") from error
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
    key = shlex.quote(server.key)
    print_summary(
        f"The sandbox runs at {server.url} until Ctrl-C. To use it:",
        f"  export WERYAI_BASE_URL={server.url}",
        f"  export WERYAI_MODELS_BASE_URL={server.url}",
        f"  export WERYAI_API_KEY={key}",
        f"It serves BetterWaifu too, v1-images at {server.url} and jobs at {server.jobs_url}:",
        f"  export BETTERWAIFU_BASE_URL={server.url}",
        f"  export BETTERWAIFU_API_KEY={key}",
        "Clients adapt to its speed with:",
        f"  export AIOWERY_SANDBOX_SPEED={server.speed:g}",
    )
