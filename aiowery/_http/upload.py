"""Local files where a url is wanted: uploaded first, and once however many requests share them."""

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

from aiowery._base.snapshot import AssetKind
from aiowery._core.events import log
from aiowery._core.failures import client_closing_error
from aiowery._core.fields import wire_of
from aiowery._core.media import File, Media, UploadFile, validate_upload
from aiowery._core.messages import HttpRequest
from aiowery._core.provider import Provider
from aiowery._core.request import Request, ResultT
from aiowery._http.retry import RetryingClient
from aiowery.errors import AioweryError, ConfigurationError

_REMEMBERED: Final = 1000
_AT_ONCE: Final = 4


class Uploader:
    """Turns local files into urls; remembers the latest 1,000 by their content for as long as the client is open."""

    def __init__(self, provider: Provider, sender: RetryingClient, gate: asyncio.Semaphore) -> None:
        self._provider = provider
        self._sender = sender
        self._gate = gate
        # Files wait on the disk, not in memory, for their turn.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._known: OrderedDict[tuple[object, ...], asyncio.Task[str]] = OrderedDict()
        self._under_way: set[asyncio.Task[str]] = set()
        self._closed = False

    async def upload_local_files(self, request: Request[ResultT]) -> Request[ResultT]:
        """Return the request with urls only; ConfigurationError for a file that the provider would not take."""
        local = [field for field in attrs.fields(type(request)) if _is_local(field, getattr(request, field.name))]
        if not local:
            return request
        async with self._turns:
            self._refuse_closed()
            # All are read and checked before the first one leaves.
            files = {field.name: await self._files(request, field) for field in local}
            urls = {name: [await self._url(file) for file in found] for name, found in files.items()}
        sizes = {name: sum(map(_size, found)) for name, found in files.items()}
        several = {field.name for field in local if isinstance(getattr(request, field.name), tuple)}
        placed = {name: tuple(found) if name in several else found[0] for name, found in urls.items()}
        return request.with_uploads(placed, sizes)

    async def read(self, source: Media, kind: AssetKind | None = None) -> UploadFile:
        """Read and check a local file; ConfigurationError for one that the provider would not take."""
        file = await self._checked(source, kind)
        if isinstance(file, str):
            raise ConfigurationError(f"{file!r} is a url already; it needs no upload")
        return file

    async def url_of(self, file: UploadFile, call: Callable[[UploadFile], HttpRequest | None] | None = None) -> str:
        """Return the url of a file: of an earlier or present upload of the same content, or of a new one.

        Who is cancelled leaves the upload to those who share it. A failed one is forgotten.
        """
        self._refuse_closed()
        post = (call or self._provider.upload_request)(file)
        if post is None:
            raise ConfigurationError(f"{self._provider.name} takes no uploads; give {file.name} as a url")
        key = _identity(post, file)
        task = self._known.get(key)
        if task is None:
            task = self._known[key] = asyncio.create_task(self._upload(post, file))
            self._under_way.add(task)
            task.add_done_callback(partial(self._on_upload_done, key))
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        await asyncio.wait((task,))
        if task.cancelled():  # closed before it had begun
            raise client_closing_error()
        try:
            return task.result()
        except AioweryError as error:
            raise copy.copy(error) from error.__cause__  # one for each of those who share it

    async def aclose(self) -> None:
        """Give up the uploads under way; nothing is uploaded any more, and who waits hears that."""
        self._closed = True
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._known.clear()

    async def _files(self, request: Request[Any], field: attrs.Attribute[Any]) -> list[UploadFile | str]:
        value = getattr(request, field.name)
        sources = value if isinstance(value, tuple) else (value,)
        return [await self._checked(source, wire_of(field).media) for source in sources]

    async def _url(self, file: UploadFile | str) -> str:
        return file if isinstance(file, str) else await self.url_of(file)

    async def _checked(self, source: Media, kind: AssetKind | None) -> UploadFile | str:
        if isinstance(source, str):
            return source
        return await anyio.to_thread.run_sync(validate_upload, source, kind)

    async def _upload(self, post: HttpRequest, file: UploadFile) -> str:
        try:
            url = await self._sender.send_idempotent(post, self._provider.decode_upload, self._gate)
        except asyncio.CancelledError:
            raise client_closing_error() from None  # only `aclose` cancels, and nobody who waits has been cancelled
        log.info("uploaded: %s (%d bytes) as %s", file.name, len(file.content), url)
        return url

    def _on_upload_done(self, key: tuple[object, ...], task: asyncio.Task[str]) -> None:
        """Forget an upload that failed."""
        self._under_way.discard(task)
        if (task.cancelled() or task.exception() is not None) and self._known.get(key) is task:
            del self._known[key]

    def _refuse_closed(self) -> None:
        if self._closed:
            raise client_closing_error()


def _is_local(field: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a field holds a local file."""
    sources = value if isinstance(value, tuple) else (value,)
    return wire_of(field).media is not None and any(isinstance(source, (Path, File)) for source in sources)


def _identity(post: HttpRequest, file: UploadFile) -> tuple[object, ...]:
    """Return what makes two uploads the same: the content and all that is said of it but its name."""
    fields = () if post.form is None else tuple(sorted(post.form.fields.items()))
    return (file.digest, file.content_type, PurePath(file.name).suffix, post.host, post.path, fields)


def _size(file: UploadFile | str) -> int:
    """Return a file's bytes; a url has none of ours."""
    return len(file.content) if isinstance(file, UploadFile) else 0
