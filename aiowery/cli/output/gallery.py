"""The gallery: one HTML page that shows the results of a batch.

Pictures and texts are embedded, so that the file can be sent or moved. If the pictures are larger than 32 MiB, the page
refers to the picture files beside it. Videos and sounds are always separate files.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
import re
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from html import escape
from itertools import chain
from pathlib import Path, PurePath
from typing import Final
from urllib.parse import quote, urlsplit

import attrs

from aiowery._base.new_files import PRIVATE, create, open_regular, write_all
from aiowery._base.text import bounded
from aiowery._core.file_types import SVG_SUFFIX, suffixes_of
from aiowery.cli.file_names import MANIFEST
from aiowery.cli.output.gallery_assets import SCRIPT, STYLE
from aiowery.cli.records import ItemStatus, Record, Summary, duration

_GENERATOR: Final = '<meta name="generator" content="aiowery">'
_MAX_HEAD: Final = 1000
_MAX_TEXT: Final = 20_000
_MAX_EMBEDDED: Final = 32 * 1024**2
_RATIO: Final = re.compile(r"(\d{1,4})\s*+:\s*+(\d{1,4})\b")
_SHOWN_FIELDS: Final = ("type", "model", "aspect_ratio", "resolution", "quality")
_NARROWEST: Final = 0.5
_WIDEST: Final = 3.0
_TEXT_RATIO: Final = 1.4
_VIDEOS: Final = suffixes_of("video")
_SOUNDS: Final = suffixes_of("audio")
_TEXTS: Final = frozenset({".txt", ".md"})
# Only the page's own script runs, and only files are loaded. The styles of figures are attributes.
_SCRIPT_HASH: Final = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
_FILES: Final = "'self' file: data:"
_POLICY: Final = (
    f"default-src 'none'; img-src {_FILES}; media-src {_FILES}; style-src 'unsafe-inline';"
    f" script-src 'sha256-{_SCRIPT_HASH}'; base-uri 'none'; form-action 'none'"
)

Source = Callable[[str], str]


@attrs.frozen(kw_only=True)
class GalleryFiles:
    """Access to the files of a page: `picture` returns the URL of a picture, `text_of` the content of a text file."""

    picture: Source = quote
    text_of: Source = lambda _: ""


def is_gallery(path: Path) -> bool:
    """Return True for a page that `write_gallery` has written."""
    with contextlib.suppress(OSError), open_regular(path) as file:
        return _GENERATOR.encode() in file.read(_MAX_HEAD)
    return False


def write_gallery(path: Path, title: str, records: Sequence[Record], summary: Summary, *, mode: int = PRIVATE) -> None:
    """Write the page, as a new file of this mode, beside the files of the records. Raises OSError."""
    named = chain.from_iterable((*record.files, *record.covers.values()) for record in records)
    pictures = [path.with_name(name) for name in named if _is_picture(name)]
    whole = sum(picture.stat().st_size for picture in pictures) <= _MAX_EMBEDDED
    source = partial(_embedded, path.parent) if whole else quote
    files = GalleryFiles(picture=source, text_of=partial(_file_text, path.parent))
    file = create(path, mode)
    try:
        with file:
            for part in gallery_parts(title, records, summary, files):
                write_all(file, f"{part}\n".encode("utf-8", "replace"))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _file_text(directory: Path, name: str) -> str:
    """Return the text of a file, or the start of a long one."""
    with (directory / name).open(
        encoding="utf-8", errors="replace"
    ) as file:  # the provider's text may be invalid UTF-8
        return file.read(_MAX_TEXT)


def _embedded(directory: Path, name: str) -> str:
    content = base64.b64encode((directory / name).read_bytes()).decode()
    return f"data:{mimetypes.guess_type(name)[0] or 'image/png'};base64,{content}"


def gallery_parts(
    title: str, records: Sequence[Record], summary: Summary, files: GalleryFiles = GalleryFiles()
) -> Iterator[str]:
    """Yield the page's parts. All texts are escaped."""
    failed = [record for record in records if record.status is not ItemStatus.DONE]
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8">{_GENERATOR}'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{escape(title)}: {summary.files:,} results</title><link rel="icon" href="data:,">'
    yield f"<style>{STYLE}</style></head><body>"
    yield from _head(title, records, summary)
    yield from _bar(failed)
    if failed:
        yield from _failures(failed)
    yield '<main class="wall">'
    varied = varying_fields(records)
    yield from chain.from_iterable(_pieces(record, varied, files) for record in records)
    yield "</main>"
    yield f'<p class="foot">Every request with its task ids, credits and files: <a href="{MANIFEST}">{MANIFEST}</a></p>'
    yield f"<script>{SCRIPT}</script></body></html>"


def _head(title: str, records: Iterable[Record], summary: Summary) -> Iterator[str]:
    times = [record.seconds for record in records if record.status is ItemStatus.DONE and record.seconds is not None]
    lost = summary.total - summary.statuses[ItemStatus.DONE]
    facts = [
        ("requests", f"{summary.total:,}", ""),
        ("results", f"{summary.files:,}", ""),
        ("without a result", f"{lost:,}", "alarm" if lost else ""),
        ("credits", "" if summary.credits is None else f"{summary.credits:,g}", ""),
        ("the whole run", duration(summary.seconds), ""),
        ("a typical job", duration(statistics.median(times)) if times else "\N{EN DASH}", ""),
    ]
    date = datetime.now().astimezone()
    yield f'<header class="head"><div><p class="over">aiowery batch, {date.day} {date:%B %Y}</p>'
    yield f'<h1>{escape(title)}</h1></div><dl class="facts">'
    for name, value, style in facts:
        if value:  # unknown credits are not shown as zero
            yield f'<div class="{style}"><dt>{name}</dt><dd>{value}</dd></div>'
    yield "</dl></header>"


