"""A batch, or a single request, from what was ordered to the exit code."""

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
from rich.console import Console

from aiowery import Event, LaneBackedOff
from aiowery._names import clean_name
from aiowery.cli._bar import BarProgress
from aiowery.cli._gallery import write_gallery
from aiowery.cli._inputs import STDIN, Item, parse, read_text
from aiowery.cli._logs import logs_told
from aiowery.cli._manifest import GALLERY, MANIFEST, Journal, Manifest, NoJournal, prepare, set_aside
from aiowery.cli._options import Running
from aiowery.cli._progress import JsonProgress, PlainProgress, Progress, write_line
from aiowery.cli._records import Fate, Record, Summary
from aiowery.cli._requests import from_object, prompt_of
from aiowery.cli._run import Run, Stem, Stop
from aiowery.cli._setup import opened
from aiowery.cli._signals import on_signals
from aiowery.errors import ConfigurationError

_SOME_FAILED: Final = 1
_LONGEST_STEM: Final = 60
_FAULTS_TOLD: Final = 20
_BUSY_EVERY: Final = 10.0


@attrs.frozen(kw_only=True)
class Order:
    """What `aiowery batch` was told."""

    source: str
    out: Path
    defaults: Mapping[str, Any]
    running: Running
    limit: int | None = None
    in_flight: int | None = None
    gallery: bool = False
    strict: bool = False
    json: bool = False


def batch(order: Order) -> int:
    """Run the batch. What is wrong with key, input or directory ends it before anything is sent."""
    order.running.where.check()
    items = _items(order)
    prepare(order.out)
    if aside := set_aside(order.out):
        write_line(sys.stderr, f"The earlier batch in {order.out} now lies in {aside}.")
    progress = _progress(json=order.json)
    width = max(4, len(str(len(items))))
    began = time.monotonic()
    with Manifest(order.out, len(items)) as manifest:
        parts = _Parts(progress=progress, journal=manifest, out=order.out, stem=lambda item: _stem(item, width))
        records, stop = asyncio.run(_ran(items, parts, order.running, order.in_flight))
    progress.stop()
    summary = Summary.of(records, time.monotonic() - began)
    code = _exit_code(stop, whole=summary.all_done)
    has_gallery = order.gallery and _gallery(order, records, summary)
    if order.gallery and not has_gallery:
        code = code or _SOME_FAILED
    _tell_end(order, summary, stop, has_gallery=has_gallery)
    if isinstance(progress, JsonProgress):
        progress.finished(summary, code)
    return code


def generate(values: Mapping[str, Any], out: Path, running: Running) -> int:
    """Run one request and print the files."""
    running.where.check()
    item = Item(index=1, line=0, request=from_object(values, {}))
    prepare(out)
    stem = _free_stem(out, item)
    progress = _progress(json=False)
    parts = _Parts(progress=progress, journal=NoJournal(), out=out, stem=lambda _: stem)
    (record,), stop = asyncio.run(_ran([item], parts, running, None))
    progress.stop()
    for name in record.files:
        print(out / name)
    if record.task_ids and not record.whole:
        write_line(sys.stderr, f"task ids: {', '.join(record.task_ids)} (aiowery status TASK_ID asks about them)")
    return _exit_code(stop, whole=record.whole)


@attrs.frozen(kw_only=True)
class _Parts:
    """Where a run tells, notes and saves."""

    progress: Progress
    journal: Journal
    out: Path
    stem: Stem


async def _ran(
    items: Sequence[Item], parts: _Parts, running: Running, in_flight: int | None
) -> tuple[tuple[Record, ...], Stop | None]:
    """Open the client, run the items, let signals through."""
    places = sum(item.request.places for item in items if item.request is not None)
    progress = parts.progress
    with logs_told(running.verbose, progress.say) as logs:
        async with opened(running.where, in_flight=in_flight, places=places, observer=_Observer(progress)) as client:
            run = Run(client, parts.out, stem=parts.stem, journal=parts.journal, progress=progress)
            with on_signals(run.interrupt, run.leave):
                records = await run.finish(items)
        if logs.unsaid:
            progress.say(f"{logs.unsaid:,} warnings of the library were not shown; --verbose shows them.")
    return records, run.stopped


class _Observer:
    """Tells why nothing moves when the provider is too busy, now and then."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told_at = float("-inf")

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, LaneBackedOff) and now >= self._told_at + _BUSY_EVERY:
            self._told_at = now
            self._progress.say(f"The provider is busy; submitting goes on in {event.pause:.1f} s ({event.error})")


def _items(order: Order) -> list[Item]:
    text, form = read_text(order.source)
    name = "standard input" if order.source == STDIN else order.source
    try:
        items = list(itertools.islice(parse(text, form, order.defaults), order.limit))
    except ConfigurationError as fault:
        raise ConfigurationError(f"{name}: {fault}") from fault
    if not items:
        raise ConfigurationError(f"{name} holds no prompts; nothing to do")
    faults = [f"{name}, line {item.line}: {item.fault}" for item in items if item.fault is not None]
    if order.strict and faults:
        more = [f"and {len(faults) - _FAULTS_TOLD} more"] if len(faults) > _FAULTS_TOLD else []
        told = "\n  ".join((*faults[:_FAULTS_TOLD], *more))
        raise ConfigurationError(f"nothing was sent, because of --strict and:\n  {told}")
    return items


def _progress(*, json: bool) -> JsonProgress | PlainProgress | BarProgress:
    if json:
        return JsonProgress()
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else PlainProgress()


def _stem(item: Item, width: int) -> str:
    """Name an item's files by its place and its prompt."""
    return f"{item.index:0{width}}-{_clean(item)}"


def _free_stem(out: Path, item: Item) -> str:
    """Name a single request's files by the prompt, and by a number if something of that name is there."""
    stem = _clean(item)
    taken = {path.name for path in out.iterdir()}
    names = itertools.chain([stem], (f"{stem}-no{number}" for number in itertools.count(2)))
    return next(name for name in names if not any(other.startswith((f"{name}.", f"{name}-1.")) for other in taken))


def _clean(item: Item) -> str:
    # Here and not above: it brings the HTTP library, which a help page or a refusal need not wait for.

    return clean_name(prompt_of(item.request).lower(), _LONGEST_STEM) if item.request is not None else ""


def _exit_code(stop: Stop | None, *, whole: bool) -> int:
    if stop is not None:
        return stop.exit_code
    return 0 if whole else _SOME_FAILED


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


def _tell_end(order: Order, summary: Summary, stop: Stop | None, *, has_gallery: bool) -> None:
    lines = [f"{summary}."]
    if stop is not None:
        lines.append(f"Stopped early: {stop.reason}")
    if summary.fates[Fate.NOT_SUBMITTED]:
        lines.append(f"{summary.fates[Fate.NOT_SUBMITTED]:,} remain that were not submitted and cost nothing.")
    lines.append(f"Results and {MANIFEST}: {order.out}")
    if has_gallery:
        lines.append(f"Gallery: {(order.out / GALLERY).resolve().as_uri()}")
    write_line(sys.stderr if order.json else sys.stdout, "\n".join(lines))
