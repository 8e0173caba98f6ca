"""A fuzz of answers to paid POSTs: the accounts of the server are compared with the ledger of the client.

Run it by hand: `python -m tests.client.fuzz POSTS [--seed N] [--provider NAME] [--transport NAME]`.

Each POST gets an answer made at random of a status, headers, a body and a behavior of the connection. The server
charges whenever its answer leaves that open, and sometimes names the task. What must hold for each provider and each
transport, after the batch was resumed until nothing is new:

- No request is charged twice.
- No charge is invisible: its task is in the ledger, or its request is in doubt.
- No request has the task of another one.
- Only errors of the package are raised.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import enum
import gzip
import json
import logging
import socket
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
import httpx
import httpx2

from aiowery import Limits, PollPolicy, RetryPolicy
from aiowery.ledger import Entry, SqliteLedger, State
from tests.support.raw_providers import DIRECT_CALLS, RAW_PROVIDERS, RawProvider
from tests.support.servers import serving

TIMEOUT: Final = 0.4
_LATE: Final = 0.7
_BATCH: Final = 40
_ROUNDS: Final = 60
_SPEED: Final = 300
_UNREAD: Final = frozenset({401, 407, 413, 421, 425, 429})
"""The HTTP statuses of pages that show that a request was not processed."""
_BODILESS: Final = frozenset({204, 304})
_STATUSES: Final = (
    *(200, 201, 202, 203, 204, 206, 226, 299, 300, 301, 302, 303, 304, 307, 308, 399),
    *(400, 401, 402, 403, 404, 405, 407, 408, 409, 410, 413, 421, 422, 425, 428, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 507, 511, 520, 524, 599, 600, 999),
)
_OWN_STATUSES: Final = (200, 200, 200, 201, 400, 401, 402, 403, 404, 409, 413, 422, 425, 429, 500, 502, 503)
_PAGES: Final = (
    b"",
    b"<html><h1>no</h1></html>",
    b"error code: 1020",
    b"null",
    b"[]",
    b"7",
    b'"no"',
    b"{}",
    b'{"message": "Forbidden"}',
    b'{"status": "error", "message": "upstream"}',
    b'{"success": false, "message": "rate limit"}',
    b'{"status": 0, "da',
    b'\xff\xfe{"status": 1007}',
    b"[" * 5000,
)
_CODES: Final = (
    *(1001, 1002, 1003, 1004, 1005, 1006, 1007, 1009, 1011, 1014, 1015, 1017, 1102, 2001, 2003),
    *(5000, 6001, 6002, 6003, 6004, 6010, 6101, 7777, 8001),
)
_TEXTS: Final = ("no", "rate limit exceeded", "model cannot be empty", "authentication failed", "task not exist", "")
_ERRORS: Final = (
    "no",
    "flagged by moderation",
    "too many requests",
    {"code": "rate_limit_exceeded", "message": "wait"},
)
_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {"retry-after": "0"},
    {"retry-after": "soon"},
    {"retry-after": "-1"},
    {"content-type": "application/json"},
    {"content-type": "text/html; charset=latin-1"},
    {"location": "https://elsewhere.example/"},
    {"x-request-id": "request \xe4"},
    {"connection": "close"},
    {"keep-alive": "timeout=2, max=1"},
)
_BEHAVIORS: Final = {
    "whole": 60,
    "chunked": 6,
    "in pieces": 4,
    "after interim responses": 4,
    "gzip": 4,
    "corrupt gzip": 2,
    "and closed": 4,
    "surplus": 4,
    "cut": 4,
    "closed": 4,
    "reset": 4,
    "late": 1,
    "two lengths": 2,
}
_UNSEEN: Final = frozenset({"cut", "closed", "reset", "late", "two lengths"})
"""Behaviors after which a client cannot know the answer."""
_HEAD_ONLY: Final = frozenset({"corrupt gzip"})
"""Behaviors after which a client knows the HTTP status of the answer, but not its body."""

Transport = Callable[[], AbstractAsyncContextManager[Any]]
TRANSPORTS: Final[Mapping[str, Transport]] = {
    "pooled": lambda: contextlib.nullcontext(None),
    "httpx": lambda: contextlib.nullcontext("httpx"),
    "caller's httpx": httpx.AsyncClient,
    "caller's httpx2": httpx2.AsyncClient,
}
PROVIDERS: Final[Mapping[str, RawProvider]] = {**RAW_PROVIDERS, **DIRECT_CALLS}
_NAMING: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "weryai": lambda task_id: {"data": {"task_ids": [task_id]}},
    "weryai chat": lambda task_id: {"id": task_id},
    "betterwaifu": lambda task_id: {"data": {"id": task_id}},
    "betterwaifu v1-images": lambda task_id: {"data": {"image_id": task_id}},
}
"""How the body of each provider names a task, a picture or an answer."""


def asking(raw: RawProvider, prompt: str) -> Any:
    """Return a request with this prompt."""
    return attrs.evolve(raw.request, **{"prompt" if hasattr(raw.request, "prompt") else "messages": prompt})


def prompt_of(request: Mapping[str, Any]) -> str:
    """Return the prompt of a request, as it is sent or in the ledger."""
    prompt: str = request["prompt"] if "prompt" in request else request["messages"][0]["content"]
    return prompt


@attrs.define
class Account:
    """The accounts of the server: the charged tasks with their prompts."""

    charges: list[tuple[str, str]] = attrs.field(factory=list)
    posts: list[tuple[str, str]] = attrs.field(factory=list)
    """The prompt and a description of the answer of each POST."""
    accepted: set[str] = attrs.field(factory=set)
    """The tasks whose acceptance was sent in a readable form."""
    polled: set[str] = attrs.field(factory=set)
    """The tasks whose status was requested."""

    def charge(self, prompt: str) -> str:
        """Charge a request, and return the id of its task."""
        task_id = f"task_{len(self.charges)}"
        self.charges.append((prompt, task_id))
        return task_id

    def prompt_of(self, task_id: str) -> str | None:
        """Return the prompt of a charged task; None for any other."""
        return next((prompt for prompt, charged in self.charges if charged == task_id), None)


class Seen(enum.Enum):
    """What a client can know of an answer."""

    ALL = "its status and its body"
    HEAD = "its status"
    NOTHING = "nothing"

    @classmethod
    def after(cls, behavior: str) -> Seen:
        """Return what is known after a behavior of the connection."""
        return cls.HEAD if behavior in _HEAD_ONLY else cls.NOTHING if behavior in _UNSEEN else cls.ALL


@attrs.frozen
class Answer:
    """An answer to one POST."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    behavior: str


