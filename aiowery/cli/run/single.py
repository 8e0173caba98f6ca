"""The run of a single request, from its options to its exit code."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import attrs

from aiowery import Request, Result
from aiowery.cli.exit_codes import WRONG_USE
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.options import ConnectionOptions
from aiowery.cli.output.progress import write_line
from aiowery.cli.records import ItemStatus, Record
from aiowery.cli.run.job_source import SingleJobSource
from aiowery.cli.run.manifest import NoManifest, prepare_directory
from aiowery.cli.run.session import RunParts, clean_stem, exit_code, make_progress, run_items


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
    progress = make_progress()
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
    for result in results:
        _print_result(options, result, record)
    _print_next_steps(options, record)
    if record.is_invalid and stop is None:
        return WRONG_USE
    return exit_code(stop, is_complete=record.is_complete, has_doubts=record.status is ItemStatus.IN_DOUBT)


def _print_result(options: SingleOptions, result: Result, record: Record) -> None:
    """Print the text of a result, or the paths or URLs of its outputs."""
    files = [] if options.out is None else [options.out / name for name in (*record.files, *record.covers.values())]
    if options.raw:
        for part in result.raw:
            print(json.dumps(part, ensure_ascii=False))
    elif not result.assets:
        print(result.text)
    for name in files:
        print(name, file=sys.stderr if options.raw or not result.assets else sys.stdout)
    for url in record.urls:
        print(url, file=sys.stdout if options.out is None and not options.raw else sys.stderr)


def _print_next_steps(options: SingleOptions, record: Record) -> None:
    """Print commands that continue from here."""
    if record.task_ids and not record.is_complete:
        command = " ".join(("aiowery status TASK_ID", *options.connection.service.options))
        write_line(sys.stderr, f"task ids: {', '.join(record.task_ids)} ({command} shows their state)")
    next_type = options.request.next_type
    if record.is_complete and next_type is not None:
        write_line(sys.stderr, f"To continue: aiowery run {next_type} --set task_id={record.task_ids[0]}")
    if options.connection.sandbox and (record.urls or next_type is not None):
        write_line(
            sys.stderr,
            "The sandbox of this run is closed, and its results are gone: --out DIR saves results,"
            " and `aiowery sandbox` runs one until Ctrl-C.",
        )


def _free_stem(out: Path, item: InputItem) -> str:
    """Return a stem made from the prompt, with a number if files of that name exist."""
    stem = clean_stem(item)
    taken = {path.name for path in out.iterdir()}
    candidates = itertools.chain([stem], (f"{stem}-no{number}" for number in itertools.count(2)))
    return next(name for name in candidates if not any(other.startswith((f"{name}.", f"{name}-1.")) for other in taken))
