"""Upload the local files of a request, each file once, however many requests share it."""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Final

import anyio.to_thread
import attrs

from aiowery._base.background import BackgroundTasks
from aiowery._base.snapshot import AssetKind
from aiowery._base.text import safe_text
from aiowery._core.events import log
from aiowery._core.failures import client_closing_error
from aiowery._core.fields import wire_of
from aiowery._core.media import File, Media, UploadFile, validate_upload
from aiowery._core.messages import HttpRequest
from aiowery._core.provider import Provider
from aiowery._core.request import Request, ResultT
from aiowery._http.retry import RetryingClient
from aiowery.errors import AioweryError, ConfigurationError

_MAX_REMEMBERED: Final = 1000
_MAX_CONCURRENT: Final = 4
_MAX_URL: Final = 300


class Uploader:
    """An uploader that replaces local files by URLs.

    It remembers the latest 1,000 files by their content while the client is open.
    """

    def __init__(self, provider: Provider, client: RetryingClient, gate: asyncio.Semaphore) -> None:
        self._provider = provider
        self._client = client
        self._gate = gate
        # Limits how many requests hold their files in memory.
        self._file_gate = asyncio.Semaphore(_MAX_CONCURRENT)
        self._uploads: OrderedDict[tuple[object, ...], asyncio.Task[str]] = OrderedDict()
        self._background = BackgroundTasks()
        self._closed = False

    async def upload_local_files(self, request: Request[ResultT]) -> Request[ResultT]:
        """Return the request with its local files uploaded and replaced by URLs.

        Raises ConfigurationError for a file that the provider would not accept.
        """
        local = [field for field in attrs.fields(type(request)) if _is_local(field, getattr(request, field.name))]
        if not local:
            return request
        async with self._file_gate:
            self._check_open()
            # All files are checked before the first upload, so that an invalid one costs no upload.
            files = {field.name: await self._read_field(request, field) for field in local}
            urls = {name: [await self._to_url(file) for file in found] for name, found in files.items()}
        sizes = {name: sum(map(_size, found)) for name, found in files.items()}
        lists = {field.name for field in local if isinstance(getattr(request, field.name), tuple)}
        values = {name: tuple(found) if name in lists else found[0] for name, found in urls.items()}
        return request.with_uploads(values, sizes)

    async def read(self, source: Media, kind: AssetKind | None = None) -> UploadFile:
        """Read and check a local file. Raises ConfigurationError for one that the provider would not accept."""
        file = await self._validate(source, kind)
        if isinstance(file, str):
            raise ConfigurationError(f"upload needs a local file, got the URL {file!r}; nothing was sent: use the URL")
        return file

    async def url_of(self, file: UploadFile, encode: Callable[[UploadFile], HttpRequest | None] | None = None) -> str:
        """Return the URL of a file, from an earlier or present upload of the same content, or from a new one.

        Cancelling a caller does not cancel the upload, because other callers may share it. A failed upload is
        forgotten.
        """
        self._check_open()
        post = (encode or self._provider.upload_request)(file)
        if post is None:
            raise ConfigurationError(
                f"{self._provider.name} accepts no uploads; nothing was sent: pass {file.name} as a URL"
            )
        key = _identity(post, file)
        task = self._uploads.get(key)
        if task is None:
            task = self._uploads[key] = self._background.spawn(self._upload(post, file))
            task.add_done_callback(partial(self._on_upload_done, key))
            if len(self._uploads) > _MAX_REMEMBERED:
                self._uploads.popitem(last=False)
        await asyncio.wait((task,))
        if task.cancelled():  # the client closed before the upload began
            raise client_closing_error()
        try:
            return task.result()
        except AioweryError as error:
            raise copy.copy(error) from error.__cause__  # a traceback of its own for each caller

    async def aclose(self) -> None:
        """Cancel the uploads under way, and reject later ones; waiting callers get the error of a closing client."""
        self._closed = True
        await self._background.cancel()
        self._uploads.clear()

    async def _read_field(self, request: Request[Any], field: attrs.Attribute[Any]) -> list[UploadFile | str]:
        value = getattr(request, field.name)
        sources = value if isinstance(value, tuple) else (value,)
        return [await self._validate(source, wire_of(field).media) for source in sources]

    async def _to_url(self, file: UploadFile | str) -> str:
        return file if isinstance(file, str) else await self.url_of(file)

    async def _validate(self, source: Media, kind: AssetKind | None) -> UploadFile | str:
        if isinstance(source, str):
            return source
        return await anyio.to_thread.run_sync(validate_upload, source, kind, self._provider.upload_limits)

    async def _upload(self, post: HttpRequest, file: UploadFile) -> str:
        try:
            url = await self._client.send_idempotent(post, self._provider.decode_upload, self._gate)
        except asyncio.CancelledError:
            raise client_closing_error() from None  # only `aclose` cancels this task; the callers are not cancelled
        log.info("uploaded: %s (%d bytes) as %s", file.name, len(file.content), safe_text(url, _MAX_URL))
        return url

    def _on_upload_done(self, key: tuple[object, ...], task: asyncio.Task[str]) -> None:
        """Forget an upload that failed."""
        if (task.cancelled() or task.exception() is not None) and self._uploads.get(key) is task:
            del self._uploads[key]

    def _check_open(self) -> None:
        if self._closed:
            raise client_closing_error()


def _is_local(field: attrs.Attribute[Any], value: Any) -> bool:
    """Return True if a field holds a local file."""
    sources = value if isinstance(value, tuple) else (value,)
    return wire_of(field).media is not None and any(isinstance(source, (Path, File)) for source in sources)


def _identity(post: HttpRequest, file: UploadFile) -> tuple[object, ...]:
    """Return the key by which two uploads are the same: the content, and all its parameters except the name."""
    fields = () if post.form is None else tuple(sorted(post.form.fields.items()))
    return (file.digest, file.content_type, PurePath(file.name).suffix, post.host, post.path, fields)


def _size(file: UploadFile | str) -> int:
    """Return a file's size in bytes; 0 for a URL."""
    return len(file.content) if isinstance(file, UploadFile) else 0