class AnswerMaker:
    """A maker of random answers, which charges as its answers allow."""

    def __init__(self, provider: str, account: Account, random: Random, *, surplus: bool) -> None:
        self._is_weryai = provider.startswith("weryai")
        self._raw = PROVIDERS[provider]
        self._naming_form = _NAMING[provider]
        self._account = account
        self._random = random
        self._surplus = surplus
        # The answer to a direct call may take minutes, so a late one is seen.
        left_out = {"late"} if provider in DIRECT_CALLS else set()
        self._behaviors = {name: weight for name, weight in _BEHAVIORS.items() if name not in left_out}

    def next(self, prompt: str) -> Answer:
        """Return the answer to a request, charged or not."""
        random = self._random
        (behavior,) = random.choices(list(self._behaviors), list(self._behaviors.values()))
        make = random.choice((self._acceptance, self._refusal, self._refusal, self._page, self._page, self._page))
        status, body = make(prompt, Seen.after(behavior))
        self._account.posts.append((prompt, f"{behavior}: HTTP {status}, {body[:200]!r}"))
        return Answer(status, random.choice(_HEADERS), b"" if status in _BODILESS else body, behavior)

    def _acceptance(self, prompt: str, seen: Seen) -> tuple[int, bytes]:
        known = sorted(self._account.accepted & self._account.polled)
        if known and self._random.random() < 0.1:  # a stale answer, which is that of another request
            self._perhaps_charge(prompt)
            return 200, _json(self._raw.accepted(self._random.choice(known)))
        if seen is not Seen.ALL and self._random.random() < 0.3:
            return 201, _json(self._raw.accepted("task_never_charged"))
        task_id = self._account.charge(prompt)
        if seen is Seen.ALL:
            self._account.accepted.add(task_id)
        return self._random.choice((200, 201)), _json(self._raw.accepted(task_id))

    def _refusal(self, prompt: str, seen: Seen) -> tuple[int, bytes]:
        status = self._random.choice(_OWN_STATUSES)
        body: dict[str, Any]
        if self._is_weryai:
            code = self._random.choice(_CODES)
            text = self._random.choice(_TEXTS)
            body = {"status": code, "message": text, "data": None}
            is_load = code in {1007, 6002, 6010} or (code == 1001 and "rate" in text)
        else:
            error = self._random.choice(_ERRORS)
            body = {"error": error}
            is_load = isinstance(error, dict)
        is_unread = seen is Seen.HEAD and status in _UNREAD
        is_open = (status >= 500 and not is_load) or (seen is not Seen.ALL and not is_unread)
        if not is_unread and self._random.random() < 0.3:
            return status, _json(self._naming(prompt, body, status))
        if is_open:
            self._perhaps_charge(prompt)
        return status, _json(body)

    def _page(self, prompt: str, seen: Seen) -> tuple[int, bytes]:
        status = self._random.choice(_STATUSES)
        is_unread = status in _UNREAD and seen is not Seen.NOTHING
        may_name = status not in _BODILESS and not (is_unread and seen is Seen.HEAD)
        if may_name and self._random.random() < 0.15:
            return status, _json(self._naming(prompt, {"message": "page"}, status))
        if not is_unread:
            self._perhaps_charge(prompt)
        return status, self._random.choice(_PAGES)

    def _naming(self, prompt: str, body: dict[str, Any], status: int) -> dict[str, Any]:
        """Return a body that names a task: a charged one, or, but not with success, one that does not exist."""
        is_charged = status < 300 or self._random.random() < 0.6
        task_id = self._account.charge(prompt) if is_charged else "task_that_is_none"
        return {**body, **self._naming_form(task_id)}

    def _perhaps_charge(self, prompt: str) -> None:
        if self._random.random() < 0.6:
            self._account.charge(prompt)

    def has_surplus(self) -> bool:
        """Return True if bytes that no request asked for may be another acceptance."""
        return self._surplus


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()


