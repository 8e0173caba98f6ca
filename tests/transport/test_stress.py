"""Every transport under stress, and planted faults that a stress run must find."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import httpx
import pytest

from aiowery._core.messages import HttpResponse
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.pooled_transport import PooledHttpTransport
from aiowery._http.transport import BeforeSend, TransportFault, TransportRequest
from aiowery.errors import NotSent
from aiowery.transport import Connection, ConnectionPool, PooledTransport
from aiowery.transport import _connection as connection_module
from aiowery.transport import _pool as pool_module
from aiowery.transport._dial import Dialer
from tests.support.behaviors import (
    RESET_AFTER_REQUEST,
    Behavior,
    SameBehavior,
    Send,
    respond,
    respond_late,
    respond_twice,
)
from tests.support.hostile_server import HostileServer
from tests.transport.fuzz import GluingReader, LosingReader
from tests.transport.stress import CALLERS, KEY, TRANSPORTS, OpenClient, StressOptions, run_stress

SEED: Final = 1
SECONDS: Final = 0.7
LEAST: Final = 60
"""The requests of a run on a machine that is too busy to send more."""
LOOPS: Final = ("asyncio", *(("uvloop",) if importlib.util.find_spec("uvloop") else ()))

_OVER_ANYIO: Final = {
    "foreign response": "httpcore reuses a connection whose surplus bytes it has read already: the next request gets"
    " the second response of the last one, and so on",
    "truncated response .* framing close$": "over TLS, httpcore takes the end of the TCP stream without close_notify"
    " for the end of a response without a length",
    "(ResourceWarning at the end|connections stay open after the client is closed)$": "a cancelled TLS handshake leaves"
    " its connection open until the garbage collector finds it, because httpcore closes it after an Exception only",
}
KNOWN_FINDINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "httpx": _OVER_ANYIO,
}
"""The checks that fail for a transport today: a pattern of the failure's name, and the finding."""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_run_stress_random_faults_finds_at_most_known_failures(transport: str, loop: str, *, tls: bool) -> None:
    """Responses belong to their requests, POSTs arrive at most once, and NotSent means that nothing arrived.

    A finding that is known is an expected failure; any other fails the test.
    """
    report = run_stress(
        StressOptions(TRANSPORTS[transport], SECONDS, SEED, tls=tls, uvloop=loop == "uvloop", least=LEAST)
    )
    assert report.answered > 20, report.describe()
    known = KNOWN_FINDINGS.get(transport, {})
    found = {pattern for failure in report.failures for pattern in known if re.match(pattern, failure)}
    unknown = [failure for failure in report.failures if not any(re.match(pattern, failure) for pattern in found)]
    assert not unknown, report.describe()
    if found:
        pytest.xfail("; ".join(sorted(known[pattern] for pattern in found)))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_run_stress_faultless_server_finds_nothing(transport: str, *, tls: bool) -> None:
    """A server without faults, and callers that do not cancel: every request is answered."""
    faultless = SameBehavior(respond(Send()))
    report = run_stress(
        StressOptions(
            TRANSPORTS[transport], 0.2, SEED, tls=tls, picker=faultless, timeout=5.0, cancel_share=0.0, least=LEAST
        )
    )
    assert not report.failures, report.describe()
    assert report.answered > 20
    assert report.not_sent == report.no_answer == report.unexpected == report.cancelled == 0, report.describe()


# Planted faults, in a transport that has no other.


class _SoundTransport(PooledHttpTransport):
    """A transport that holds on a plain connection: a new connection for each request."""

    def __init__(self, server: HostileServer, timeout: float) -> None:
        limits = httpx.Limits(max_connections=CALLERS, max_keepalive_connections=0)
        super().__init__(PooledTransport(limits=limits).pool, timeout)
        self.server = server
        self.sent = 0

    def is_chosen(self, outgoing: TransportRequest) -> bool:
        """Return True for one POST in ten."""
        self.sent += outgoing.method == "POST"
        return outgoing.method == "POST" and self.sent % 10 == 0


class _RepeatingTransport(_SoundTransport):
    """A transport that sends some POSTs twice."""

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send, and perhaps send again."""
        if before_send is not None and self.is_chosen(outgoing):
            await before_send()
            await super().send_and_read(outgoing, max_bytes)
            return await super().send_and_read(outgoing, max_bytes)
        return await super().send_and_read(outgoing, max_bytes, before_send)


class _LyingTransport(_SoundTransport):
    """A transport that reports each failure as NotSent."""

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send, and deny it if that fails."""
        try:
            return await super().send_and_read(outgoing, max_bytes, before_send)
        except TransportFault as fault:
            raise NotSent("planted") from fault


class _HastyTransport(_SoundTransport):
    """A transport that sends some POSTs without `before_send`."""

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send, and run the hook afterwards."""
        if before_send is None or not self.is_chosen(outgoing):
            return await super().send_and_read(outgoing, max_bytes, before_send)
        response = await super().send_and_read(outgoing, max_bytes)
        await before_send()
        return response


class _RaisingTransport(_SoundTransport):
    """A transport that raises an exception which is not the package's."""

    async def send_and_read(
        self, outgoing: TransportRequest, max_bytes: int, before_send: BeforeSend | None = None
    ) -> HttpResponse:
        """Send, and perhaps raise."""
        if self.is_chosen(outgoing):
            raise RuntimeError("planted")
        return await super().send_and_read(outgoing, max_bytes, before_send)


