"""The hook `before_send`: it runs once before the first byte of a paid request, and not if nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx
import httpx2
import pytest

from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.errors import NoAnswer, NotSent
from tests.support import KEY, http_response, peer, serving

pytestmark = pytest.mark.anyio

POST = HttpRequest("POST", "/paid", b"{}")
LIBRARIES = {"own": None, "by httpx": "httpx", "httpx": httpx, "httpx2": httpx2}


@attrs.define
class SendHook:
    """A `before_send` hook that counts its runs and raises its fault, if it has one."""

    fault: Exception | None = None
    runs: int = 0

    async def __call__(self) -> None:
        """Count the run and raise the fault."""
        self.runs += 1
        if self.fault is not None:
            raise self.fault


@contextlib.asynccontextmanager
async def client_over(transport: str, url: str, **client: Any) -> AsyncIterator[HttpClient]:
    """Open an HTTP client over its own connections, or over a client of one of the libraries."""
    library: Any = LIBRARIES[transport]
    async with contextlib.AsyncExitStack() as stack:
        http = library
        if library in {httpx, httpx2}:
            http = await stack.enter_async_context(library.AsyncClient(**client))
        http_client = await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=0.5, http=http)
        stack.push_async_callback(http_client.aclose)
        yield http_client


@pytest.mark.parametrize("transport", LIBRARIES)
async def test_send_before_send_runs_once_per_request(transport: str) -> None:
    """The hook runs once for each request, also over a reused connection."""
    async with peer(http_response({"ok": 1})) as server, client_over(transport, server.url) as http_client:
        for _ in range(3):
            hook = SendHook()
            assert (await http_client.send(POST, hook)).http_status == 200
            assert hook.runs == 1
    assert len(server.requests) == 3


@pytest.mark.parametrize("transport", LIBRARIES)
async def test_send_failing_before_send_sends_nothing(transport: str) -> None:
    """The hook's exception is raised, and the server receives no byte. The next request succeeds."""
    async with peer(http_response({"ok": 1})) as server, client_over(transport, server.url) as http_client:
        hook = SendHook(RuntimeError("no room on the disk"))
        with pytest.raises(RuntimeError, match="no room on the disk"):
            await http_client.send(POST, hook)
        assert server.requests == []
        assert (await http_client.send(POST, SendHook())).http_status == 200
    assert len(server.requests) == 1


@pytest.mark.parametrize("transport", LIBRARIES)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://no-such-host.invalid"], ids=["refused", "no such host"])
async def test_send_connect_failure_raises_not_sent_before_hook(transport: str, url: str) -> None:
    """DNS and connect failures prove that nothing was sent. The hook has not run."""
    hook = SendHook()
    async with client_over(transport, url) as http_client:
        with pytest.raises(NotSent):
            await http_client.send(POST, hook)
    assert hook.runs == 0


@pytest.mark.parametrize("transport", LIBRARIES)
async def test_send_tls_failure_raises_not_sent_before_hook(transport: str) -> None:
    """A server without TLS receives nothing. The hook has not run."""
    async with peer(http_response({"ok": 1})) as server:
        hook = SendHook()
        async with client_over(transport, server.url.replace("http://", "https://")) as http_client:
            with pytest.raises(NotSent):
                await asyncio.wait_for(http_client.send(POST, hook), 5)
    assert hook.runs == 0


@pytest.mark.parametrize("transport", ["httpx", "httpx2"])
async def test_send_pool_timeout_raises_not_sent_before_hook(transport: str) -> None:
    """If all connections of the pool are in use, the timeout comes before the hook."""
    library: Any = LIBRARIES[transport]
    slow = asyncio.Event()

    async def silent(*_: object) -> None:
        await slow.wait()

    limits = library.Limits(max_connections=1)
    async with serving(silent) as url, library.AsyncClient(limits=limits) as http:
        patient, hasty = [
            await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=timeout, http=http)
            for timeout in (5, 0.2)
        ]
        first = asyncio.create_task(patient.send(POST, SendHook()))
        await asyncio.sleep(0.1)
        hook = SendHook()
        with pytest.raises(NotSent):
            await hasty.send(POST, hook)
        slow.set()
        with pytest.raises(NoAnswer):
            await first
    assert hook.runs == 0


async def test_send_transport_without_events_runs_hook_before_request() -> None:
    """Without events, the hook runs before the request. If it raises, nothing is sent."""
    received: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        received.append(request)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        http_client = await HttpClient.open(
            "https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http
        )
        hook = SendHook()
        await http_client.send(POST, hook)
        assert (hook.runs, len(received)) == (1, 1)
        with pytest.raises(RuntimeError):
            await http_client.send(POST, SendHook(RuntimeError("no")))
    assert len(received) == 1


async def test_send_mount_without_events_runs_hook_before_request() -> None:
    """One foreign transport among the mounts is enough to run the hook before each request."""
    mounts = {"https://": httpx.MockTransport(lambda _: httpx.Response(200, json={}))}
    async with httpx.AsyncClient(mounts=mounts) as http:
        http_client = await HttpClient.open(
            "https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http
        )
        hook = SendHook(RuntimeError("no"))
        with pytest.raises(RuntimeError):
            await http_client.send(POST, hook)
    assert hook.runs == 1


async def test_send_proxy_connect_does_not_run_hook() -> None:
    """A CONNECT that the proxy refuses sends nothing paid."""
    hook = SendHook()
    async with peer(http_response("", "407 Proxy Authentication Required")) as proxy:
        context = ssl.create_default_context()
        async with httpx.AsyncClient(proxy=proxy.url, verify=context) as http:
            http_client = await HttpClient.open(
                "https://api.example.com", ApiKeySource(KEY), connections=1, timeout=1, http=http
            )
            with pytest.raises(NotSent):
                await http_client.send(POST, hook)
    assert hook.runs == 0


@pytest.mark.parametrize(
    ("setting", "value", "runs"),
    [
        ("Connection.is_alive", property(lambda _: _answer_no), 0),
        ("MAX_LEASE", -1.0, 1),
    ],
    ids=["lost before the hook", "lost after the hook"],
)
async def test_send_three_connections_that_cannot_be_used_raise_not_sent(
    monkeypatch: pytest.MonkeyPatch, setting: str, value: Any, runs: int
) -> None:
    """A paid request is leased anew twice at most, each time on a new connection; the hook runs once at most."""
    monkeypatch.setattr(f"aiowery.transport._connection.{setting}", value)
    hook = SendHook()
    async with peer(http_response({"ok": 1})) as server, client_over("own", server.url) as http_client:
        with pytest.raises(NotSent):
            await http_client.send(POST, hook)
    assert (server.connections, server.requests, hook.runs) == (3, [], runs)


async def _answer_no() -> bool:
    return False


async def test_send_client_closed_by_its_hook_raises_not_sent() -> None:
    """A client that closes while the mark is stored sends nothing more, although another one keeps the pool open."""
    async with peer(http_response({"ok": 1})) as server, client_over("own", server.url) as other:
        async with client_over("own", server.url) as http_client:
            with pytest.raises(NotSent, match="closed"):
                await http_client.send(POST, http_client.aclose)
        assert server.requests == []
        assert (await other.send(POST)).http_status == 200
