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

from aiowery._client import Client
from aiowery.cli._check import faults_of
from aiowery.cli._conduct import SOME_FAILED, Parts, clean_stem, conducted, exit_code, progress_for_people
from aiowery.cli._gallery import write_gallery
from aiowery.cli._inputs import STDIN, Item, parse, read_text
from aiowery.cli._manifest import GALLERY, MANIFEST, Manifest, prepare, set_aside
from aiowery.cli._options import Running
from aiowery.cli._progress import JsonProgress, write_line
from aiowery.cli._records import Fate, Record, Summary
from aiowery.cli._run import Stop
from aiowery.errors import ConfigurationError

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
    gallery: bool = False
    strict: bool = False
    check: bool = True
    json: bool = False

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.source == STDIN else self.source


def batch(order: Order) -> int:
    """Run the batch. What is wrong with key, input or directory ends it before anything is sent."""
    order.running.where.check()
    items = _items(order)
    prepare(order.out)
    if aside := set_aside(order.out):
        write_line(sys.stderr, f"The earlier batch in {order.out} now lies in {aside}.")
    progress = JsonProgress() if order.json else progress_for_people()
    width = max(4, len(str(len(items))))
    began = time.monotonic()
    with Manifest(order.out, len(items)) as manifest:
        parts = Parts(
            progress=progress,
            journal=manifest,
            out=order.out,
            stem=lambda item: _stem(item, width),
            check=order.check,
            first=lambda client: _refuse_faulty(client, order, items),
        )
        records, stop = asyncio.run(conducted(items, parts, order.running, order.in_flight))
    progress.stop()
    summary = Summary.of(records, time.monotonic() - began)
    code = exit_code(stop, whole=summary.all_done)
    has_gallery = order.gallery and _gallery(order, records, summary)
    if order.gallery and not has_gallery:
        code = code or SOME_FAILED
    _tell_end(order, summary, stop, has_gallery=has_gallery)
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


async def _refuse_faulty(client: Client, order: Order, items: Sequence[Item]) -> None:
    """With --strict, raise ConfigurationError for files that cannot be sent and for what the registry is against."""
    if order.strict:
        _refuse(order, await faults_of(client, items, check=order.check))


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