def over(make_transport: Callable[[HostileServer, float], _SoundTransport]) -> OpenClient:
    """Return a function that opens a client over a transport of this module."""

    @contextlib.asynccontextmanager
    async def open_client(server: HostileServer, timeout: float) -> AsyncIterator[HttpClient]:
        client = HttpClient(server.url, ApiKeySource(KEY), make_transport(server, timeout), timeout=timeout)
        try:
            yield client
        finally:
            await client.aclose()

    return open_client


def test_run_stress_sound_transport_finds_nothing() -> None:
    """The checks can be met: a transport with a new connection for each request passes them under all faults."""
    report = run_stress(StressOptions(over(_SoundTransport), SECONDS, SEED, least=LEAST))
    assert not report.failures, report.describe()
    assert report.answered > 20


@pytest.mark.parametrize(
    ("faulty", "behavior", "finding"),
    [
        (_RepeatingTransport, respond(Send()), "a POST was received more than once"),
        (_LyingTransport, RESET_AFTER_REQUEST, "NotSent, but received"),
        (_HastyTransport, respond(Send()), "a POST was received before before_send had returned"),
        (_RaisingTransport, respond(Send()), "foreign exception RuntimeError"),
    ],
)
def test_run_stress_planted_fault_is_found(faulty: type[_SoundTransport], behavior: Behavior, finding: str) -> None:
    """A transport with one fault fails the run with that finding alone."""
    report = run_stress(StressOptions(over(faulty), 0.3, SEED, picker=SameBehavior(behavior), least=LEAST))
    assert report.failures, report.describe()
    assert all(failure.startswith(finding) for failure in report.failures), report.describe()
    assert finding in report.describe()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_run_stress_gluing_reader_is_found(monkeypatch: pytest.MonkeyPatch, *, tls: bool) -> None:
    """A reader that adds a second response's body to the first fails the run with that finding alone."""
    monkeypatch.setattr(connection_module, "ResponseReader", GluingReader)
    twice = SameBehavior(respond_twice(Send()))
    report = run_stress(StressOptions(TRANSPORTS["pooled"], 0.3, SEED, tls=tls, picker=twice))
    assert report.failures, report.describe()
    assert all(failure.startswith("glued response") for failure in report.failures), report.describe()


class _ReusingConnection(Connection):
    """A connection with a planted fault: it carries another request after one that was cancelled."""

    def rest(self, until: float) -> bool:
        """End the lease, and expect no more of the response that is still to come."""
        if self._is_busy and self.is_open and not self._reader.has_started:
            self._is_busy = False
            self.deadline = until
            return True
        return super().rest(until)


def test_run_stress_connection_reused_after_a_cancellation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The response to a cancelled request that reaches the next one fails the run."""
    monkeypatch.setattr(pool_module, "Connection", _ReusingConnection)
    slow = SameBehavior(respond_late(Send(), 0.005))
    report = run_stress(StressOptions(TRANSPORTS["pooled"], 0.5, SEED, picker=slow, cancel_share=0.5, least=200))
    assert any(failure.startswith("foreign response") for failure in report.failures), report.describe()


class _ForgetfulPool(ConnectionPool):
    """A pool with a planted fault: it forgets the place of a connection that is closed instead of resting."""

    def _discard(self, connection: Connection) -> None:
        connection.abort()


class _ForgetfulTransport(_SoundTransport):
    """A transport over a pool that forgets places."""

    def __init__(self, server: HostileServer, timeout: float) -> None:
        super().__init__(server, timeout)
        self._pool = _ForgetfulPool(Dialer(), max_connections=CALLERS)


def test_run_stress_pool_that_forgets_places_is_found() -> None:
    """A pool whose places disappear with its cancelled requests fails the run."""
    report = run_stress(
        StressOptions(
            over(_ForgetfulTransport), 0.5, SEED, picker=SameBehavior(respond(Send())), cancel_share=0.5, least=200
        )
    )
    assert "no place was free in the pool" in report.failures, report.describe()


def test_run_stress_reader_that_loses_parts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that lacks a part of its body fails the run."""
    monkeypatch.setattr(connection_module, "ResponseReader", LosingReader)
    split = SameBehavior(respond(Send(splits=tuple(range(1, 400, 7)))))
    report = run_stress(StressOptions(TRANSPORTS["pooled"], 0.3, SEED, picker=split))
    assert report.failures, report.describe()


def test_run_stress_open_connection_is_found() -> None:
    """A connection that stays open after the client is closed fails the run."""
    left: list[socket.socket] = []

    @contextlib.asynccontextmanager
    async def open_client(server: HostileServer, timeout: float) -> AsyncIterator[HttpClient]:
        async with over(_SoundTransport)(server, timeout) as client:
            yield client
        left.append(socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0)))

    try:
        report = run_stress(StressOptions(open_client, 0.1, SEED, picker=SameBehavior(respond(Send()))))
    finally:
        for connection in left:
            connection.close()
    assert report.open_after_close == 1
    assert list(report.failures) == ["connections stay open after the client is closed"]
