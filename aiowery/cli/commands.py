"""The commands: thin, each from its options to an exit code."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import attrs
from cyclopts import Parameter, validators

from aiowery.cli import queries
from aiowery.cli.connect import check_speed, sandbox_module
from aiowery.cli.exit_codes import DONE
from aiowery.cli.input import set_option, types_table
from aiowery.cli.input.requests import from_object, with_options
from aiowery.cli.ledger import webhook_server
from aiowery.cli.ledger.reader import LEDGER
from aiowery.cli.options import (
    AT_LEAST_ONE,
    ConnectionOptions,
    LedgerOptions,
    NoCheck,
    PictureOptions,
    ProviderOptions,
    Verbose,
)
from aiowery.cli.output import models_table
from aiowery.cli.output.tables import print_json, print_table
from aiowery.cli.providers import BetterWaifuService
from aiowery.cli.run import single
from aiowery.cli.run.batch import BatchOptions, run_batch
from aiowery.errors import ConfigurationError
from aiowery.weryai import Chat

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

_PORT: Final = validators.Number(gte=0, lte=65_535)
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
    wishes: PictureOptions = PictureOptions(),  # noqa: B008 - frozen
    no_check: NoCheck = False,
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Make pictures from one prompt, save them, and print where."""
    request = from_object({**with_options(running.service.default_type, wishes.given()), "prompt": prompt}, {})
    return single.run_single(single.SingleOptions(request=request, out=out, running=running, check=not no_check))


def run(
    type_: Annotated[
        str | None, Parameter(name="TYPE", help="What to ask for, such as text-to-video; --list shows everything.")
    ] = None,
    /,
    *,
    set_: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative="",
            show_default=False,
            help="field=value, once a field, again for the next item where it takes a list; field= leaves it out."
            " Pictures, videos and sounds are urls or local files, which are uploaded first.",
        ),
    ] = None,
    json: Annotated[
        str | None,
        Parameter(help="All fields as a JSON object; @FILE reads a file, - standard input.", allow_leading_hyphen=True),
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="Save what comes in this directory (made if missing) instead of printing urls.")
    ] = None,
    raw: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print the provider's answer, a JSON object a task.")
    ] = False,
    fields: Annotated[bool, Parameter(negative="", show_default=False, help="Show the fields of TYPE.")] = False,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", show_default=False, help="Show every TYPE and what it does.")
    ] = False,
    no_check: NoCheck = False,
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Ask for anything: a video, a song, a transcript, an upscaled picture; wait for it and print it.

    Words are printed, of everything else the urls, or the paths of the files with --out. For example:

    aiowery run text-to-video --set prompt="a lighthouse in a storm" --set duration=5 --out videos

    aiowery run image-upscale --set image_url=photo.jpg --out large

    aiowery run speech-recognize --set audio_url=talk.mp3
    """
    if type_ is None:
        if not list_:
            raise ConfigurationError("say what to run, such as text-to-video; aiowery run --list shows everything")
        types_table.show_types()
        return DONE
    type_name = set_option.known_type(type_)
    if fields or list_:
        types_table.show_fields(type_name)
        return DONE
    serving = running.for_type(type_name)
    request = set_option.request_of(type_name, json, set_ or [])
    return single.run_single(
        single.SingleOptions(request=request, out=out, running=serving, check=not no_check, raw=raw)
    )


def batch(
    prompts: Annotated[
        str,
        Parameter(
            help="A file: .txt (a prompt a line), .csv or .tsv (the first line names the columns: prompt, or type and"
            ' that type\'s fields), .jsonl (an object a line, such as {"type": "text-to-audio", "text": "Hi"});'
            " - reads standard input. Types may be mixed; local files are named relative to the current directory.",
            allow_leading_hyphen=True,
            validator=_no_option,
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help=_OUT)],
    wishes: PictureOptions = PictureOptions(),  # noqa: B008 - frozen
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
    limit: Annotated[int | None, Parameter(help="Take only the first so many.", validator=AT_LEAST_ONE)] = None,
    in_flight: Annotated[
        int | None, Parameter(help="Tasks under way at once (20 is WeryAI's limit).", validator=AT_LEAST_ONE)
    ] = None,
    max_doubts: Annotated[
        int | None,
        Parameter(
            help="Submissions in a row without a clear answer after which submitting pauses, 3 unless said; after"
            " three failed probes the batch ends with exit code 3.",
            validator=AT_LEAST_ONE,
        ),
    ] = None,
    spending: LedgerOptions = LedgerOptions(),  # noqa: B008 - frozen
    public_url: Annotated[
        str | None,
        Parameter(
            help="Be called back when a task ends, instead of asking every few seconds: the public address of"
            " aiowery webhook, run with the same ledger."
        ),
    ] = None,
    gallery: Annotated[
        bool, Parameter(negative="", show_default=False, help="Write gallery.html, a page to look at the results.")
    ] = False,
    strict: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Send nothing if any line is wrong, or the registry objects to any."
        ),
    ] = False,
    no_check: NoCheck = False,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print events for machines, a JSON object a line.")
    ] = False,
) -> int:
    """Run a file of requests, save all that comes, and keep a manifest of what became of each.

    Whatever ends it, the same command again goes on where it was: nothing is sent or paid for twice.
    """
    order = BatchOptions(
        source=prompts,
        out=out,
        defaults=with_options(running.service.default_type, wishes.given()),
        running=running,
        limit=limit,
        in_flight=in_flight,
        max_doubts=max_doubts,
        public_url=public_url,
        gallery=gallery,
        strict=strict,
        check=not no_check,
        json=json,
        spending=spending,
    )
    return run_batch(order)


def models(
    *,
    kind: Annotated[models_table.ModelKind | None, Parameter(help="Only models for these.")] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print a JSON object per model, a line each.")
    ] = False,
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Show the models and what each of them takes."""
    if isinstance(running.service, BetterWaifuService) and running.service.edition == "v1-images":
        models_table.print_slugs()
        return DONE
    found = queries.query(running, lambda client: models_table.models_of(client, kind))
    if json:
        print_json(found, kind="chat")
    else:
        models_table.print_models(found)
    return DONE


