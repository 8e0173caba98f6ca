"""A stress run: callers send paid POSTs and reads to a hostile server, and cancel at random.

Run it by hand: `python -m tests.transport.stress SECONDS SEED [--tls] [--uvloop] [--transport NAME]`.

What must hold for every transport:

- A response parses, and is the response to its own request.
- A POST is received at most once, and not a byte of it before `before_send` has returned.
- A request that is reported as NotSent is never received.
- Only exceptions of the package are raised, and every request ends in time.
- No request waits in vain for a place in the pool: there are as many places as callers.
- No connection stays open once the client is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import os
import ssl
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import httpx
import trustme

from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.errors import NoAnswer, NotSent, UnexpectedResponse
from tests.support.behaviors import DOUBLED, UNREQUESTED_BYTES, BehaviorPicker, RandomBehavior
from tests.support.hostile_server import HostileServer, RequestRecord, hostile_server, request_path

KEY: Final = "sk-made-up-key-0123456789"
CALLERS: Final = 8
TIMEOUT: Final = 0.2
LATE: Final = 0.45
"""The delay in seconds of a late response; more than the time after which a client gives up."""
HUNG: Final = 4.0
"""The seconds after which a request that has not ended counts as hung."""
SETTLING: Final = 0.1
"""The seconds that bytes on their way get to arrive, before the final checks."""
CLOSING: Final = 0.8
"""The seconds within which the server must see the end of a closed client's connections."""
_SHOWN: Final = 5
_SURPLUS: Final = frozenset({DOUBLED, UNREQUESTED_BYTES})
_LARGE: Final = 500_000

OpenClient = Callable[[HostileServer, float], AbstractAsyncContextManager[HttpClient]]
"""Opens a client to a server with a timeout in seconds. Once the context ends, its connections must be closed."""


@contextlib.asynccontextmanager
async def own_client(server: HostileServer, timeout: float, http: Any = None) -> AsyncIterator[HttpClient]:
    """Open a client with connections of its own, or over another HTTP client, and close it."""
    key = ApiKeySource(KEY)
    client = await HttpClient.open(server.url, key, connections=CALLERS, timeout=timeout, http=http)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def over_httpx(server: HostileServer, timeout: float) -> AsyncIterator[HttpClient]:
    """Open a client over an `httpx.AsyncClient` of the caller, and close both."""
    async with httpx.AsyncClient() as http, own_client(server, timeout, http) as client:
        yield client


TRANSPORTS: Final[Mapping[str, OpenClient]] = {
    "pooled": own_client,
    "httpx": over_httpx,
}
"""The transports under test, by name. A new transport is one entry here."""


@attrs.frozen
class StressOptions:
    """Options of one run."""

    open_client: OpenClient
    seconds: float
    seed: int
    tls: bool = False
    uvloop: bool = False
    picker: BehaviorPicker | None = None
    """Chooses the server's scripts; None for random ones."""
    timeout: float = TIMEOUT
    cancel_share: float = 0.1
    """The share of requests that are cancelled."""
    least: int = 0
    """The number of requests that are sent in any case, also after the time is over."""


@attrs.frozen
class StressReport:
    """The findings of one run. `failures` is empty if everything held that must hold."""

    answered: int
    cancelled: int
    not_sent: int
    no_answer: int
    unexpected: int
    """Responses that the HTTP client refused with UnexpectedResponse."""
    withdrawn: int
    """POSTs whose `before_send` raised."""
    stale: int
    """408 responses that the server had sent before the request. The client took them for the response."""
    raced: int
    """Responses that the server had sent to an idle connection while the request was on its way to it."""
    doubts_without_need: int
    """POSTs that ended in NoAnswer although the server has never read a byte of them."""
    unread_reads: int
    """GETs that ended in NoAnswer although the server has never read a byte of them."""
    connections: int
    requests_received: int
    unidentified: int
    open_after_close: int
    reasons_of_doubts: Mapping[str, int]
    """The messages of the doubts without need."""
    failures: Mapping[str, int]
    """The checks that failed, with the number of cases."""
    examples: tuple[str, ...]
    """The first cases of each failure, in full."""

    def describe(self) -> str:
        """Return the report as text, one finding below the other."""
        counts = {field.name: getattr(self, field.name) for field in attrs.fields(type(self))}
        maps = {name: value for name, value in counts.items() if isinstance(value, (Mapping, tuple))}
        lines = [" ".join(f"{name}={value}" for name, value in counts.items() if name not in maps)]
        lines += [f"  doubt without need, {count} times: {text}" for text, count in self.reasons_of_doubts.items()]
        lines += [f"  FAILED {count} times: {text}" for text, count in self.failures.items()]
        return "\n".join([*lines, *(f"    {example}" for example in self.examples)])


class _Withdrawn(Exception):
    """Raised by a `before_send`, so that nothing may be sent."""


