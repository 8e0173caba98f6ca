"""A single request, from what was ordered to the exit code."""

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
from aiowery.cli.run.manifest import NoManifest, prepare
from aiowery.cli.run.session import RunParts, clean_stem, exit_code, progress_for_people, run_items
from aiowery.weryai import Podcast


@attrs.frozen(kw_only=True)
class SingleOptions:
    """What `aiowery generate` or `run` was told."""

    request: Request[Any]
    out: Path | None
    running: ConnectionOptions
    check: bool = True
    raw: bool = False


def run_single(order: SingleOptions) -> int:
    """Run one request and print what it brought."""
    order.running.where.check()
    item = InputItem(index=1, line=0, request=order.request)
    stem = ""
    if order.out is not None:
        prepare(order.out)
        stem = _free_stem(order.out, item)
    results: list[Result] = []
    progress = progress_for_people()
    parts = RunParts(
        progress=progress,
        journal=NoManifest(),
        out=order.out,
        stem=lambda _: stem,
        job_source=lambda client: SingleJobSource(client, check=order.check),
        brought=results.append,
    )
    (record,), stop = asyncio.run(run_items([item], parts, order.running))
    progress.stop()
    for result in results:
        _print_result(order, result, record)
    _print_next_steps(order, record)
    if record.from_misuse and stop is None:
        return WRONG_USE
    return exit_code(stop, whole=record.whole, doubts=record.status is ItemStatus.IN_DOUBT)


def _print_result(order: SingleOptions, result: Result, record: Record) -> None:
    """Print what was brought: words, or else where the outputs lie."""
    files = [] if order.out is None else [order.out / name for name in (*record.files, *record.covers.values())]
    if order.raw:
        for part in result.raw:
            print(json.dumps(part, ensure_ascii=False))
    elif not result.assets:
        print(result.text)
    for name in files:
        print(name, file=sys.stderr if order.raw or not result.assets else sys.stdout)
    for url in record.urls:
        print(url, file=sys.stdout if order.out is None and not order.raw else sys.stderr)


def _print_next_steps(order: SingleOptions, record: Record) -> None:
    """Tell how to go on."""
    if record.task_ids and not record.whole:
        write_line(sys.stderr, f"task ids: {', '.join(record.task_ids)} (aiowery status TASK_ID asks about them)")
    if record.whole and isinstance(order.request, Podcast):
        write_line(sys.stderr, f"To have it spoken: aiowery run podcast-voice --set task_id={record.task_ids[0]}")
    if order.running.sandbox and (record.urls or isinstance(order.request, Podcast)):
        write_line(
            sys.stderr,
            "The sandbox of this run has ended, and what it made with it: --out DIR saves results,"
            " `aiowery sandbox` keeps one running.",
        )


def _free_stem(out: Path, item: InputItem) -> str:
    """Name a single request's files by the prompt, and by a number if something of that name is there."""
    stem = clean_stem(item)
    taken = {path.name for path in out.iterdir()}
    names = itertools.chain([stem], (f"{stem}-no{number}" for number in itertools.count(2)))
    return next(name for name in names if not any(other.startswith((f"{name}.", f"{name}-1.")) for other in taken))
