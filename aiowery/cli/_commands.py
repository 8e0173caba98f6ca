"""The commands: thin, each from its options to an exit code."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from aiowery.cli import _batch
from aiowery.cli._options import AT_LEAST_ONE, Running, Wishes
from aiowery.cli._setup import Where, check_speed, opened, sandbox_module
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_DONE: Final = 0
_OUT: Final = "The directory for the results; made if missing."


def _no_option(_: object, value: str) -> None:
    """Refuse a mistyped option, which would otherwise pass for a file because `-` does."""
    if value.startswith("--"):
        raise ValueError(f"unknown option {value}")


def generate(
    prompt: Annotated[str, Parameter(help="What you want to see.")],
    /,
    *,
    out: Annotated[Path, Parameter(help=_OUT)],
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    running: Running = Running(),  # noqa: B008 - frozen
) -> int:
    """Make pictures from one prompt, save them, and print where."""
    return _batch.generate({**wishes.given(), "prompt": prompt}, out, running)


def batch(
    prompts: Annotated[
        str,
        Parameter(
            help="A file: .txt (a prompt a line), .csv or .tsv (the first line names the columns, prompt among them),"
            " .jsonl (a request object a line); - reads standard input.",
            allow_leading_hyphen=True,
            validator=_no_option,
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help=_OUT)],
    wishes: Wishes = Wishes(),  # noqa: B008 - frozen
    running: Running = Running(),  # noqa: B008 - frozen
    limit: Annotated[int | None, Parameter(help="Take only the first so many.", validator=AT_LEAST_ONE)] = None,
    in_flight: Annotated[
        int | None, Parameter(help="Tasks under way at once (20 is the provider's limit).", validator=AT_LEAST_ONE)
    ] = None,
    gallery: Annotated[
        bool, Parameter(negative="", show_default=False, help="Write gallery.html, a page to look at the results.")
    ] = False,
    strict: Annotated[
        bool, Parameter(negative="", show_default=False, help="Send nothing if any line is wrong.")
    ] = False,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print events for machines, a JSON object a line.")
    ] = False,
) -> int:
    """Run a file of prompts, save every picture, and keep a manifest of what became of each."""
    order = _batch.Order(
        source=prompts,
        out=out,
        defaults=wishes.given(),
        running=running,
        limit=limit,
        in_flight=in_flight,
        gallery=gallery,
        strict=strict,
        json=json,
    )
    return _batch.batch(order)


def status(task_id: Annotated[str, Parameter(help="The id of a task that was submitted earlier.")], /) -> int:
    """Ask what became of a task."""
    return asyncio.run(_status(task_id))


def balance() -> int:
    """Print the credits that are left."""
    return asyncio.run(_balance())


def sandbox(
    *,
    port: Annotated[int, Parameter(help="Where to listen; 0 takes a free port.")] = 8765,
    speed: Annotated[float, Parameter(help="How many times as fast as life tasks finish.")] = 1.0,
) -> int:
    """Serve a sandbox that behaves like the service, until Ctrl-C."""
    check_speed(speed)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sandbox_module().run(port=port, speed=speed, ready=_tell_sandbox)
    except (OSError, OverflowError) as fault:
        reason = getattr(fault, "strerror", None) or fault
        raise ConfigurationError(f"cannot listen on port {port}: {reason}; choose another with --port") from fault
    return _DONE


async def _status(task_id: str) -> int:
    async with opened(Where()) as client:
        snapshot = await client.status(task_id)
    print(f"{snapshot.task_id}: {snapshot.state.value} ({snapshot.word or 'no word'})")
    if snapshot.reason:
        print(f"reason: {snapshot.reason}")
    if snapshot.credits is not None:
        print(f"credits: {snapshot.credits:g}")
    for asset in snapshot.assets:
        print(asset.url)
    return _DONE


async def _balance() -> int:
    async with opened(Where()) as client:
        print(f"{await client.balance():.12g}")
    return _DONE


def _tell_sandbox(running: Sandbox) -> None:
    print(f"The sandbox runs at {running.url} until Ctrl-C. Point a client at it:")
    print(f"  export WERYAI_BASE_URL={running.url}")
    print(f"  export WERYAI_API_KEY={running.key}", flush=True)
