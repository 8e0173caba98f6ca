"""Local files where a url is wanted: uploaded first, and once however many requests share them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import attrs

from aiowery._events import log
from aiowery._fields import wire_of
from aiowery._media import Checked, File, Media, checked, read_file
from aiowery._provider import Provider
from aiowery._send import Sender
from aiowery._tasks import AssetKind
from aiowery._values import Request, ResultT
from aiowery._wire import Call
from aiowery.errors import ConfigurationError

_REMEMBERED: Final = 1000


class Uploader:
    """Turns local files into urls; remembers the latest 1,000 by their content for as long as the client is open."""

    def __init__(self, provider: Provider, sender: Sender, gate: asyncio.Semaphore) -> None:
        self._provider = provider
        self._sender = sender
        self._gate = gate
        self._known: OrderedDict[str, asyncio.Task[str]] = OrderedDict()

    async def settled(self, request: Request[ResultT]) -> Request[ResultT]:
        """Return the request with urls only; ConfigurationError for a file that the provider would not take."""
        urls: dict[str, Any] = {}
        sizes: dict[str, int] = {}
        for field in attrs.fields(type(request)):
            kind, value = wire_of(field).media, getattr(request, field.name)
            several = isinstance(value, tuple)
            if kind is None or not any(isinstance(item, (Path, File)) for item in (value if several else (value,))):
                continue
            # All are read and checked before the first one leaves.
            files = [await self._checked(item, kind) for item in (value if several else (value,))]
            found = [file if isinstance(file, str) else await self.url_of(file) for file in files]
            urls[field.name] = tuple(found) if several else found[0]
            sizes[field.name] = sum(len(file.content) for file in files if isinstance(file, Checked))
        return request.with_uploads(urls, sizes) if urls else request

    async def read(self, source: Media, kind: AssetKind | None = None) -> Checked:
        """Read and check a local file; ConfigurationError for one that the provider would not take."""
        file = await self._checked(source, kind)
        if isinstance(file, str):
            raise ConfigurationError(f"{file!r} is a url already; it needs no upload")
        return file

    async def url_of(self, file: Checked, call: Callable[[Checked], Call | None] | None = None) -> str:
        """Return the url of a file: of an earlier or present upload of the same content, or of a new one.

        Who is cancelled leaves the upload to those who share it. A failed one is forgotten.
        """
        post = (call or self._provider.upload_call)(file)
        if post is None:
            raise ConfigurationError(f"{self._provider.name} takes no uploads; give {file.name} as a url")
        task = self._known.get(file.digest)
        if task is None:
            task = asyncio.create_task(self._upload(post, file))
            self._known[file.digest] = task
            task.add_done_callback(partial(self._forget_failed, file.digest))
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Give up the uploads under way."""
        under_way = [task for task in self._known.values() if not task.done()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._known.clear()

    async def _checked(self, source: Media, kind: AssetKind | None) -> Checked | str:
        if isinstance(source, str):
            return source
        file = await anyio.to_thread.run_sync(read_file, source) if isinstance(source, Path) else source
        return checked(file, kind)

    async def _upload(self, post: Call, file: Checked) -> str:
        url = await self._sender.read(post, self._provider.decode_upload, self._gate)
        log.info("uploaded: %s (%d bytes) as %s", file.name, len(file.content), url)
        return url

    def _forget_failed(self, digest: str, task: asyncio.Task[str]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._known.pop(digest, None)
