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
from aiowery.cli.input.prompt_files import STDIN, Item, parse, read_text
from aiowery.cli.options import Running, Spending
from aiowery.cli.output.gallery import write_gallery
from aiowery.cli.output.progress import JsonProgress, write_line
from aiowery.cli.queries import asked
from aiowery.cli.records import Fate, Record, Summary
from aiowery.cli.run.job_source import BatchDesk, Terms, is_known
from aiowery.cli.run.manifest import GALLERY, LEDGER, MANIFEST, Manifest, belongs, forget, prepare, set_aside
from aiowery.cli.run.plan import confirm, credits_in_words, plan_of, print_plan
from aiowery.cli.run.preflight import faults_of
from aiowery.cli.run.runner import Stop
from aiowery.cli.run.session import SOME_FAILED, Parts, clean_stem, conducted, exit_code, progress_for_people
from aiowery.errors import ConfigurationError
from aiowery.webhook import Webhooks

_FAULTS_TOLD: Final = 20


@attrs.frozen(kw_only=True)
class Order:
    """What `aiowery batch` was told."""

    source: str
    out: Path
    defaults: Mapping[str, Any]
    running: Running
    limit: int | None = None
    in_flight: int | None = None
    max_doubts: int | None = None
    public_url: str | None = None
    gallery: bool = False
    strict: bool = False
    check: bool = True
    json: bool = False
    spending: Spending = attrs.field(factory=Spending)

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
            "credit_price": self.spending.credit_price,
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


def batch(order: Order) -> int:
    """Run the batch. What is wrong with key, input or directory ends it before anything is sent."""
    order.running.where.check()
    items = _items(order)
    if order.spending.dry_run:
        return _dry_run(order, items)
    settings = order.settings
    prepare(order.out)
    _look_first(order, items)
    _make_room(order)
    progress = JsonProgress() if order.json else progress_for_people()
    width = max(4, len(str(len(items))))
    began = time.monotonic()
    desks: list[BatchDesk] = []
    with Manifest(order.out, len(items), batch=order.batch) as manifest:
        parts = Parts(
            progress=progress,
            journal=manifest,
            out=order.out,
            stem=lambda item: _stem(item, width),
            desk=lambda client: _desk(client, order, desks),
        )
        running = conducted(items, parts, order.running, order.in_flight, max_doubts=order.max_doubts, **settings)
        records, stop = asyncio.run(running)
    progress.stop()
    summary = Summary.of(records, time.monotonic() - began)
    code = exit_code(stop, whole=summary.all_done, doubts=bool(summary.fates[Fate.IN_DOUBT]))
    has_gallery = order.gallery and _gallery(order, records, summary)
    if order.gallery and not has_gallery:
        code = code or SOME_FAILED
    before = sum(desk.ended_before for desk in desks)
    _tell_end(order, summary, stop, before=before, has_gallery=has_gallery)
    if isinstance(progress, JsonProgress):
        progress.finished(summary, code)
    return code


def _items(order: Order) -> list[Item]:
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


def _make_room(order: Order) -> None:
    """Take away what an earlier run of this batch has told; move what another one left."""
    if order.ledger is not None and belongs(order.out, order.batch) and is_known(order.ledger, order.batch):
        forget(order.out)
    elif aside := set_aside(order.out):
        write_line(sys.stderr, f"The earlier batch in {order.out} now lies in {aside}.")


def _desk(client: Client, order: Order, desks: list[BatchDesk]) -> BatchDesk:
    terms = Terms(name=order.batch, budget=order.spending.budget, reuse=order.spending.reuse)
    desks.append(BatchDesk(client, terms, check=order.check and not order.strict))  # which has asked about all of them
    return desks[0]


def _dry_run(order: Order, items: Sequence[Item]) -> int:
    """Show what would be sent, and make no file."""

    async def show(client: Any) -> None:
        plan = await plan_of(client, order.batch, items, await faults_of(client, items, check=order.check))
        await print_plan(client, plan, order.spending.credit_price)

    there = order.ledger if order.ledger is not None and order.ledger.exists() else None
    asked(order.running, show, **{**order.settings, "ledger": there})
    return 0


def _look_first(order: Order, items: Sequence[Item]) -> None:
    """Raise what forbids the run, before anything that an earlier one has told is touched.

    That is ConfigurationError for what --strict forbids and for an answer that is not yes, and LedgerError.
    """

    async def look(client: Client) -> None:
        if order.strict:
            _refuse(order, await faults_of(client, items, check=order.check))
        if not order.running.sandbox:
            plan = await plan_of(client, order.batch, items, {})
            confirm(plan, order.spending.credit_price, yes=order.spending.yes)

    if order.strict or not order.running.sandbox:
        asked(order.running, look, **order.settings)


def _refuse(order: Order, faults: Mapping[int, str]) -> None:
    if faults:
        lines = [f"{order.name}, line {line}: {fault}" for line, fault in faults.items()]
        more = [f"and {len(faults) - _FAULTS_TOLD} more"] if len(faults) > _FAULTS_TOLD else []
        told = "\n  ".join((*lines[:_FAULTS_TOLD], *more))
        raise ConfigurationError(f"nothing was sent, because of --strict and:\n  {told}")


def _stem(item: Item, width: int) -> str:
    """Name an item's files by its place and its prompt."""
    return f"{item.index:0{width}}-{clean_stem(item)}"


def _gallery(order: Order, records: Sequence[Record], summary: Summary) -> bool:
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


def _tell_end(order: Order, summary: Summary, stop: Stop | None, *, before: int, has_gallery: bool) -> None:
    lines = [f"{summary}."]
    if before:
        lines.append(f"{before:,} had come to their end before, and were not sent again.")
    if summary.credits and order.spending.credit_price is not None:
        lines.append(f"{credits_in_words(summary.credits, order.spending.credit_price)}.")
    if stop is not None:
        lines.append(f"Stopped early: {stop.reason}")
    if summary.fates[Fate.NOT_SUBMITTED]:
        again = "" if order.ledger is None else " The same command again goes on with them."
        lines.append(f"{summary.fates[Fate.NOT_SUBMITTED]:,} remain that were not submitted and cost nothing.{again}")
    if summary.fates[Fate.IN_DOUBT]:
        ledger = "" if order.ledger is None else f": aiowery doubts list --ledger {order.ledger}"
        lines.append(f"{summary.fates[Fate.IN_DOUBT]:,} may have been charged, and wait for your decision{ledger}")
    lines.append(f"Results and {MANIFEST}: {order.out}")
    if has_gallery:
        lines.append(f"Gallery: {(order.out / GALLERY).resolve().as_uri()}")
    write_line(sys.stderr if order.json else sys.stdout, "\n".join(lines))