class FuzzServer:
    """A server that answers each POST at random, and status checks rightly most of the time."""

    def __init__(self, provider: str, account: Account, answers: AnswerMaker, random: Random) -> None:
        self._raw: RawProvider = PROVIDERS[provider]
        self._is_weryai = provider == "weryai"
        self._account = account
        self._answers = answers
        self._random = random

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one connection."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
            body = await reader.readexactly(length)
            if head.startswith(b"GET"):
                path = head.split(b" ", 2)[1].decode()
                goes_on = await self._send(writer, self._status(path))
            else:
                goes_on = await self._send(writer, self._answers.next(prompt_of(json.loads(body))))
            if not goes_on:
                return

    def _status(self, path: str) -> Answer:
        task_id = path.removesuffix("/status").rpartition("/")[2]
        chance = self._random.random()
        if chance < 0.1:
            return Answer(self._random.choice((403, 404, 408, 429, 502)), {}, b"<html>", "whole")
        if chance < 0.15:
            return Answer(200, {}, b"", self._random.choice(("closed", "reset", "cut")))
        prompt = self._account.prompt_of(task_id)
        if prompt is None:
            return Answer(200 if self._is_weryai else 404, {}, _json(self._raw.not_found), "whole")
        self._account.polled.add(task_id)
        status = self._raw.done(task_id) if chance < 0.7 else self._raw.running(task_id)
        (status["data"] if self._is_weryai else status)["prompt"] = prompt
        return Answer(200, {}, _json(status), "whole")

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> bool:
        """Send an answer, and return True if the connection stays open."""
        behavior, body, headers = answer.behavior, answer.body, dict(answer.headers)
        if behavior == "closed":
            return False
        if behavior == "reset":
            _reset(writer)
            return False
        if behavior == "late":
            await asyncio.sleep(_LATE)
        if behavior in {"gzip", "corrupt gzip"} and answer.status not in _BODILESS:
            body = gzip.compress(body)
            body = body if behavior == "gzip" else body[:-6] + b"xxxxxx"
            headers["content-encoding"] = "gzip"
        has_body = answer.status not in _BODILESS
        lengths = [str(len(body) + (7 if behavior == "cut" else 0))] if has_body else []
        if behavior == "two lengths" and has_body:
            lengths.append(str(len(body) + 1))
        framing = [("content-length", one) for one in lengths]
        if behavior == "chunked" and has_body:
            framing, body = [("transfer-encoding", "chunked")], _chunked(body)
        lines = [f"HTTP/1.1 {answer.status} X", *(f"{name}: {value}" for name, value in [*headers.items(), *framing])]
        content = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        if behavior == "after interim responses":
            content = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + content
        if behavior == "surplus" and has_body:
            content += _surplus(self._raw) if self._answers.has_surplus() else b"xxx"
        for part in _parts(content) if behavior == "in pieces" else (content,):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        is_last = behavior in {"cut", "and closed", "two lengths", "corrupt gzip", "late"}
        return not is_last and "close" not in headers.get("connection", "")


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _chunked(body: bytes) -> bytes:
    parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in _parts(body)]
    return b"".join([*parts, b"0\r\n\r\n"])


