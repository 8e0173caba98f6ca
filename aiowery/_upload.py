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
_AT_ONCE: Final = 4


class Uploader:
    """Turns local files into urls; remembers the latest 1,000 by their content for as long as the client is open."""

    def __init__(self, provider: Provider, sender: Sender, gate: asyncio.Semaphore) -> None:
        self._provider = provider
        self._sender = sender
        self._gate = gate
        # Files wait on the disk, not in memory, for their turn.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._known: OrderedDict[str, asyncio.Task[str]] = OrderedDict()

    async def settled(self, request: Request[ResultT]) -> Request[ResultT]:
        """Return the request with urls only; ConfigurationError for a file that the provider would not take."""
        local = [field for field in attrs.fields(type(request)) if _is_local(field, getattr(request, field.name))]
        if not local:
            return request
        async with self._turns:
            # All are read and checked before the first one leaves.
            files = {field.name: await self._files(request, field) for field in local}
            urls = {name: [await self._url(file) for file in found] for name, found in files.items()}
        sizes = {name: sum(map(_size, found)) for name, found in files.items()}
        several = {field.name for field in local if isinstance(getattr(request, field.name), tuple)}
        placed = {name: tuple(found) if name in several else found[0] for name, found in urls.items()}
        return request.with_uploads(placed, sizes)

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

    async def _files(self, request: Request[Any], field: attrs.Attribute[Any]) -> list[Checked | str]:
        value = getattr(request, field.name)
        sources = value if isinstance(value, tuple) else (value,)
        return [await self._checked(source, wire_of(field).media) for source in sources]

    async def _url(self, file: Checked | str) -> str:
        return file if isinstance(file, str) else await self.url_of(file)

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


def _is_local(field: attrs.Attribute[Any], value: Any) -> bool:
    """Whether a field holds a local file."""
    sources = value if isinstance(value, tuple) else (value,)
    return wire_of(field).media is not None and any(isinstance(source, (Path, File)) for source in sources)


def _size(file: Checked | str) -> int:
    """Return a file's bytes; a url has none of ours."""
    return len(file.content) if isinstance(file, Checked) else 0
