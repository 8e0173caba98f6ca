"""Saving outputs: streamed, atomic, resumed where they broke off, without any credentials."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import attrs

from aiowery._base.snapshot import Asset
from aiowery._base.text import clean_name
from aiowery._core.events import log
from aiowery._core.policies import Random, RetryPolicy
from aiowery._core.result import Result
from aiowery._http.http_client import DownloadResponse, HttpClient
from aiowery.errors import DownloadError, TransportError

T = TypeVar("T")

_FLUSH: Final = 1024 * 1024
_LARGEST_FILE: Final = 4 * 1024**3
_LARGEST_IN_MEMORY: Final = 512 * 1024**2
# A delivery network may know a file a little later than the provider does.
_PASSING: Final = frozenset({403, 404, 408, 429})
_SERVER_ERRORS: Final = 500
_PARTIAL: Final = 206
_RANGE_REFUSED: Final = 416
_SUFFIXES: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/svg+xml": ".svg",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "video/quicktime": ".mov",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/ogg": ".ogg",
    "audio/flac": ".flac",
}
_PAGES: Final = frozenset({"text/html", "application/json", "application/xml", "text/xml"})


class _Transient(Exception):
    """A download broke off in a way that a repeat may cure."""


class Downloader:
    """Fetches assets through the door, a few at a time."""

    def __init__(self, door: HttpClient, gate: asyncio.Semaphore, retries: RetryPolicy, random: Random) -> None:
        self._door = door
        self._gate = gate
        self._retries = retries
        self._random = random
        self._under_way: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def save(self, what: Result | Asset, directory: Path, stem: str | None) -> tuple[Path, ...]:
        """Save every asset into the directory, made if missing; return the paths in asset order."""
        assets = (what,) if isinstance(what, Asset) else what.assets
        names = [clean_name(stem or asset.task_id or PurePosixPath(_path_of(asset.url)).stem) for asset in assets]
        shared = len(set(names)) < len(names)
        paths = []
        for number, (asset, name) in enumerate(zip(assets, names, strict=True), 1):
            part = PartialFile(asset.url, directory, f"{name}-{number}" if shared else name)
            async with self._lock_for(part.path):
                paths.append(await self._with_retries(asset.url, part.path, partial(self._save_once, asset.url, part)))
        return tuple(paths)

    async def fetch(self, asset: Asset) -> bytes:
        """Return the asset's bytes."""
        return await self._with_retries(asset.url, None, partial(self._read_once, asset.url))

    def _lock_for(self, path: Path) -> asyncio.Lock:
        """Return the lock of a part: two downloads of one file must not write into it in turn."""
        return self._under_way.setdefault(path, asyncio.Lock())

    async def _with_retries(self, url: str, path: Path | None, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make attempts, each behind the gate, until one succeeds or repeating cannot help."""
        failures = 0
        while True:
            try:
                async with self._gate:
                    return await attempt()
            except OSError as fault:
                raise DownloadError(
                    f"cannot save {url} as {path}: {fault.strerror or fault}; the url still holds the output",
                    url=url,
                    path=path,
                ) from fault
            except (_Transient, TransportError) as fault:
                failures += 1
                if failures >= self._retries.max_attempts:
                    raise DownloadError(
                        f"cannot fetch {url}: {fault} (attempt {failures}, the last); try again later",
                        url=url,
                        path=path,
                    ) from fault
                pause = self._retries.backoff(failures, None, self._random)
                log.warning("download of %s: %s; again in %.1f s", url, fault, pause)
                await anyio.sleep(pause)

    async def _read_once(self, url: str) -> bytes:
        content = bytearray()
        async with self._door.download(url, {}) as body:
            _check(url, body)
            async for chunk in body.chunks():
                content += chunk
                _check_size(url, len(content), _LARGEST_IN_MEMORY)
        _check_complete(body, len(content))
        return bytes(content)

    async def _save_once(self, url: str, part: PartialFile) -> Path:
        found = await anyio.to_thread.run_sync(part.found)
        have = found.size
        async with self._door.download(url, {"range": f"bytes={have}-"} if have else {}) as body:
            if body.http_status == _RANGE_REFUSED:
                await anyio.to_thread.run_sync(part.discard)
                raise _Transient("the server cannot go on where the download broke off")
            _check(url, body)
            part = attrs.evolve(part, version=_version(body))
            if have and not (_resumes_at(body, have) and part.version == found.version):
                await anyio.to_thread.run_sync(part.discard)
                have = 0
                if body.http_status == _PARTIAL:
                    raise _Transient("the file has changed since its download began")
            buffer = bytearray()
            try:
                async for chunk in body.chunks():
                    buffer += chunk
                    _check_size(url, have + len(buffer), _LARGEST_FILE)
                    if len(buffer) >= _FLUSH:
                        have = await anyio.to_thread.run_sync(part.save_version, bytes(buffer), have)
                        buffer.clear()
            except TransportError:
                await anyio.to_thread.run_sync(
                    part.save_version, bytes(buffer), have
                )  # the next attempt goes on from here
                raise
        return await anyio.to_thread.run_sync(part.finish, bytes(buffer), have, body)


@attrs.frozen
class PartialFile:
    """The file of a download under way, beside its target; its methods block and run in threads.

    What is left of a broken attempt has a small file beside it that names the version it belongs to.
    """

    url: str
    directory: Path
    name: str
    version: str = ""

    @property
    def path(self) -> Path:
        return self.directory / f".{self.name}.{_digest(self.url)}.part"

    @property
    def _version_path(self) -> Path:
        return self.path.with_suffix(".version")

    def found(self) -> _Found:
        """Return what an earlier attempt left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return _Found("", 0)
        version = self._version_path.read_text("ascii", "replace") if self._version_path.exists() else ""
        return _Found(version, self.path.stat().st_size)

    def save_version(self, content: bytes, have: int) -> int:
        """Add to what is there, or begin anew when nothing of it counts; return the new size."""
        if not have:
            self._version_path.write_text(self.version, "ascii")
        return self._write(content, have)

    def finish(self, content: bytes, have: int, body: DownloadResponse) -> Path:
        """Write the rest and, if the file is whole, give it its name."""
        target = self.directory / (self.name + _suffix(body, self.url))
        try:
            if self._write(content, have) != self.path.stat().st_size:
                self.discard()
                raise _Transient("somebody else wrote into the same file")
            _check_complete(body, have + len(content))
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            self.path.replace(target)
        except FileNotFoundError as fault:
            raise _Transient("somebody else has taken the same file away, having finished it or not") from fault
        self._version_path.unlink(missing_ok=True)
        return target

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    def _write(self, content: bytes, have: int) -> int:
        with self.path.open("ab" if have else "wb") as file:
            file.write(content)
        return have + len(content)


class _Found(NamedTuple):
    """A part that lies there: of which version of the file, and how much of it."""

    version: str
    size: int


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _version(body: DownloadResponse) -> str:
    """Return a short name of the file's version, so that no part is continued with another one's end."""
    return _digest(body.headers.get("etag") or body.headers.get("last-modified", ""))


def _path_of(url: str) -> str:
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""  # the door will say what is wrong with it


def _suffix(body: DownloadResponse, url: str) -> str:
    """Return the file's ending, from the content type or, if that says nothing, from the url."""
    suffix = PurePosixPath(_path_of(url)).suffix.lower()
    return _SUFFIXES.get(body.content_type) or (suffix if suffix in _SUFFIXES.values() else ".bin")


def _check(url: str, body: DownloadResponse) -> None:
    """Let only the beginning of a file pass."""
    if body.http_status in _PASSING or body.http_status >= _SERVER_ERRORS:
        raise _Transient(f"HTTP {body.http_status}")
    if body.http_status not in {200, _PARTIAL}:
        raise DownloadError(f"cannot fetch {url}: HTTP {body.http_status}; the output may have expired", url=url)
    if body.content_type in _PAGES:
        raise _Transient(f"a page ({body.content_type}) instead of a file")


def _check_size(url: str, size: int, largest: int) -> None:
    if size > largest:
        raise DownloadError(f"{url} is larger than {largest} bytes; fetch it with another tool", url=url)


def _resumes_at(body: DownloadResponse, have: int) -> bool:
    """Whether the answer goes on at the byte that was asked for."""
    return (
        not body.encoded
        and body.http_status == _PARTIAL
        and body.headers.get("content-range", "").startswith(f"bytes {have}-")
    )


def _check_complete(body: DownloadResponse, size: int) -> None:
    """Compare the size with what the headers promised, if they did."""
    if body.encoded:
        return  # the headers count what went over the wire
    total = body.headers.get("content-range", "").rpartition("/")[2] or body.headers.get("content-length", "")
    if total.isdigit() and int(total) != size:
        raise _Transient(f"{size} of {total} bytes arrived")
