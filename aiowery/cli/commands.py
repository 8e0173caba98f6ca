"""The commands, each from its options to an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from aiowery.cli import queries
from aiowery.cli.exit_codes import DONE
from aiowery.cli.input import set_option, types_table
from aiowery.cli.input.prompt_files import Form
from aiowery.cli.input.requests import RequestDefaults, from_object, with_options
from aiowery.cli.input.texts import clean_values
from aiowery.cli.options import (
    AT_LEAST_ONE,
    LedgerOptions,
    NoCheck,
    PictureOptions,
    ProviderOptions,
)
from aiowery.cli.output.models_table import print_models
from aiowery.cli.output.plain_text import number
from aiowery.cli.output.tables import object_of, print_table
from aiowery.cli.providers import request_types
from aiowery.cli.run import single
from aiowery.cli.run.batch import run_batch
from aiowery.cli.run.batch_options import BatchOptions
from aiowery.cli.terminal import print_json, print_text
from aiowery.errors import ConfigurationError

_CHAT: Final = "chat"
_OUT: Final = "The directory for the results; created if missing."


def _defaults(connection: ProviderOptions, pictures: PictureOptions) -> RequestDefaults:
    """Return the defaults of a command that makes requests from prompts."""
    service = connection.service
    return with_options(service.request_types, service.info.prompt_type, pictures.given())


def _no_option(_: object, value: str) -> None:
    """Raise ValueError for a mistyped option, which would otherwise be taken as a file name."""
    if value.startswith("--"):
        raise ValueError(f"unknown option {value}")


def generate(
    prompt: Annotated[str, Parameter(help="What to show in the picture.")],
    /,
    *,
    out: Annotated[Path, Parameter(help=_OUT)],
    pictures: PictureOptions = PictureOptions(),  # noqa: B008 - frozen
    no_check: NoCheck = False,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Make pictures from one prompt, save them, and print their paths."""
    request = from_object({"prompt": prompt}, _defaults(connection, pictures))
    return single.run_single(single.SingleOptions(request=request, out=out, connection=connection, check=not no_check))


def run(
    type_: Annotated[
        str | None, Parameter(name="TYPE", help="The request type, such as text-to-video; --list shows all types.")
    ] = None,
    /,
    *,
    set_: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative="",
            show_default=False,
            help="field=value, once per field; repeat it for each item of a list; field= leaves the field out."
            " Pictures, videos and sounds are URLs or local files, which are uploaded first.",
        ),
    ] = None,
    json: Annotated[
        str | None,
        Parameter(help="All fields as a JSON object; @FILE reads a file, - standard input.", allow_leading_hyphen=True),
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="Save the outputs in this directory (created if missing) instead of printing URLs.")
    ] = None,
    raw: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Print the provider's response, one JSON object per task."),
    ] = False,
    fields: Annotated[bool, Parameter(negative="", show_default=False, help="Show the fields of TYPE.")] = False,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", show_default=False, help="Show every TYPE with its purpose.")
    ] = False,
    no_check: NoCheck = False,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Run a request of any type: a video, a song, a transcript, an upscaled picture. Print its outputs.

    A text is printed. For any other output, its URL is printed, or with --out the path of its file. For example:

    aiowery run text-to-video --set prompt="a lighthouse in a storm" --set duration=5 --out videos

    aiowery run image-upscale --set image_url=photo.jpg --out large

    aiowery run speech-recognize --set audio_url=talk.mp3
    """
    if type_ is None:
        if not list_:
            raise ConfigurationError(
                "TYPE is missing; nothing was sent: name a request type, such as text-to-video"
                " (aiowery run --list shows all types)"
            )
        types_table.show_types(request_types(connection.provider))
        return DONE
    types = request_types(connection.provider)
    request_type = set_option.known_type(types, type_)
    if fields or list_:
        types_table.show_fields(request_type, types)
        return DONE
    connection = connection.for_type(request_type.type_name)
    request_type = connection.service.request_types.request_type(request_type.type_name)
    request = set_option.request_of(request_type, json, set_ or [])
    return single.run_single(
        single.SingleOptions(request=request, out=out, connection=connection, check=not no_check, raw=raw)
    )


def batch(
    prompts: Annotated[
        str,
        Parameter(
            help="A file: .txt (one prompt per line), .csv or .tsv (the first line names the columns: prompt, or type"
            " and that type's fields), .jsonl (one object per line, such as"
            ' {"type": "text-to-audio", "text": "Hi"}),'
            " .json (an array of objects); - reads standard input. Types may be mixed. Names that are no fields are"
            " notes: they are kept in the manifest, and not sent. Local files are relative to the current directory.",
            allow_leading_hyphen=True,
            validator=_no_option,
        ),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help=_OUT)],
    format_: Annotated[
        Form | None,
        Parameter(
            name="--format",
            help="The format of the input (default: by the name's ending; standard input is recognized by its start).",
        ),
    ] = None,
    pictures: PictureOptions = PictureOptions(),  # noqa: B008 - frozen
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
    limit: Annotated[int | None, Parameter(help="Run only the first LIMIT requests.", validator=AT_LEAST_ONE)] = None,
    in_flight: Annotated[
        int | None,
        Parameter(help="Maximum number of tasks at the same time (WeryAI's limit is 20).", validator=AT_LEAST_ONE),
    ] = None,
    max_doubts: Annotated[
        int | None,
        Parameter(
            help="Pause submitting after this many submissions in a row without a clear answer (default: 3). After"
            " three failed probes the batch ends with exit code 3.",
            validator=AT_LEAST_ONE,
        ),
    ] = None,
    ledger_options: LedgerOptions = LedgerOptions(),  # noqa: B008 - frozen
    public_url: Annotated[
        str | None,
        Parameter(
            help="The public URL of aiowery webhook, which runs with the same ledger: a webhook delivery then reports"
            " the end of a task, instead of polls every few seconds."
        ),
    ] = None,
    gallery: Annotated[
        bool, Parameter(negative="", show_default=False, help="Write gallery.html, a page that shows the results.")
    ] = False,
    strict: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Send nothing if any line is wrong, or if the model registry reports an issue.",
        ),
    ] = False,
    no_check: NoCheck = False,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print events for programs, one JSON object per line.")
    ] = False,
) -> int:
    """Run a file of requests, save all outputs, and write a manifest with the outcome of each.

    Run the same command again to resume a run that has ended: nothing is sent or paid for twice.
    """
    options = BatchOptions(
        source=prompts,
        out=out,
        defaults=_defaults(connection, pictures),
        connection=connection,
        form=format_,
        limit=limit,
        in_flight=in_flight,
        max_doubts=max_doubts,
        public_url=public_url,
        gallery=gallery,
        strict=strict,
        check=not no_check,
        json=json,
        ledger_options=ledger_options,
    )
    return run_batch(options)


def models(
    *,
    kind: Annotated[
        str | None, Parameter(help="Show only models of this kind of output, such as image, video or chat.")
    ] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print models as JSON, one object per line.")
    ] = False,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Show the models and the parameters that each accepts."""
    found = connection.service.info.documented_models
    if found:
        found = [model for model in found if kind in {None, model.kind}]
    else:
        found = queries.query(connection, lambda client: client.models(kind))
    if json:
        print_json(map(object_of, found))
    else:
        print_models(found)
    return DONE


