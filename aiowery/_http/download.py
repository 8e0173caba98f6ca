"""Save outputs: streamed, atomic, resumed after an interruption, and without any credentials."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
import attrs

from aiowery._base.new_files import SHARED
from aiowery._base.snapshot import Asset, Snapshot
from aiowery._base.text import clean_name, safe_text
from aiowery._core.events import EventEmitter, OutputDownloaded, log
from aiowery._core.file_types import NoMedia
from aiowery._core.policies import Random, RetryPolicy
from aiowery._core.result import Result
from aiowery._http.content_range import Extent, extent_of, is_same_version, version_of
from aiowery._http.data_urls import decode_data_url, is_data_url
from aiowery._http.foreign import DownloadResponse
from aiowery._http.http_client import HttpClient
from aiowery._http.partial_file import NotWhole, PartialFile, PartialState, check_in_memory, url_path
from aiowery.errors import AioweryError, DownloadError, TransportError

T = TypeVar("T")
ReadStatus = Callable[[str], Awaitable[Snapshot]]
"""Returns the status of a task. Raises AioweryError."""

_FLUSH_SIZE: Final = 1024 * 1024
_MAX_FILE: Final = 4 * 1024**3
_MAX_IN_MEMORY: Final = 512 * 1024**2
_MAX_URL: Final = 300
# A delivery network may know a file a little later than the provider does.
_TRANSIENT_STATUSES: Final = frozenset({403, 404, 408, 425, 429})
# A URL that has expired, or is not valid yet; the task's status may have another one.
_EXPIRED_STATUSES: Final = frozenset({401, 403, 404, 410})
_SERVER_ERRORS: Final = 500


class _Unavailable(NotWhole):
    """A failed attempt that a repeat may cure, unless `is_final`. `retry_after`: the seconds that the server requests.

    `is_expired`: the URL may have expired.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, is_expired: bool = False, is_final: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_expired = is_expired
        self.is_final = is_final


