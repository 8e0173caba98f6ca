"""A batch, from what was ordered to the exit code."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiowery._client.client import Client
from aiowery.cli.exit_codes import SOME_FAILED
from aiowery.cli.file_names import GALLERY, LEDGER, MANIFEST
from aiowery.cli.input.prompt_files import STDIN, InputItem, parse, read_text
from aiowery.cli.options import ConnectionOptions, LedgerOptions
from aiowery.cli.output.gallery import write_gallery
from aiowery.cli.output.progress import JsonProgress, write_line
from aiowery.cli.queries import query
from aiowery.cli.records import ItemStatus, Record, Summary
from aiowery.cli.run.job_source import BatchJobSource, BatchTerms, is_known
from aiowery.cli.run.manifest import Manifest, belongs, forget, prepare, set_aside
from aiowery.cli.run.plan import confirm, credits_text, make_plan, print_plan
from aiowery.cli.run.preflight import find_faults
from aiowery.cli.run.runner import StopReason
from aiowery.cli.run.session import RunParts, clean_stem, exit_code, progress_for_people, run_items
from aiowery.errors import ConfigurationError
from aiowery.webhook import Webhooks

_FAULTS_TOLD: Final = 20


@attrs.frozen(kw_only=True)
class BatchOptions:
    """What `aiowery batch` was told."""

    source: str
    out: Path
    defaults: Mapping[str, Any]
    running: ConnectionOptions
    limit: int | None = None
    in_flight: int | None = None
    max_doubts: int | None = None
    public_url: str | None = None
    gallery: bool = False
    strict: bool = False
    check: bool = True
    json: bool = False
    spending: LedgerOptions = attrs.field(factory=LedgerOptions)

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.source == STDIN else self.source

    @property
    def batch(self) -> str:
        """The name in the ledger."""
        name = self.spending.batch or ("standard input" if self.source == STDIN else Path(self.source).name)
        return name.encode("utf-8", "backslashreplace").decode()  # a file's name may hold bytes that are no text

    @property
    def ledger(self) -> Path | None:
        """The file of the ledger; None for the memory, as long as a sandbox lives."""
        if self.spending.ledger is None and self.running.sandbox:
            return None
        return self.spending.ledger or self.out / LEDGER

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the client is to know of money, and of being called back."""
        return {
            "ledger": self.ledger,
            "prices": self.spending.prices,
            "price_per_credit": self.spending.price_per_credit,
            **self._webhooks,
        }

    @property
    def _webhooks(self) -> Mapping[str, Any]:
        if self.public_url is None:
            return {}
        if self.running.service.name != "weryai":
            raise ConfigurationError("--public-url: only WeryAI calls back; leave it out")
        if self.ledger is None:
            raise ConfigurationError("--public-url: name the ledger that aiowery webhook was given, with --ledger")
        return {"webhooks": Webhooks(public_url=self.public_url)}


def run_batch(order: BatchOptions) -> int:
    """Run the batch. What is wrong with key, input or directory ends it before anything is sent."""
    order.running.where.check()
    items = _items(order)
    if order.spending.dry_run:
        return _dry_run(order, items)
    settings = order.settings
    prepare(order.out)
    _preflight(order, items)
    _prepare_output(order)
    progress = JsonProgress() if order.json else progress_for_people()
    width = max(4, len(str(len(items))))
    began = time.monotonic()
    desks: list[BatchJobSource] = []
    with Manifest(order.out, len(items), batch=order.batch) as manifest:
        parts = RunParts(
            progress=progress,
            journal=manifest,
            out=order.out,
            stem=lambda item: _stem(item, width),
            job_source=lambda client: _job_source(client, order, desks),
        )
        running = run_items(items, parts, order.running, order.in_flight, max_doubts=order.max_doubts, **settings)
        records, stop = asyncio.run(running)
    progress.stop()
    summary = Summary.of(records, time.monotonic() - began)
    code = exit_code(stop, whole=summary.all_done, doubts=bool(summary.statuses[ItemStatus.IN_DOUBT]))
    has_gallery = order.gallery and _gallery(order, records, summary)
    if order.gallery and not has_gallery:
        code = code or SOME_FAILED
    before = sum(desk.ended_before for desk in desks)
    _print_summary(order, summary, stop, before=before, has_gallery=has_gallery)
    if isinstance(progress, JsonProgress):
        progress.finished(summary, code)
    return code


