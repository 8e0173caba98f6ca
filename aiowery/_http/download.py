"""Save outputs: streamed, atomic, resumed after an interruption, and without any credentials."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Sequence
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

_FLUSH_SIZE: Final = 1024 * 1024
_MAX_FILE: Final = 4 * 1024**3
_MAX_IN_MEMORY: Final = 512 * 1024**2
# A delivery network may know a file a little later than the provider does.
_TRANSIENT_STATUSES: Final = frozenset({403, 404, 408, 425, 429})
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
_NOT_FILES: Final = frozenset({"text/html", "application/json", "application/xml", "text/xml"})


class _Transient(Exception):
    """A failed download that a repeat may cure. `retry_after`: the seconds of the pause that the server requests."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Downloader:
    """A downloader of assets that limits how many run at the same time."""

    def __init__(self, http_client: HttpClient, gate: asyncio.Semaphore, retries: RetryPolicy, random: Random) -> None:
        self._http_client = http_client
        self._gate = gate
        self._retries = retries
        self._random = random
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def save(self, source: Result | Asset, directory: Path, stem: str | None) -> tuple[Path, ...]:
        """Save every asset into the directory, which is created if missing; return the paths in asset order."""
        assets = (source,) if isinstance(source, Asset) else source.assets
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
        """Return the lock of a partial file: two downloads must not write into one file."""
        return self._locks.setdefault(path, asyncio.Lock())

    async def _with_retries(self, url: str, path: Path | None, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run attempts, each inside the gate, until one succeeds or a repeat cannot help."""
        failures = 0
        while True:
            try:
                async with self._gate:
                    return await attempt()
            except OSError as fault:
                raise DownloadError(
                    f"cannot save {url} as {path}: {fault.strerror or fault}; the URL still holds the output",
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
                pause = self._retries.backoff(failures, getattr(fault, "retry_after", None), self._random)
                log.warning("download of %s: %s; again in %.1f s", url, fault, pause)
                await anyio.sleep(pause)

    async def _read_once(self, url: str) -> bytes:
        content = bytearray()
        async with self._http_client.download(url, {}) as body:
            _check_response(url, body)
            async for chunk in body.chunks():
                content += chunk
                _check_size(url, len(content), _MAX_IN_MEMORY)
        _check_complete(body, len(content))
        return bytes(content)

    async def _save_once(self, url: str, part: PartialFile) -> Path:
        state = await anyio.to_thread.run_sync(part.read_state)
        offset = state.size
        async with self._http_client.download(url, {"range": f"bytes={offset}-"} if offset else {}) as body:
            if body.http_status == _RANGE_REFUSED:
                await anyio.to_thread.run_sync(part.discard)
                raise _Transient("the server cannot continue the partial download")
            _check_response(url, body)
            part = attrs.evolve(part, version=_version(body))
            if offset and not (_resumes_at(body, offset) and part.version == state.version):
                await anyio.to_thread.run_sync(part.discard)
                offset = 0
                if body.http_status == _PARTIAL:
                    raise _Transient("the file has changed since its download began")
            chunks: list[bytes] = []
            received = offset
            try:
                async for chunk in body.chunks():
                    chunks.append(chunk)
                    received += len(chunk)
                    _check_size(url, received, _MAX_FILE)
                    if received - offset >= _FLUSH_SIZE:
                        offset = await anyio.to_thread.run_sync(part.save_version, chunks, offset)
                        chunks = []
            except TransportError:
                # The next attempt continues from here.
                await anyio.to_thread.run_sync(part.save_version, chunks, offset)
                raise
        return await anyio.to_thread.run_sync(part.finish, chunks, offset, body)


@attrs.frozen
class PartialFile:
    """A file that a download writes, beside its target; its methods block and run in threads.

    A second small file names the version of the remote file, so that a later attempt can continue.
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

    def read_state(self) -> _PartialState:
        """Return the version and size of what an earlier attempt saved."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return _PartialState("", 0)
        version = self._version_path.read_text("ascii", "replace") if self._version_path.exists() else ""
        return _PartialState(version, self.path.stat().st_size)

    def save_version(self, chunks: Sequence[bytes], offset: int) -> int:
        """Append to the file, or begin it again if `offset` is 0; return the new size."""
        if not offset:
            self._version_path.write_text(self.version, "ascii")
        return self._write(chunks, offset)

    def finish(self, chunks: Sequence[bytes], offset: int, body: DownloadResponse) -> Path:
        """Write the rest, and rename the file to its target if it is complete."""
        target = self.directory / (self.name + _suffix(body, self.url))
        try:
            size = self._write(chunks, offset)
            if size != self.path.stat().st_size:
                self.discard()
                raise _Transient("another process wrote into the same file")
            _check_complete(body, size)
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            self.path.replace(target)
        except FileNotFoundError as fault:
            raise _Transient("another process finished or removed the same file") from fault
        self._version_path.unlink(missing_ok=True)
        return target

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    def _write(self, chunks: Sequence[bytes], offset: int) -> int:
        with self.path.open("ab" if offset else "wb") as file:
            file.writelines(chunks)
        return offset + sum(map(len, chunks))


class _PartialState(NamedTuple):
    """The version and size in bytes of a partial file."""

    version: str
    size: int


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def _version(body: DownloadResponse) -> str:
    """Return a short name of the file's version, so that parts of two versions are not joined."""
    return _digest(body.headers.get("etag") or body.headers.get("last-modified", ""))


def _path_of(url: str) -> str:
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""  # the HTTP client raises the error


def _suffix(body: DownloadResponse, url: str) -> str:
    """Return the file's suffix, from the content type or else from the URL."""
    suffix = PurePosixPath(_path_of(url)).suffix.lower()
    return _SUFFIXES.get(body.content_type) or (suffix if suffix in _SUFFIXES.values() else ".bin")


def _check_response(url: str, body: DownloadResponse) -> None:
    """Raise an error unless the response is the beginning of a file."""
    if body.http_status in _TRANSIENT_STATUSES or body.http_status >= _SERVER_ERRORS:
        raise _Transient(f"HTTP {body.http_status}", body.retry_after())
    if body.http_status not in {200, _PARTIAL}:
        raise DownloadError(f"cannot fetch {url}: HTTP {body.http_status}; the output may have expired", url=url)
    if body.content_type in _NOT_FILES:
        raise _Transient(f"a page ({body.content_type}) instead of a file", body.retry_after())


def _check_size(url: str, size: int, largest: int) -> None:
    if size > largest:
        raise DownloadError(f"{url} is larger than {largest} bytes; fetch it with another tool", url=url)


def _resumes_at(body: DownloadResponse, offset: int) -> bool:
    """Return True if the response continues at the requested byte."""
    return body.http_status == _PARTIAL and body.headers.get("content-range", "").startswith(f"bytes {offset}-")


def _check_complete(body: DownloadResponse, size: int) -> None:
    """Raise _Transient if the size differs from the size in the headers."""
    total = body.headers.get("content-range", "").rpartition("/")[2] or body.headers.get("content-length", "")
    if total.isdigit() and int(total) != size:
        raise _Transient(f"{size} of {total} bytes arrived")
