"""The run of a batch, from its options to its exit code."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery._client.client import Client
from aiowery.cli.exit_codes import DONE, SOME_FAILED
from aiowery.cli.file_names import MANIFEST, file_mode
from aiowery.cli.input.prompt_files import STDIN, InputItem, parse, read_text
from aiowery.cli.output.gallery import write_gallery
from aiowery.cli.output.progress import JsonProgress, Progress
from aiowery.cli.queries import query
from aiowery.cli.records import ItemStatus, Record, Summary
from aiowery.cli.run.batch_options import BatchOptions
from aiowery.cli.run.job_source import BatchJobSource, BatchTerms, has_batch
from aiowery.cli.run.manifest import (
    Manifest,
    belongs_to,
    free_gallery,
    locked,
    prepare_directory,
    remove_run_files,
    set_aside,
)
from aiowery.cli.run.plan import Plan, confirm, credits_text, make_plan, print_plan
from aiowery.cli.run.preflight import find_faults
from aiowery.cli.run.session import RunParts, clean_stem, exit_code, make_progress, run_items
from aiowery.cli.run.stop_reason import StopReason
from aiowery.cli.terminal import print_notice, print_summary
from aiowery.errors import ConfigurationError

_MAX_FAULTS_SHOWN: Final = 20


@attrs.frozen(kw_only=True)
class _Outcome:
    """Outcome of the items of a batch."""

    records: Sequence[Record]
    stop: StopReason | None
    finished_before: int
    summary: Summary


def run_batch(options: BatchOptions) -> int:
    """Run the batch. Raises ConfigurationError, before anything is sent, if key, input or directory is wrong."""
    options.connection.target.check()
    items = _read_items(options)
    if options.ledger_options.dry_run:
        return _dry_run(options, items)
    settings = options.client_settings
    prepare_directory(options.out)
    with locked(options.out):
        _preflight(options, items)
        _prepare_output(options)
        progress = JsonProgress() if options.json else make_progress(with_prompts=bool(options.connection.verbose))
        outcome = _run(options, items, progress, settings)
        progress.stop()
        return _report(options, outcome, progress)


def _run(
    options: BatchOptions, items: Sequence[InputItem], progress: Progress, settings: Mapping[str, Any]
) -> _Outcome:
    width = max(4, len(str(len(items))))
    started_at = time.monotonic()
    sources: list[BatchJobSource] = []

    def make_source(client: Client) -> BatchJobSource:
        sources.append(_job_source(client, options))
        return sources[0]

    mode = file_mode(options.ledger_path)
    with Manifest(options.out, len(items), batch=options.batch_name, mode=mode) as manifest:
        parts = RunParts(
            progress=progress,
            manifest=manifest,
            out=options.out,
            stem=lambda item: f"{item.index:0{width}}-{clean_stem(item)}",
            job_source=make_source,
        )
        running = run_items(
            items, parts, options.connection, options.in_flight, max_doubts=options.max_doubts, **settings
        )
        records, stop = asyncio.run(running)
    return _Outcome(
        records=records,
        stop=stop,
        finished_before=sum(source.finished_before for source in sources),
        summary=Summary.of(records, time.monotonic() - started_at),
    )


def _report(options: BatchOptions, outcome: _Outcome, progress: Progress) -> int:
    """Write the gallery, print the summary, and return the exit code."""
    summary = outcome.summary
    has_doubts = bool(summary.statuses[ItemStatus.IN_DOUBT])
    code = exit_code(outcome.stop, is_complete=summary.all_done, has_doubts=has_doubts)
    gallery = _write_gallery(options, outcome.records, summary) if options.gallery else None
    if options.gallery and gallery is None:
        code = code or SOME_FAILED
    text = "\n".join(_summary_lines(options, outcome, gallery))
    (print_notice if options.json else print_summary)(text)
    if isinstance(progress, JsonProgress):
        progress.show_summary(summary, code)
    return code


def _read_items(options: BatchOptions) -> list[InputItem]:
    text, form = read_text(options.source, options.form)
    name = options.input_name
    try:
        items = list(itertools.islice(parse(text, form, options.defaults), options.limit))
    except ConfigurationError as fault:
        raise ConfigurationError(f"{name}: {fault}; nothing was sent") from fault
    if not items:
        raise ConfigurationError(f"{name} holds no prompts; nothing was sent: write at least one")
    if options.strict:
        _raise_faults(options, {item.line: item.fault for item in items if item.fault is not None})
    return items


def _prepare_output(options: BatchOptions) -> None:
    """Remove the manifest of an earlier run of this batch, or move the files of another batch aside."""
    ledger, batch = options.ledger_path, options.batch_name
    if ledger is not None and belongs_to(options.out, batch) and has_batch(ledger, batch):
        remove_run_files(options.out)
    elif aside := set_aside(options.out):
        print_notice(f"The earlier batch in {options.out} was moved to {aside}.")


def _job_source(client: Client, options: BatchOptions) -> BatchJobSource:
    ledger_options = options.ledger_options
    terms = BatchTerms(name=options.batch_name, budget=ledger_options.budget, reuse=ledger_options.reuse)
    # With --strict, all items have been checked before.
    return BatchJobSource(client, terms, check=options.check and not options.strict)


def _dry_run(options: BatchOptions, items: Sequence[InputItem]) -> int:
    """Print the plan, without sending anything or creating a file."""

    async def show(client: Any) -> None:
        faults = await find_faults(client, items, check=options.check)
        plan = await make_plan(client, options.batch_name, items, faults)
        await print_plan(client, plan, options.ledger_options.price_per_credit)

    path = options.ledger_path
    existing = path if path is not None and path.exists() else None
    query(options.connection, show, **{**options.client_settings, "ledger": existing})
    return DONE


def _preflight(options: BatchOptions, items: Sequence[InputItem]) -> None:
    """Check the items and request consent before the files of an earlier run are touched.

    Raises ConfigurationError if --strict forbids the run or the user declines it. Raises LedgerError.
    """

    async def check(client: Client) -> Plan | None:
        if options.strict:
            _raise_faults(options, await find_faults(client, items, check=options.check))
        return None if options.connection.sandbox else await make_plan(client, options.batch_name, items, {})

    if options.strict or not options.connection.sandbox:
        plan = query(options.connection, check, **options.client_settings)
        if plan is not None:  # in no event loop, so that a Ctrl-C at the question is received
            confirm(plan, options.ledger_options.price_per_credit, yes=options.ledger_options.yes)


def _raise_faults(options: BatchOptions, faults: Mapping[int, str]) -> None:
    """Raise ConfigurationError with the faults, if there are any."""
    if faults:
        lines = [f"{options.input_name}, line {line}: {fault}" for line, fault in faults.items()]
        more = [f"and {len(faults) - _MAX_FAULTS_SHOWN} more"] if len(faults) > _MAX_FAULTS_SHOWN else []
        listed = "\n  ".join((*lines[:_MAX_FAULTS_SHOWN], *more))
        raise ConfigurationError(
            f"nothing was sent, because of --strict: correct these lines, or leave --strict out\n  {listed}"
        )


def _write_gallery(options: BatchOptions, records: Sequence[Record], summary: Summary) -> Path | None:
    """Write the gallery and return its path. If that fails, print the reason and return None."""
    path = free_gallery(options.out)
    title = "Prompts" if options.source == STDIN else Path(options.source).name
    try:
        write_gallery(path, title, records, summary, mode=file_mode(options.ledger_path))
    except OSError as fault:
        print_notice(f"aiowery: cannot write {path}: {fault.strerror or fault}")
        return None
    return path


def _summary_lines(options: BatchOptions, outcome: _Outcome, gallery: Path | None) -> Iterator[str]:
    summary, price_per_credit = outcome.summary, options.ledger_options.price_per_credit
    yield f"{summary}."
    if outcome.finished_before:
        yield f"{outcome.finished_before:,} were finished before, and were not sent again."
    if summary.credits and price_per_credit is not None:
        yield f"{credits_text(summary.credits, price_per_credit)}."
    if outcome.stop is not None:
        yield f"Stopped early: {outcome.stop.reason}"
    if unsent := summary.statuses[ItemStatus.NOT_SUBMITTED]:
        resume = "" if options.ledger_path is None else " Run the same command again to send them."
        yield f"{unsent:,} were not submitted and cost nothing.{resume}"
    if doubts := summary.statuses[ItemStatus.IN_DOUBT]:
        command = "" if options.ledger_path is None else f": aiowery doubts list --ledger {options.ledger_path}"
        yield f"{doubts:,} may have been charged, and wait for your decision{command}"
    yield f"Results and {MANIFEST}: {options.out}"
    if gallery is not None:
        yield f"Gallery: {gallery.resolve().as_uri()}"