def _items(order: BatchOptions) -> list[InputItem]:
    text, form = read_text(order.source)
    name = order.name
    try:
        items = list(itertools.islice(parse(text, form, order.defaults), order.limit))
    except ConfigurationError as fault:
        raise ConfigurationError(f"{name}: {fault}") from fault
    if not items:
        raise ConfigurationError(f"{name} holds no prompts; nothing to do")
    if order.strict:
        _refuse(order, {item.line: item.fault for item in items if item.fault is not None})
    return items


def _prepare_output(order: BatchOptions) -> None:
    """Take away what an earlier run of this batch has told; move what another one left."""
    if order.ledger is not None and belongs(order.out, order.batch) and is_known(order.ledger, order.batch):
        forget(order.out)
    elif aside := set_aside(order.out):
        write_line(sys.stderr, f"The earlier batch in {order.out} now lies in {aside}.")


def _job_source(client: Client, order: BatchOptions, desks: list[BatchJobSource]) -> BatchJobSource:
    terms = BatchTerms(name=order.batch, budget=order.spending.budget, reuse=order.spending.reuse)
    desks.append(
        BatchJobSource(client, terms, check=order.check and not order.strict)
    )  # which has asked about all of them
    return desks[0]


def _dry_run(order: BatchOptions, items: Sequence[InputItem]) -> int:
    """Show what would be sent, and make no file."""

    async def show(client: Any) -> None:
        plan = await make_plan(client, order.batch, items, await find_faults(client, items, check=order.check))
        await print_plan(client, plan, order.spending.price_per_credit)

    there = order.ledger if order.ledger is not None and order.ledger.exists() else None
    query(order.running, show, **{**order.settings, "ledger": there})
    return 0


def _preflight(order: BatchOptions, items: Sequence[InputItem]) -> None:
    """Raise what forbids the run, before anything that an earlier one has told is touched.

    That is ConfigurationError for what --strict forbids and for an answer that is not yes, and LedgerError.
    """

    async def look(client: Client) -> None:
        if order.strict:
            _refuse(order, await find_faults(client, items, check=order.check))
        if not order.running.sandbox:
            plan = await make_plan(client, order.batch, items, {})
            confirm(plan, order.spending.price_per_credit, yes=order.spending.yes)

    if order.strict or not order.running.sandbox:
        query(order.running, look, **order.settings)


def _refuse(order: BatchOptions, faults: Mapping[int, str]) -> None:
    if faults:
        lines = [f"{order.name}, line {line}: {fault}" for line, fault in faults.items()]
        more = [f"and {len(faults) - _FAULTS_TOLD} more"] if len(faults) > _FAULTS_TOLD else []
        told = "\n  ".join((*lines[:_FAULTS_TOLD], *more))
        raise ConfigurationError(f"nothing was sent, because of --strict and:\n  {told}")


def _stem(item: InputItem, width: int) -> str:
    """Name an item's files by its place and its prompt."""
    return f"{item.index:0{width}}-{clean_stem(item)}"


def _gallery(order: BatchOptions, records: Sequence[Record], summary: Summary) -> bool:
    """Write the page; tell why if that cannot be."""
    path = order.out / GALLERY
    title = "Prompts" if order.source == STDIN else Path(order.source).name
    try:
        write_gallery(path, title, records, summary)
    except OSError as fault:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        write_line(sys.stderr, f"aiowery: cannot write {path}: {fault.strerror or fault}")
        return False
    return True


def _print_summary(
    order: BatchOptions, summary: Summary, stop: StopReason | None, *, before: int, has_gallery: bool
) -> None:
    lines = [f"{summary}."]
    if before:
        lines.append(f"{before:,} had come to their end before, and were not sent again.")
    if summary.credits and order.spending.price_per_credit is not None:
        lines.append(f"{credits_text(summary.credits, order.spending.price_per_credit)}.")
    if stop is not None:
        lines.append(f"Stopped early: {stop.reason}")
    if summary.statuses[ItemStatus.NOT_SUBMITTED]:
        again = "" if order.ledger is None else " The same command again goes on with them."
        lines.append(
            f"{summary.statuses[ItemStatus.NOT_SUBMITTED]:,} remain that were not submitted and cost nothing.{again}"
        )
    if summary.statuses[ItemStatus.IN_DOUBT]:
        ledger = "" if order.ledger is None else f": aiowery doubts list --ledger {order.ledger}"
        lines.append(
            f"{summary.statuses[ItemStatus.IN_DOUBT]:,} may have been charged, and wait for your decision{ledger}"
        )
    lines.append(f"Results and {MANIFEST}: {order.out}")
    if has_gallery:
        lines.append(f"Gallery: {(order.out / GALLERY).resolve().as_uri()}")
    write_line(sys.stderr if order.json else sys.stdout, "\n".join(lines))