def _parts(content: bytes) -> Iterator[bytes]:
    size = max(1, len(content) // 3)
    return (content[start : start + size] for start in range(0, len(content), size))


def _surplus(raw: RawProvider) -> bytes:
    """Return a second response, which a careless client would take for the answer to its next request."""
    body = _json(raw.accepted("task_of_no_request"))
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@attrs.frozen
class FuzzReport:
    """The findings of a run. `failures` is empty if everything held that must hold."""

    posts: int
    requests: int
    charges: int
    states: Mapping[str, int]
    failures: tuple[str, ...]

    def describe(self) -> str:
        """Return the report as text."""
        states = ", ".join(f"{number} {state}" for state, number in sorted(self.states.items()))
        head = f"{self.requests} requests in {self.posts} POSTs, {self.charges} charges: {states}"
        return "\n".join([head, *(f"  FAILED: {failure}" for failure in self.failures)])


async def run_fuzz(provider: str, transport: str, seed: int, posts: int, directory: Path) -> FuzzReport:
    """Send at least so many POSTs, batch by batch, and compare the accounts."""
    random = Random(f"{seed} {provider} {transport}")  # noqa: S311 - chance, not secrecy
    account = Account()
    answers = AnswerMaker(provider, account, random, surplus=transport == "pooled")
    server = FuzzServer(provider, account, answers, random)
    failures: list[str] = []
    async with serving(server.serve) as url, _ledger(directory / "jobs.db") as ledger:
        batches = 0
        while len(account.posts) < posts:
            batches += 1
            async with TRANSPORTS[transport]() as http:
                failures += await _run_batch(PROVIDERS[provider], url, ledger, f"batch {batches}", http)
        entries = await ledger.entries(limit=1_000_000)
    failures += compare(account, entries)
    states = Counter(str(entry.state) for entry in entries)
    return FuzzReport(len(account.posts), len(entries), len(account.charges), states, tuple(failures))


@contextlib.asynccontextmanager
async def _ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path)
    await ledger.open()
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def _run_batch(raw: RawProvider, url: str, ledger: SqliteLedger, name: str, http: Any) -> list[str]:
    """Run a batch until nothing of it is new, and return what should not have been raised."""
    requests = [asking(raw, f"{name}, number {number}") for number in range(_BATCH)]
    settings: dict[str, Any] = {
        "ledger": ledger,
        "http": http,
        "http_timeout": TIMEOUT,
        "limits": Limits(in_flight=20, submissions=8, cool_down=0.0, max_doubts=None),
        "polling": PollPolicy().faster(_SPEED),
        "retries": RetryPolicy(initial_backoff=0.001, max_backoff=0.005, max_retry_after=0.01),
    }
    for _ in range(_ROUNDS):
        async with raw.client(url, **settings) as client:
            async for _ in client.stream(requests, batch=name):  # an error that is not the package's would be raised
                pass
        left = await ledger.entries(name, states=[State.NEW, State.CLAIMED, State.SENDING, State.ACCEPTED])
        if not left:
            return []
    return [f"{name} did not end: {[(prompt_of(entry.request), entry.state) for entry in left]}"]


def compare(account: Account, entries: list[Entry]) -> Iterator[str]:
    """Yield each difference between the accounts of the server and the ledger that must not be."""
    by_prompt = {prompt_of(entry.request): entry for entry in entries}
    charged = Counter(prompt for prompt, _ in account.charges)
    for prompt, number in charged.items():
        if number > 1:
            yield f"{prompt!r} was charged {number} times: {_answers_to(account, prompt)}"
    for prompt, task_id in account.charges:
        entry = by_prompt[prompt]
        if task_id not in entry.task_ids and entry.state is not State.IN_DOUBT:
            yield f"the charge {task_id} of {prompt!r} ({entry.state}) is invisible: {_answers_to(account, prompt)}"
    own = {task_id: prompt for prompt, task_id in account.charges}
    for prompt, entry in by_prompt.items():
        if others := [task_id for task_id in entry.task_ids if own.get(task_id) != prompt]:
            yield f"{prompt!r} has the tasks {others} of another request: {_answers_to(account, prompt)}"


def _answers_to(account: Account, prompt: str) -> list[str]:
    return [answer for posted, answer in account.posts if posted == prompt]


def main() -> int:
    """Run the fuzz for all providers and transports, or for those that are named, and print the reports."""
    parser = argparse.ArgumentParser(prog="python -m tests.client.fuzz", description=__doc__)
    parser.add_argument("posts", type=int, help="the number of POSTs for each provider and transport")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--provider", choices=PROVIDERS)
    parser.add_argument("--transport", choices=TRANSPORTS)
    options = parser.parse_args()
    logging.getLogger("aiowery").setLevel(logging.CRITICAL)
    has_failed = False
    for provider in [options.provider] if options.provider else PROVIDERS:
        for transport in [options.transport] if options.transport else TRANSPORTS:
            with tempfile.TemporaryDirectory() as directory:
                report = asyncio.run(run_fuzz(provider, transport, options.seed, options.posts, Path(directory)))
            sys.stdout.write(f"{provider}, {transport}, seed {options.seed}: {report.describe()}\n")
            has_failed = has_failed or bool(report.failures)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