@attrs.define
class _Sent:
    """A request as its caller knows it."""

    method: str
    permitted: float | None = None
    """The loop's time at which `before_send` returned."""
    fault: NotSent | NoAnswer | None = None


class _StressRun:
    """One run against one server."""

    def __init__(self, server: HostileServer, client: HttpClient, options: StressOptions) -> None:
        self._log = server.log
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._random = Random(f"callers {options.seed}")  # noqa: S311 - chance, not secrecy
        self._cancel_share = options.cancel_share
        self._ends = self._loop.time() + options.seconds
        self._least = options.least
        self._sent: dict[int, _Sent] = {}
        self.counts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.examples: list[str] = []

    def fail(self, failure: str, example: str) -> None:
        """Record a failure, and the first examples of it in full."""
        self.failures[failure] += 1
        if self.failures[failure] <= _SHOWN:
            self.examples.append(f"{failure}: {example}")

    async def send_all(self) -> None:
        """Send requests from several callers until the time is over, and enough were sent."""
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(self._send_some())

    async def _send_some(self) -> None:
        while self._loop.time() < self._ends or len(self._sent) < self._least:
            request_id = len(self._sent) + 1
            paid = self._random.random() < 0.6
            self._sent[request_id] = sent = _Sent("POST" if paid else "GET")
            await self._send_one(request_id, sent)

    async def _send_one(self, request_id: int, sent: _Sent) -> None:
        """Send one request, perhaps cancel it, and record how it ended."""
        before_send = self._before_send(sent) if sent.method == "POST" else None
        task = self._loop.create_task(self._client.send(self._request(request_id), before_send))
        if self._random.random() < self._cancel_share:
            for _ in range(self._random.randrange(30)):
                await asyncio.sleep(0)
            if self._random.random() < 0.3:
                await asyncio.sleep(self._random.random() * 0.01)
            task.cancel()
        await asyncio.wait({task}, timeout=HUNG)
        if task.done():
            self._record_end(request_id, sent, task)
            return
        self.fail("a request did not end", self._describe(request_id))
        task.cancel()
        await asyncio.wait({task}, timeout=HUNG)

    def _record_end(self, request_id: int, sent: _Sent, task: asyncio.Task[HttpResponse]) -> None:
        try:
            response = task.result()
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
        except (NotSent, NoAnswer) as fault:
            self.counts["not_sent" if isinstance(fault, NotSent) else "no_answer"] += 1
            sent.fault = fault
            if _has_cause(fault, httpx.PoolTimeout):
                self.fail("no place was free in the pool", self._describe(request_id))
        except UnexpectedResponse:
            self.counts["unexpected"] += 1
        except _Withdrawn:
            self.counts["withdrawn"] += 1
        except Exception as fault:  # noqa: BLE001 - any other exception is a finding
            self.fail(f"foreign exception {type(fault).__name__}", f"{fault!r}, {self._describe(request_id)}")
        else:
            self._check_response(request_id, response)

    def _request(self, request_id: int) -> HttpRequest:
        path = request_path(request_id)
        if self._sent[request_id].method == "GET":
            return HttpRequest("GET", path)
        return HttpRequest("POST", path, b"{%s}" % (b" " * (_LARGE if self._random.random() < 0.05 else 0)))

    def _before_send(self, sent: _Sent) -> Callable[[], Awaitable[None]]:
        """Return a `before_send` that takes its time now and then, and raises now and then."""

        async def before_send() -> None:
            if self._random.random() < 0.5:
                await asyncio.sleep(self._random.choice((0, 0, 0.001)))
            if self._random.random() < 0.02:
                raise _Withdrawn
            sent.permitted = self._loop.time()

        return before_send

    def _check_response(self, request_id: int, response: HttpResponse) -> None:
        """Check that a response is one that the server has sent to this request, byte by byte."""
        record = self._log.requests.get(request_id)
        bodies = [] if record is None else record.sent
        if (response.http_status, response.body) in bodies:
            self.counts["answered"] += 1
        elif response.http_status == httpx.codes.REQUEST_TIMEOUT:
            self.counts["stale"] += 1
        else:
            got, right = response.body, [body for _, body in bodies]
            if any(len(got) > len(body) and got.startswith(body) for body in right):
                kind = "glued"
            elif any(len(got) < len(body) and body.startswith(got) for body in right):
                kind = "truncated"
            elif record is None or record.raced:
                self.counts["raced"] += 1
                return
            else:
                kind = "foreign"
            shown = f"HTTP {response.http_status}, {len(got)} bytes, {got[:80]!r}...{got[-40:]!r}"
            self.fail(f"{kind} response to {_cause(record)}", f"{shown}, {self._describe(request_id)}")

    def check_records(self) -> None:
        """Compare the server's records with the outcome that each caller got."""
        for request_id, sent in self._sent.items():
            record, case = self._log.requests.get(request_id), self._describe(request_id)
            if record is None:
                if isinstance(sent.fault, NoAnswer):
                    self.counts["doubts_without_need" if sent.method == "POST" else "unread_reads"] += 1
                continue
            if isinstance(sent.fault, NotSent):
                self.fail(f"NotSent, but received ({', '.join(record.behaviors)})", case)
            if sent.method != "POST":
                continue
            if record.heads > 1:
                self.fail(f"a POST was received more than once ({', '.join(record.behaviors)})", case)
            if sent.permitted is None or record.first_seen < sent.permitted:
                self.fail("a POST was received before before_send had returned", case)

    def reasons_of_doubts(self) -> Counter[str]:
        """Return the messages of doubts without need."""
        return Counter(
            str(sent.fault)
            for request_id, sent in self._sent.items()
            if sent.method == "POST" and isinstance(sent.fault, NoAnswer) and request_id not in self._log.requests
        )

    def _describe(self, request_id: int) -> str:
        """Return all that is known of one request."""
        record = self._log.requests.get(request_id)
        received = "never received"
        if record is not None:
            times = f"{record.heads} times, {len(record.completed)} in full"
            received = f"received {times}, behaviors {record.behaviors} after {record.before}"
        return f"{request_id}: {self._sent[request_id]}, {received}"


