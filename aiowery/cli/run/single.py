"""The run of a single request, from its options to its exit code."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import attrs

from aiowery import Request, Result
from aiowery.cli.exit_codes import WRONG_USE
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.options import ConnectionOptions
from aiowery.cli.records import ItemStatus, Record
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.cli.run.manifest import NoManifest, prepare_directory
from aiowery.cli.run.session import RunParts, clean_stem, exit_code, make_progress, run_items
from aiowery.cli.terminal import as_json, print_notice, print_result


@attrs.frozen(kw_only=True)
class SingleOptions:
    """Options of `aiowery generate` and `aiowery run`."""

    request: Request[Any]
    out: Path | None
    connection: ConnectionOptions
    check: bool = True
    raw: bool = False


def run_single(options: SingleOptions) -> int:
    """Run one request, print its outputs, and return the exit code."""
    options.connection.target.check()
    item = InputItem(index=1, line=0, request=options.request)
    stem = ""
    if options.out is not None:
        prepare_directory(options.out)
        stem = _free_stem(options.out, item)
    results: list[Result] = []
    progress = make_progress(with_prompts=bool(options.connection.verbose))
    parts = RunParts(
        progress=progress,
        manifest=NoManifest(),
        out=options.out,
        stem=lambda _: stem,
        job_source=lambda client: SingleJobSource(client, check=options.check),
        on_result=results.append,
    )
    (record,), stop = asyncio.run(run_items([item], parts, options.connection))
    progress.stop()
    _print_next_steps(options, record, has_result=bool(results))
    for result in results:
        _print_result(options, result, record)
    if record.is_invalid and stop is None:
        return WRONG_USE
    return exit_code(stop, is_complete=record.is_complete, has_doubts=record.status is ItemStatus.IN_DOUBT)


def _print_result(options: SingleOptions, result: Result, record: Record) -> None:
    """Print the text of a result, or the paths or URLs of its outputs. Raises OutputError if that is not possible."""
    files = [] if options.out is None else [options.out / name for name in (*record.files, *record.covers.values())]
    paths = list(map(str, files))
    if options.raw:
        printed, noticed = [as_json(part) for part in result.raw], [*paths, *record.urls]
    elif not result.assets:
        printed, noticed = [result.text or ""], [*paths, *record.urls]
    elif options.out is None:
        printed, noticed = list(record.urls), []
    else:
        printed, noticed = paths, list(record.urls)
    for line in noticed:
        print_notice(line)
    if printed:
        print_result("\n".join(printed))


def _print_next_steps(options: SingleOptions, record: Record, *, has_result: bool) -> None:
    """Print what a request without a result has left, and commands that continue from here."""
    if not has_result and record.urls:
        print_notice("\n".join(("These outputs exist all the same:", *record.urls)))
    if record.task_ids and not record.is_complete:
        command = " ".join(("aiowery status TASK_ID", *options.connection.service.options))
        print_notice(f"task ids: {', '.join(record.task_ids)} ({command} shows their state)")
    next_type = options.request.next_type
    if record.is_complete and next_type is not None:
        print_notice(f"To continue: aiowery run {next_type} --set task_id={record.task_ids[0]}")
    if options.connection.sandbox and (record.urls or next_type is not None):
        print_notice(
            "The sandbox of this run is closed, and its results are gone: --out DIR saves results,"
            " and `aiowery sandbox` runs one until Ctrl-C.",
        )


def _free_stem(out: Path, item: InputItem) -> str:
    """Return a stem made from the prompt, with a number if files of that name exist."""
    stem = clean_stem(item)
    taken = {path.name for path in out.iterdir()}
    candidates = itertools.chain([stem], (f"{stem}-no{number}" for number in itertools.count(2)))
    return next(name for name in candidates if not any(other.startswith((f"{name}.", f"{name}-1.")) for other in taken))