def _bar(failed: Sequence[Record]) -> Iterator[str]:
    yield '<div class="bar"><input type="search" placeholder="Filter by words" aria-label="Filter by words">'
    yield "<output></output>"
    if failed:
        yield f'<a href="#failures">{len(failed):,} without a result</a>'
    yield "</div>"


def _failures(failed: Sequence[Record]) -> Iterator[str]:
    yield '<details class="failures" id="failures" open>'
    yield f"<summary>{len(failed):,} without a result</summary><ol>"
    for record in failed:
        prompt = escape(record.prompt or f"line {record.line}")
        yield f'<li data-words="{_search_text(record)}"><p>{_number(record)} {prompt}</p>'
        reason = record.status.value.replace("_", " ")
        if record.problem is not None:
            reason += f": {record.problem.message}"
        yield f'<p class="why">{escape(reason)}</p>'
        if record.task_ids:
            yield f'<p class="ids">{escape(", ".join(record.task_ids))}</p>'
        yield from (f'<p class="ids">{_link(url)}</p>' for url in record.urls)
        yield "</li>"
    yield "</ol></details>"


def _pieces(record: Record, varied: Sequence[str], files: GalleryFiles) -> Iterator[str]:
    """Yield a figure for each file of the record, with the request fields that vary between records."""
    for number, name in enumerate(record.files, 1):
        part = f", {number} of {len(record.files)}" if len(record.files) > 1 else ""
        lacking = '<span class="lack">, other outputs of this request failed</span>' if record.failures else ""
        yield (
            f'<figure style="--r:{aspect_ratio(record, name):.3g}" data-words="{_search_text(record)}">'
            f"{_shown(name, record, files)}"
            f'<figcaption><p title="{escape(record.prompt)}">{escape(record.prompt)}</p>'
            f"<small>{_number(record)} {escape(_facts(record, varied))}{part}{lacking}</small></figcaption></figure>"
        )


def aspect_ratio(record: Record, name: str = "") -> float:
    """Return width over height from the request's aspect ratio, between 0.5 and 3."""
    if PurePath(name).suffix.lower() in _TEXTS:
        return _TEXT_RATIO
    wanted = _RATIO.match(str((record.request or {}).get("aspect_ratio", "")).lstrip())
    if wanted is None or not int(wanted[1]) or not int(wanted[2]):
        return 1.0
    return min(max(int(wanted[1]) / int(wanted[2]), _NARROWEST), _WIDEST)


def _shown(name: str, record: Record, files: GalleryFiles) -> str:
    """Return the element that shows a file. The browser loads a file when it becomes visible."""
    file, suffix = quote(name), PurePath(name).suffix.lower()
    cover = record.covers.get(name)
    still = None if cover is None else files.picture(cover)
    if suffix in _VIDEOS:
        poster = "" if still is None else f' poster="{still}"'
        return f'<div class="piece"><video src="{file}" controls preload="none"{poster}></video></div>'
    if suffix in _SOUNDS:
        picture = "" if still is None else f'<img src="{still}" alt="" loading="lazy">'
        return f'<div class="piece sound">{picture}<audio src="{file}" controls preload="none"></audio></div>'
    if suffix in _TEXTS:
        return f'<div class="piece words" tabindex="0">{_text(files.text_of(name), file)}</div>'
    picture = f'<img src="{files.picture(name)}" alt="{escape(record.prompt)}" loading="lazy">'
    if suffix == SVG_SUFFIX:  # opened by itself, it could run scripts
        return f'<div class="piece">{picture}</div>'
    return f'<a class="piece" href="{file}">{picture}</a>'


def _text(text: str, file: str) -> str:
    more = f'... <a href="{file}">all of it</a>' if len(text) >= _MAX_TEXT else ""
    return f"{escape(text.strip())}{more}"


def _is_picture(name: str) -> bool:
    return PurePath(name).suffix.lower() not in _VIDEOS | _SOUNDS | _TEXTS


def varying_fields(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the shown fields that differ between the requests."""
    requests = [record.request for record in records if record.request is not None]
    return tuple(name for name in _SHOWN_FIELDS if len({str(request.get(name)) for request in requests}) > 1)


def _facts(record: Record, varied: Iterable[str]) -> str:
    request = record.request or {}
    facts = [
        "" if record.seconds is None else f"{record.seconds:.1f} s",
        "" if record.credits is None else f"{record.credits:g} credit{'' if record.credits == 1 else 's'}",
        *(f"{name} {fact}" for name, fact in record.facts.items() if isinstance(fact, int)),
        *(str(request.get(name, "")) for name in varied),
    ]
    return " \N{MIDDLE DOT} ".join(fact for fact in facts if fact)


def _number(record: Record) -> str:
    return f"<b>{record.index:04}</b>"


def _search_text(record: Record) -> str:
    """Return the text that the filter searches."""
    cells = " ".join(map(str, record.other_columns.values()))
    return escape(f"{record.index:04} {record.prompt} {record.status.value} {cells}".lower())


def _link(url: str) -> str:
    """Return a link for an http or https URL, else the escaped text, of which a long one loses its middle."""
    text = escape(url if _is_web(url) else bounded(url))
    return f'<a href="{text}" rel="noreferrer">{text}</a>' if _is_web(url) else text


def _is_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"http", "https"}
    except ValueError:
        return False
