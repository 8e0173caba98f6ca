"""What the client itself adds to a submission before its first byte leaves: queue, encoding, lease, ledger.

One client submits jobs, one after the other, over an open connection; nothing else is under way, and nothing is polled.
The delay is the time from calling `client.submit` until the server reads the POST, by the clock that both processes
share. From it the median of the same POST is taken off, written to an open connection without any library. The ledger
is in memory, then in a file: there "sending" is on the disk before the first byte leaves. A pause of 1-4 ms lies
between two submissions, so that the loop is asleep when one begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from aiowery import Limits, PollPolicy, WeryAI
from benchmarks import _workload
from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds, percentile
from benchmarks._fresh_process import in_fresh_process
from benchmarks._libraries import Endpoint, open_connection
from benchmarks.ledger import synced_appends

_FOREVER: Final = 3600.0
_WARM_UP: Final = 20
_BODY: Final = b'{"prompt":"a tabby on a windowsill","model":"WERYAI_IMAGE_2_0","bench_seconds":3600}'
_IN_MEMORY: Final = "ledger in memory"
_IN_FILE: Final = "ledger in a file"
_TARGETS: Final = {_IN_MEMORY: (Target(0.5), Target(3)), _IN_FILE: (Target(2), Target(10))}
_EXPLANATIONS: Final = (Explanation(_IN_FILE, "The disk: before its first byte a submission waits for synced writes."),)

Times = dict[str, float]
"""When each submission began, by its task id."""

Submit = Callable[[str, int], Coroutine[Any, Any, Times]]


def measure(*, quick: bool) -> Section:
    """Submit jobs over a bare connection and by a client with either ledger, with interleaved rounds."""
    rounds, count = (1, 50) if quick else (3, 1_000)
    bare: list[float] = []
    delays: dict[str, list[list[float]]] = {_IN_MEMORY: [], _IN_FILE: []}
    for _ in range(rounds):
        bare.append(median(in_fresh_process(_bare, count)))
        for name, found in delays.items():
            run = in_fresh_process(_with_client, count, durable=name == _IN_FILE)
            found.append([1000 * (delay - bare[-1]) for delay in run])
    appends = in_fresh_process(synced_appends, count)
    figures = [
        of_rounds("bare connection: median", [1000 * one for one in bare], "ms"),
        Figure("the disk alone: a synced append, mean", 1000 / appends, "ms"),
    ]
    for name, found in delays.items():
        p50, p99 = _TARGETS[name]
        figures.append(of_rounds(f"{name}: median", [median(run) for run in found], "ms", target=p50))
        figures.append(
            of_rounds(f"{name}: 99th percentile", [percentile(run, 0.99) for run in found], "ms", target=p99)
        )
    return Section("A submission's own delay", __doc__, tuple(figures), explanations=_EXPLANATIONS)


def _bare(count: int) -> list[float]:
    return _delays(_send_bare, count)


def _with_client(count: int, *, durable: bool) -> list[float]:
    logging.getLogger("aiowery").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        return _delays(partial(_submit, Path(folder) / "l.db" if durable else None), count)


def _delays(submit: Submit, count: int) -> list[float]:
    """Return the seconds from the beginning of each submission until the server read it, without the first ones."""
    with FakeServer() as server:
        times = asyncio.run(submit(server.url, _WARM_UP + count))
        facts = server.stop()
    assert len(times) == _WARM_UP + count
    return [facts.tasks[task_id].accepted - began for task_id, began in times.items()][_WARM_UP:]


async def _submit(ledger: Path | None, url: str, count: int) -> Times:
    times: Times = {}
    polling = PollPolicy(
        min_interval=_FOREVER, max_interval=_FOREVER, known_max_interval=_FOREVER, first_poll="interval"
    )
    limits = Limits(in_flight=count)
    async with WeryAI(_workload.KEY, base_url=url, limits=limits, polling=polling, ledger=ledger) as client:
        for request in _workload.requests([_FOREVER] * count):
            await _pause()
            began = time.monotonic()
            job = await client.submit(request)
            times[job.task_ids[0]] = began
    return times


async def _send_bare(url: str, count: int) -> Times:
    endpoint, times = Endpoint(url), Times()
    head = f"POST /v1/generation/text-to-image HTTP/1.1\r\nhost: {endpoint.netloc}\r\ncontent-length: {len(_BODY)}\r\n"
    connection = await open_connection(endpoint)
    for number in range(count):
        await _pause()
        began = time.monotonic()
        await connection.send(head.encode() + b"\r\n" + _BODY)
        times[f"task_{number:08d}"] = began
    connection.close()
    return times


async def _pause() -> None:
    await asyncio.sleep(random.uniform(0.001, 0.004))  # noqa: S311 - not a secret