def chat(
    message: Annotated[
        str,
        Parameter(help="What you say; - reads standard input.", allow_leading_hyphen=True, validator=_no_option),
    ],
    /,
    *,
    model: Annotated[str | None, Parameter(help="The model; aiowery models --kind chat shows them.")] = None,
    system: Annotated[str | None, Parameter(help="How the model is to behave.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="The longest answer.", validator=AT_LEAST_ONE)] = None,
    temperature: Annotated[float | None, Parameter(help="From 0 (sober) to 2 (wild).")] = None,
    running: ConnectionOptions = ConnectionOptions(),  # noqa: B008 - frozen
) -> int:
    """Say something to a chat model and print its answer."""
    turns = queries.conversation(message, system)
    request = Chat(messages=turns, max_tokens=max_tokens, temperature=temperature)
    request = request if model is None else attrs.evolve(request, model=model)
    queries.print_answer(queries.query(running, lambda client: client.run(request)))
    return DONE


def upload(
    *files: Annotated[Path, Parameter(help="Pictures (jpg, png, webp), videos or sounds.")],
    legacy: Annotated[
        bool, Parameter(negative="", show_default=False, help="Use the provider's older address.")
    ] = False,
    running: ConnectionOptions = ConnectionOptions(),  # noqa: B008 - frozen
) -> int:
    """Upload files and print their urls, a line each."""
    if not files:
        raise ConfigurationError("name the files to upload, such as photo.jpg")
    queries.query(running, lambda client: queries.upload_all(client, files, legacy=legacy))
    return DONE


def speakers(
    *,
    language: Annotated[str | None, Parameter(help="Only those of this language: en, zh or ja.")] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print a JSON object per speaker, a line each.")
    ] = False,
    running: ConnectionOptions = ConnectionOptions(),  # noqa: B008 - frozen
) -> int:
    """Show who can speak in a podcast."""
    found = queries.query(running, lambda client: client.speakers(language))
    if json:
        print_json(found)
    else:
        rows = [(who.id, who.name, who.gender, who.language, who.demo_url or "") for who in found]
        print_table(("id", "name", "gender", "language", "listen"), rows)
    return DONE


def status(
    task_id: Annotated[str, Parameter(help="The id of a task that was submitted earlier.")],
    /,
    *,
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Ask what became of a task."""
    queries.print_snapshot(queries.query(running, lambda client: client.status(task_id)))
    return DONE


def batch_status(batch_id: Annotated[str, Parameter(help="The id that a submission of several got.")], /) -> int:
    """Ask what became of all tasks of one submission."""
    for snapshot in queries.query(ConnectionOptions(), lambda client: client.batch_status(batch_id)):
        queries.print_snapshot(snapshot)
    return DONE


def balance(
    *,
    running: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Print the credits that are left."""
    credits_left = queries.query(running, queries.fetch_balance)
    print("unknown" if credits_left is None else f"{credits_left:.12g}")
    return DONE


def sandbox(
    *,
    port: Annotated[int, Parameter(help="Where to listen; 0 takes a free port.")] = 8765,
    speed: Annotated[float, Parameter(help="How many times as fast as life tasks finish.")] = 1.0,
) -> int:
    """Serve a sandbox that behaves like the service, until Ctrl-C."""
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
    port: Annotated[int, Parameter(help="Where to listen; 0 takes a free port.", validator=_PORT)] = 8766,
    host: Annotated[str, Parameter(help="The address to listen at; 0.0.0.0 is every one of this machine.")] = (
        "127.0.0.1"
    ),
    ledger: Annotated[
        Path,
        Parameter(
            help="The ledger that the submitting processes use (made if missing), or the directory that it lies in."
        ),
    ] = LEDGER,
    verbose: Verbose = 0,
) -> int:
    """Receive the provider's calls for batches and clients that share a ledger, until Ctrl-C.

    They submit with --public-url, or with Webhooks(public_url=...), and notice a call within a tenth of a second.
    """
    return webhook_server.receive(ledger, host, port, verbose)


def _print_sandbox(running: Sandbox) -> None:
    print(f"The sandbox runs at {running.url} until Ctrl-C. Point a client at it:")
    print(f"  export WERYAI_BASE_URL={running.url}")
    print(f"  export WERYAI_API_KEY={running.key}")
    print("BetterWaifu lives there too (its jobs edition below /api/v1):")
    print(f"  export BETTERWAIFU_BASE_URL={running.url}")
    print(f"  export BETTERWAIFU_API_KEY={running.key}")
    print("Clients keep its time with:")
    print(f"  export AIOWERY_SANDBOX_SPEED={running.speed:g}", flush=True)