def _cause(record: RequestRecord | None) -> str:
    """Return the likely cause of a wrong response, as part of a failure's name: the surplus bytes, or the behavior."""
    if record is None:
        return "a request that was never received"
    surplus = next((name for name in record.before[-1] if name in _SURPLUS), None)
    return f"{record.method}, behavior: {' then '.join(record.behaviors) if surplus is None else surplus}"


def _has_cause(fault: BaseException | None, kind: type[BaseException]) -> bool:
    """Return True if an exception of this kind is among the causes."""
    while fault is not None and not isinstance(fault, kind):
        fault = fault.__cause__
    return fault is not None


async def _run(options: StressOptions, tls: ssl.SSLContext | None) -> StressReport:
    picker = options.picker or RandomBehavior(options.seed, late=LATE, tls=options.tls)
    loop_errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context))
    async with hostile_server(picker, tls=tls) as server:
        async with options.open_client(server, options.timeout) as client:
            run = _StressRun(server, client, options)
            await run.send_all()
            await asyncio.sleep(SETTLING)
        left = await server.wait_without_connections(CLOSING)
        run.check_records()
        if left:
            case = f"{left} of {server.log.connections}: {server.describe_open()}"
            run.fail("connections stay open after the client is closed", case)
        del client
    gc.collect()
    await asyncio.sleep(0)
    for context in loop_errors:
        run.fail(f"the loop reports: {context['message']}", repr(context))
    return StressReport(
        **{name: run.counts[name] for name in _COUNTED},
        connections=server.log.connections,
        requests_received=len(server.log.requests),
        unidentified=server.log.unidentified,
        open_after_close=left,
        reasons_of_doubts=run.reasons_of_doubts(),
        failures=run.failures,
        examples=tuple(run.examples),
    )


_COUNTED: Final = (
    *("answered", "cancelled", "not_sent", "no_answer", "unexpected", "withdrawn", "stale", "raced"),
    *("doubts_without_need", "unread_reads"),
)


@cache
def _authority() -> tuple[trustme.CA, ssl.SSLContext]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_stress(options: StressOptions) -> StressReport:
    """Run callers against a hostile server on an event loop of its own, and return what was found.

    An exception that no caller receives and an unclosed resource are failures too.
    """
    loop_factory = importlib.import_module("uvloop").new_event_loop if options.uvloop else asyncio.new_event_loop
    authority, context = _authority()
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(record=True) as caught,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        warnings.simplefilter("always", ResourceWarning)
        certificates = Path(folder, "authority.pem")
        authority.cert_pem.write_to_path(certificates)
        with _environment(SSL_CERT_FILE=str(certificates), NO_PROXY="127.0.0.1"):
            report = runner.run(_run(options, context if options.tls else None))
        gc.collect()
    leaks = Counter(f"{warning.category.__name__} at the end" for warning in caught)
    examples = (*report.examples, *(str(warning.message) for warning in caught[:_SHOWN]))
    return attrs.evolve(report, failures={**report.failures, **leaks}, examples=examples)


def main() -> int:
    """Run by hand, print the report, and return 1 if something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.transport.stress", description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--transport", choices=tuple(TRANSPORTS), default="pooled")
    given = parser.parse_args()
    options = StressOptions(TRANSPORTS[given.transport], given.seconds, given.seed, given.tls, given.uvloop)
    report = run_stress(options)
    sys.stdout.write(f"{report.describe()}\n")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