def chat(
    message: Annotated[
        str,
        Parameter(help="The message; - reads standard input.", allow_leading_hyphen=True, validator=_no_option),
    ],
    /,
    *,
    model: Annotated[str | None, Parameter(help="The model; aiowery models --kind chat shows them.")] = None,
    system: Annotated[str | None, Parameter(help="The system message: instructions for the model.")] = None,
    max_tokens: Annotated[
        int | None, Parameter(help="Maximum length of the answer, in tokens.", validator=AT_LEAST_ONE)
    ] = None,
    temperature: Annotated[float | None, Parameter(help="Randomness of the answer, from 0 to 2.")] = None,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Send a message to a chat model and print its answer."""
    types = connection.service.info.request_types
    if _CHAT not in types.requests:
        raise ConfigurationError(
            f"{connection.service.info.provider.name} has no chat models; nothing was sent: choose another --provider"
        )
    settings = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
    given = clean_values({name: value for name, value in settings.items() if value is not None})
    request = types.from_dict({"type": _CHAT, "messages": queries.conversation(message, system), **given})
    queries.print_answer(queries.query(connection, lambda client: client.run(request)))
    return DONE


def upload(
    *files: Annotated[Path, Parameter(help="Pictures (jpg, png, webp), videos or sounds.")],
    legacy: Annotated[
        bool, Parameter(negative="", show_default=False, help="Use the provider's older upload endpoint.")
    ] = False,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Upload files and print their URLs, one per line."""
    if not files:
        raise ConfigurationError("no file is given; nothing was sent: name the files to upload, such as photo.jpg")
    queries.query(connection, lambda client: queries.upload_all(client, files, legacy=legacy))
    return DONE


def speakers(
    *,
    language: Annotated[str | None, Parameter(help="Show only speakers of this language: en, zh or ja.")] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print speakers as JSON, one object per line.")
    ] = False,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Show the speakers for podcasts."""
    found = queries.query(connection, lambda client: queries.fetch_speakers(client, language))
    if json:
        print_json(map(object_of, found))
    else:
        rows = [(voice.id, voice.name, voice.gender, voice.language, voice.demo_url or "") for voice in found]
        print_table(("id", "name", "gender", "language", "listen"), rows)
    return DONE


def status(
    task_id: Annotated[str, Parameter(help="The id of a task that was submitted earlier.")],
    /,
    *,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Print the state of a task."""
    queries.print_snapshot(queries.query(connection, lambda client: client.status(task_id)))
    return DONE


def batch_status(
    batch_id: Annotated[str, Parameter(help="The provider's id of a group of tasks that one request started.")],
    /,
    *,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Print the states of all tasks that one request started."""
    for snapshot in queries.query(connection, lambda client: client.batch_status(batch_id)):
        queries.print_snapshot(snapshot)
    return DONE


def balance(
    *,
    connection: ProviderOptions = ProviderOptions(),  # noqa: B008 - frozen
) -> int:
    """Print the credits that are left."""
    credits_left = queries.query(connection, lambda client: client.balance())
    print_text(number(credits_left) or "unknown")
    return DONE
