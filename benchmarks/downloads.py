"""Downloads: 200 MB in one file, and 200 files of 1 MB, plain and over TLS.

"Saved" is `client.download`: four files at the same time, each written beside its target, synced and renamed. aiohttp
does what its documentation shows, `iter_chunked(64 KB)` into an open file, four at the same time; it neither syncs nor
renames. "Read" leaves the files out: the transport alone, and aiohttp's `iter_any`, each of which drops the bytes. CPU
is that of the process, user and system. The server runs in a process of its own. Each ratio compares runs of the same
round.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from aiowery import Asset, Limits, WeryAI
from aiowery.transport import Clocks, LeaseTerms, OutgoingRequest, encode_head
from benchmarks import _workload
from benchmarks._certificates import certificates
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds
from benchmarks._file_server import FileServer
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import Endpoint, pooled_transport

_MEGABYTE: Final = 1_000_000
_CHUNK: Final = 64 * 1024
_CONCURRENT: Final = Limits().downloads

Fetch = Callable[[int, Path], Awaitable[int]]
"""Downloads a file of this size, saves it at the path if it saves files, and returns the number of its bytes."""

Downloader = Callable[[Endpoint], AbstractAsyncContextManager[Fetch]]


class _Load(NamedTuple):
    """Files of one size in bytes."""

    files: int
    size: int

    def __str__(self) -> str:
        size = f"{self.size / _MEGABYTE:g} MB"
        return size if self.files == 1 else f"{self.files} files of {size}"


def measure(*, quick: bool) -> Section:
    """Download each load with each library, saved and only read, plain and over TLS."""
    rounds = 1 if quick else 3
    loads = (
        (_Load(1, 5 * _MEGABYTE), _Load(5, _MEGABYTE)) if quick else (_Load(1, 200 * _MEGABYTE), _Load(200, _MEGABYTE))
    )
    figures: list[Figure] = []
    for load in loads:
        for tls in (False, True):
            for kind, (one, other) in _PAIRS.items():
                runs = [
                    (in_fresh_process(_cpu, one, load, tls=tls), in_fresh_process(_cpu, other, load, tls=tls))
                    for _ in range(rounds)
                ]
                name = f"{load}, {'TLS' if tls else 'plain'}, {kind}"
                figures += _figures(name, runs)
    return Section("Downloads", __doc__, tuple(figures), explanations=_EXPLANATIONS)


def _figures(name: str, runs: list[tuple[float, float]]) -> list[Figure]:
    return [
        of_rounds(f"{name}: aiowery's CPU", [1000 * one for one, _ in runs], "ms"),
        of_rounds(f"{name}: aiohttp's CPU", [1000 * other for _, other in runs], "ms"),
        of_rounds(f"{name}: aiowery / aiohttp", [one / other for one, other in runs], target=Target(1)),
    ]


def _cpu(downloader: Downloader, load: _Load, *, tls: bool) -> float:
    """Return the CPU seconds of a load's downloads."""
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with (
        certificates(tls=tls) as files,
        FileServer(certificate=files.server) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        return asyncio.run(_download(downloader, Endpoint(server.url, files), load, Path(folder)))


async def _download(downloader: Downloader, endpoint: Endpoint, load: _Load, folder: Path) -> float:
    async with downloader(endpoint) as fetch:
        await asyncio.gather(*(fetch(_MEGABYTE, folder / f"warm-up-{number}") for number in range(_CONCURRENT)))
        began = time.process_time()
        sizes = await asyncio.gather(*(fetch(load.size, folder / f"file-{number}") for number in range(load.files)))
        took = time.process_time() - began
    assert set(sizes) == {load.size}
    return took


@asynccontextmanager
async def _client_saves(endpoint: Endpoint) -> AsyncIterator[Fetch]:
    endpoint.certificates.trust()
    async with WeryAI(_workload.KEY, base_url=endpoint.url) as client:

        async def fetch(size: int, path: Path) -> int:
            asset = Asset(url=f"{endpoint.url}/{size}", task_id=path.name)
            (saved,) = await client.download(asset, path.parent)
            return saved.stat().st_size

        yield fetch


@asynccontextmanager
async def _aiohttp_saves(endpoint: Endpoint) -> AsyncIterator[Fetch]:
    gate = asyncio.Semaphore(_CONCURRENT)
    async with _session(endpoint) as session:

        async def fetch(size: int, path: Path) -> int:
            written = 0
            async with gate, session.get(f"{endpoint.url}/{size}") as response:
                with path.open("wb") as file:
                    async for chunk in response.content.iter_chunked(_CHUNK):
                        written += file.write(chunk)
            return written

        yield fetch


@asynccontextmanager
async def _transport_reads(endpoint: Endpoint) -> AsyncIterator[Fetch]:
    gate, terms, clocks = asyncio.Semaphore(_CONCURRENT), LeaseTerms(), Clocks()
    headers = ((b"host", endpoint.netloc.encode()),)
    async with pooled_transport(endpoint) as transport:
        pool, origin = transport.pool, endpoint.origin

        async def fetch(size: int, _: Path) -> int:
            request = OutgoingRequest(b"GET", encode_head(b"GET", b"/%d" % size, headers))
            received = 0
            async with gate:
                connection, _response = await pool.open_stream(origin, request, terms=terms, clocks=clocks)
                while part := await connection.next_part():
                    received += len(part)
                pool.release(connection)
            return received

        yield fetch


@asynccontextmanager
async def _aiohttp_reads(endpoint: Endpoint) -> AsyncIterator[Fetch]:
    gate = asyncio.Semaphore(_CONCURRENT)
    async with _session(endpoint) as session:

        async def fetch(size: int, _: Path) -> int:
            received = 0
            async with gate, session.get(f"{endpoint.url}/{size}") as response:
                async for chunk in response.content.iter_any():
                    received += len(chunk)
            return received

        yield fetch


def _session(endpoint: Endpoint) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=endpoint.certificates.verify))


_PAIRS: Final[dict[str, tuple[Downloader, Downloader]]] = {
    "read": (_transport_reads, _aiohttp_reads),
    "saved": (_client_saves, _aiohttp_saves),
}
_EXPLANATIONS: Final = (
    Explanation(
        "saved: aiowery / aiohttp",
        "`client.download` collects a megabyte at a time and writes it in a thread, so that a slow disk does not stop"
        " the event loop; then it syncs the file and renames it. aiohttp's loop writes in the event loop, and a crash"
        " may leave it with half a file.",
    ),
)