class Downloader:
    """A downloader of assets that limits how many run at the same time.

    `read_status` shows the present URL of an output whose URL has expired. Files are made with this `mode`.
    """

    def __init__(
        self,
        http_client: HttpClient,
        gate: asyncio.Semaphore,
        retries: RetryPolicy,
        random: Random,
        read_status: ReadStatus,
        events: EventEmitter,
        mode: int = SHARED,
    ) -> None:
        self._http_client = http_client
        self._gate = gate
        self._retries = retries
        self._random = random
        self._read_status = read_status
        self._events = events
        self._mode = mode
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    async def save(
        self, source: Result | Asset, directory: Path, stem: str | None, *, svg: bool = False
    ) -> tuple[Path, ...]:
        """Save every asset into the directory, which is created if missing; return the paths in asset order."""
        assets = (source,) if isinstance(source, Asset) else source.assets
        names = [clean_name(stem or asset.task_id or PurePosixPath(url_path(asset.url)).stem) for asset in assets]
        shared = len(set(names)) < len(names)
        paths = []
        for number, (asset, name) in enumerate(zip(assets, names, strict=True), 1):
            # A URL that is renewed differs in its query.
            key = asset.url if asset.task_id is None else f"{asset.task_id} {url_path(asset.url)}"
            name = f"{name}-{number}" if shared else name  # noqa: PLW2901 - the same name, made unique
            file = PartialFile(asset.url, directory, name, key, mode=self._mode, svg=svg)
            path = await self._with_retries(asset, partial(self._save_once, file))
            self._report(asset, path)
            paths.append(path)
        return tuple(paths)

    async def fetch(self, asset: Asset) -> bytes:
        """Return the asset's bytes."""
        content = await self._with_retries(asset, self._read_once)
        self._report(asset, None)
        return content

    def _report(self, asset: Asset, path: Path | None) -> None:
        where = "memory" if path is None else path.name
        log.debug("downloaded: %s to %s", _shown(asset.url), where, extra={"task_id": asset.task_id})
        self._events.emit(OutputDownloaded(asset=asset, path=path))

    def _lock_for(self, path: Path) -> asyncio.Lock:
        """Return the lock of a partial file: two downloads must not write into one file."""
        return self._locks.setdefault(path, asyncio.Lock())

    async def _with_retries(self, asset: Asset, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Run attempts until one succeeds or a repeat cannot help; a URL that expired is renewed once."""
        url, failures, is_renewed = asset.url, 0, False
        while True:
            try:
                return await attempt(url)
            except (NotWhole, TransportError) as fault:
                if not is_renewed and getattr(fault, "is_expired", False):
                    is_renewed = True
                    fresh = await self._fresh_url(asset)
                    if fresh is not None and fresh != url:
                        url = fresh
                        continue
                failures += 1
                if failures >= self._retries.max_attempts or getattr(fault, "is_final", False):
                    raise DownloadError(
                        f"cannot fetch {_shown(url)}: {fault} (attempt {failures}, the last); try again later", url=url
                    ) from fault
                pause = self._retries.backoff(failures, getattr(fault, "retry_after", None), self._random)
                extra = {"task_id": asset.task_id}
                log.warning("download of %s: %s; again in %.1f s", _shown(url), fault, pause, extra=extra)
                await anyio.sleep(pause)

    async def _fresh_url(self, asset: Asset) -> str | None:
        """Return the URL that the task's status has for an asset now; None if that is not known."""
        if asset.task_id is None:
            return None
        try:
            snapshot = await self._read_status(asset.task_id)
        except AioweryError as error:  # the error of the download is the one to report
            log.debug("task %s: no fresh URL of its output: %s", asset.task_id, error)
            return None
        return _same_output(asset, snapshot)

    async def _read_once(self, url: str) -> bytes:
        if is_data_url(url):
            decoded, media_type = await anyio.to_thread.run_sync(_decode, url)
            _check_media(decoded, media_type, url)
            return decoded
        content = bytearray()
        async with self._gate, self._http_client.download(url, {}) as body:
            _check_response(body)
            extent = _extent(body)
            if extent.start:
                raise _Unavailable("a part of the file that was not requested")
            async for chunk in body.chunks():
                content += chunk
                _check_size(url, len(content), _MAX_IN_MEMORY)
        if extent.wanted not in {None, len(content)}:
            raise _Unavailable(f"{len(content)} of {extent.wanted} bytes arrived")
        whole = bytes(content)
        try:
            check_in_memory(whole, body.content_type, url)
        except NoMedia as fault:
            raise _Unavailable(str(fault), body.retry_after()) from fault
        return whole

    async def _save_once(self, file: PartialFile, url: str) -> Path:
        file = attrs.evolve(file, url=url)
        async with self._lock_for(file.path):
            try:
                if is_data_url(file.url):
                    return await anyio.to_thread.run_sync(_save_data, file)
                async with self._gate:
                    return await self._fetch_once(file)
            except OSError as fault:
                raise DownloadError(
                    f"cannot save {_shown(file.url)} as {file.path}: {fault.strerror or fault};"
                    " the URL still holds the output",
                    url=file.url,
                    path=file.path,
                ) from fault

    async def _fetch_once(self, file: PartialFile) -> Path:
        state = await anyio.to_thread.run_sync(file.read_state)
        headers = {"range": f"bytes={state.size}-"} if state.size else {}
        async with self._http_client.download(file.url, headers) as body:
            if not state.size or body.http_status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                _check_response(body)
            try:
                file, extent = _continued(file, state, body)
            except NotWhole:
                await anyio.to_thread.run_sync(file.discard)
                raise
            _check_size(file.url, extent.wanted or 0, _MAX_FILE)
            chunks: list[bytes] = []
            offset = received = extent.start
            try:
                async for chunk in body.chunks():
                    chunks.append(chunk)
                    received += len(chunk)
                    _check_size(file.url, received, _MAX_FILE)
                    if received - offset >= _FLUSH_SIZE:
                        offset = await anyio.to_thread.run_sync(file.save, chunks, offset)
                        chunks = []
            except (DownloadError, TransportError) as fault:
                # The next attempt continues from here, if the server names the version of the file.
                is_resumable = isinstance(fault, TransportError) and file.version
                await anyio.to_thread.run_sync(partial(file.save, chunks, offset) if is_resumable else file.discard)
                raise
        try:
            return await anyio.to_thread.run_sync(file.finish, chunks, offset, extent, body.content_type)
        except NoMedia as fault:
            raise _Unavailable(str(fault), body.retry_after()) from fault


def _continued(file: PartialFile, state: PartialState, body: DownloadResponse) -> tuple[PartialFile, Extent]:
    """Return the partial file with the version in the response, and the extent of the response.

    Raises NotWhole for a response that neither continues the partial file nor begins it again.
    """
    if body.http_status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _Unavailable("the server cannot continue the partial download")
    extent = _extent(body)
    version = version_of(body.headers, extent.total)
    if extent.start and not (extent.start == state.size and is_same_version(version, state.version)):
        raise _Unavailable("the file has changed since its download began, or another part of it came")
    return attrs.evolve(file, version=version), extent


def _extent(body: DownloadResponse) -> Extent:
    try:
        return extent_of(body.http_status, body.headers)
    except ValueError as fault:
        raise _Unavailable(str(fault)) from fault


def _check_response(body: DownloadResponse) -> None:
    """Raise _Unavailable unless the response is the beginning of a file."""
    status = body.http_status
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return
    is_transient = status in _TRANSIENT_STATUSES or status >= _SERVER_ERRORS
    raise _Unavailable(
        f"HTTP {status}" if is_transient else f"HTTP {status}; the output may have expired",
        body.retry_after(),
        is_expired=status in _EXPIRED_STATUSES,
        is_final=not is_transient,
    )


def _check_size(url: str, size: int, largest: int) -> None:
    if size > largest:
        raise DownloadError(f"{_shown(url)} is larger than {largest} bytes; fetch it with another tool", url=url)


def _decode(url: str) -> tuple[bytes, str]:
    """Return the content and the media type of a `data:` URL. Raises DownloadError for an invalid one."""
    try:
        return decode_data_url(url)
    except ValueError as fault:
        raise DownloadError(f"the output {_shown(url)} is no valid data: URL: {fault}", url=url) from fault


def _check_media(content: bytes, media_type: str, url: str) -> None:
    """Raise DownloadError for the content of a `data:` URL that is no media file."""
    try:
        check_in_memory(content, media_type, url)
    except NoMedia as fault:
        raise DownloadError(f"the output {_shown(url)} holds {fault}", url=url) from fault


def _save_data(file: PartialFile) -> Path:
    """Save the content of a `data:` URL."""
    content, media_type = _decode(file.url)
    _check_media(content, media_type, file.url)
    file.directory.mkdir(parents=True, exist_ok=True)
    return file.finish([content], 0, Extent(0, len(content), len(content)), media_type)


def _shown(url: str) -> str:
    return safe_text(url, _MAX_URL)


def _same_output(asset: Asset, snapshot: Snapshot) -> str | None:
    """Return the URL of the same output in a later status: at the same path, or the only one of its kind."""
    outputs = [(found.kind, found.url) for found in snapshot.assets]
    outputs += [("image", found.cover_url) for found in snapshot.assets if found.cover_url is not None]
    path = url_path(asset.url)
    same_path = {url for _, url in outputs if path and url_path(url) == path}
    same_kind = {url for kind, url in outputs if kind == asset.kind}
    return next((next(iter(urls)) for urls in (same_path, same_kind) if len(urls) == 1), None)
