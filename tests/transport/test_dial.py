"""Names without an address, addresses that do not respond, IPv6 alone, and no file left to open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.errors import DownloadError, NotSent
from aiowery.sandbox import Sandbox
from aiowery.transport import ConnectError, ConnectionPool, ConnectTimeout, LeaseTerms, Origin, PooledTransport
from aiowery.transport import _dial as dial_module
from tests.support import KEY, http_response, lines_of_script, open_sockets, peer
from tests.transport.conformance import WAYS, Way
from tests.transport.conftest import CLOCKS, QUICK, get, origin_of

pytestmark = pytest.mark.anyio
MakePool = Callable[..., ConnectionPool]
NAME: Final = "many.example"
OK: Final = http_response("ok")


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses, in this order."""

    async def query(_: object, _host: str, port: int) -> list[Any]:
        return [dial_module._numeric(address, port) for address in addresses]

    monkeypatch.setattr(dial_module.Dialer, "_query_resolver", query)


@contextlib.contextmanager
def silent_addresses(port: int, number: int) -> Iterator[list[str]]:
    """Occupy so many addresses of loopback at this port: they accept no connection, and refuse none."""
    addresses = [f"127.0.0.{n}" for n in range(2, 2 + number)]
    with contextlib.ExitStack() as stack:
        for address in addresses:
            full = stack.enter_context(socket.socket())
            full.bind((address, port))
            full.listen(0)
            for _ in range(3):
                occupying = stack.enter_context(socket.socket())
                occupying.setblocking(False)
                occupying.connect_ex((address, port))
        yield addresses


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs all addresses of 127.0.0.0/8")
@pytest.mark.parametrize("connect", [10.0, 2.0])
async def test_dial_only_the_last_of_twenty_addresses_responds(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, connect: float
) -> None:
    """The addresses are tried one beside the other, all of them early within the time for connecting."""
    pool = make_pool()
    async with peer(OK) as server:
        port = origin_of(server.url).port
        with silent_addresses(port, 19) as addresses:
            resolve_to(monkeypatch, *addresses, "127.0.0.1")
            before = open_sockets()
            response = await pool.exchange(
                Origin(False, NAME, port), get(), terms=LeaseTerms(1, connect), clocks=CLOCKS, max_body=10
            )
            assert response.body == b"ok"
            assert open_sockets() == before + 2  # both ends of the connection
        await pool.aclose()
    assert server.connections == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs all addresses of 127.0.0.0/8")
async def test_dial_no_address_responds_ends_in_time(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """If none of them responds, the time for connecting ends it, and no socket stays open."""
    pool = make_pool()
    async with peer(OK) as server:
        port = origin_of(server.url).port
        with silent_addresses(port, 5) as addresses:
            resolve_to(monkeypatch, *addresses)
            before = open_sockets()
            with pytest.raises(ConnectTimeout, match=f"^no connection to {NAME} within 0.2 s") as caught:
                await pool.exchange(
                    Origin(False, NAME, port), get(), terms=LeaseTerms(1, 0.2), clocks=CLOCKS, max_body=10
                )
            assert open_sockets() == before
    assert (caught.value.unsent, pool._places_taken) == (True, 0)


async def silent_lookup(*_: object) -> list[Any]:
    """Never end."""
    await asyncio.sleep(60)
    return []


async def failed_lookup(*_: object) -> list[Any]:
    """Fail like the system's resolver."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def empty_lookup(*_: object) -> list[Any]:
    """Return no address."""
    return []


LOOKUPS: Final = [
    (silent_lookup, httpx.ConnectTimeout, f"no connection to {NAME} within 0.1 s"),
    (failed_lookup, httpx.ConnectError, f"no connection to {NAME} (Name or service not known)"),
    (empty_lookup, httpx.ConnectError, f"the name {NAME} has no address"),
]


@pytest.mark.parametrize(("lookup", "kind", "message"), LOOKUPS, ids=["silent", "failed", "empty"])
async def test_dial_lookup_without_an_address_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, lookup: Any, kind: type[httpx.TransportError], message: str
) -> None:
    """Under httpx it is a ConnectError or ConnectTimeout, in a client NotSent; the paid POST is not marked as sent."""
    monkeypatch.setattr(dial_module.Dialer, "_query_resolver", lookup)
    async with httpx.AsyncClient(transport=PooledTransport(), timeout=0.1) as client:
        with pytest.raises(kind) as caught:
            await client.post(f"http://{NAME}")
    assert str(caught.value) == message

    async def mark() -> None:
        raise AssertionError("the mark was stored although there is no connection")

    http_client = await HttpClient.open(f"https://{NAME}", ApiKeySource(KEY), connections=1, timeout=0.1)
    with pytest.raises(NotSent) as unsent:
        await http_client.send(HttpRequest("POST", "/x", b"{}"), mark)
    await http_client.aclose()
    assert f": {message}; nothing was sent" in str(unsent.value)


@contextlib.asynccontextmanager
async def serving_ipv6() -> AsyncIterator[int]:
    """Run a server on ::1 alone, and yield its port."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http_response("ok", connection="close"))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(respond, "::1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def has_ipv6() -> bool:
    """Return True if this machine has an IPv6 loopback address."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("host", ["[::1]", NAME, "localhost"])
async def test_dial_ipv6_alone_is_connected_to(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A literal address, a name with one IPv6 address, and a name whose IPv4 address refuses."""
    if host != "[::1]":
        resolve_to(monkeypatch, *(["::1"] if host == NAME else ["127.0.0.1", "::1"]))
    async with serving_ipv6() as port, httpx.AsyncClient(transport=PooledTransport()) as client:
        assert (await client.get(f"http://{host}:{port}")).text == "ok"


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
async def test_client_of_an_ipv6_address_sends_and_downloads(way: Way) -> None:
    """A base URL with a literal IPv6 address serves requests, and downloads from its own host and port."""
    async with serving_ipv6() as port, way.client(f"http://[0:0::1]:{port}") as client:
        assert (await client.send(HttpRequest("POST", "/x", b"{}"))).body == b"ok"
        async with client.download(f"http://[::1]:{port}/x.png", {}) as body:
            assert [chunk async for chunk in body.chunks()] == [b"ok"]
        with pytest.raises(DownloadError, match="private network"):
            async with client.download(f"http://[::1]:{port + 1}/x.png", {}):
                pass


async def test_dial_several_addresses_that_refuse_are_one_short_reason(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many addresses a name has, the message has the length of a line."""
    pool = make_pool()
    resolve_to(monkeypatch, *(f"127.0.0.{n}" for n in range(1, 21)))
    with pytest.raises(ConnectError) as caught:
        await pool.exchange(Origin(False, NAME, 1), get(), terms=QUICK, clocks=CLOCKS, max_body=1)
    assert str(caught.value) == f"no connection to {NAME} (Connection refused)"


WITHOUT_FILES: Final = """
import asyncio, os, resource, sys, warnings
import httpx
from aiowery import RetryPolicy, WeryAI
from aiowery.errors import AioweryError
from aiowery.transport import PooledTransport
from aiowery.weryai import TextToImage

url = sys.argv[1]
CAT = TextToImage(prompt="a cat")

def files():
    return len(os.listdir("/proc/self/fd"))

async def refused(use):
    try:
        await use
    except (AioweryError, httpx.HTTPError) as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("no error")

async def main():
    await asyncio.to_thread(httpx.create_ssl_context)  # what is imported at first use needs files
    once = RetryPolicy(max_attempts=1)
    async with (
        WeryAI("sk-sandbox", base_url=url, retries=once) as client,
        WeryAI("sk-sandbox", base_url=url.replace("http:", "https:"), retries=once) as over_tls,
        httpx.AsyncClient(transport=PooledTransport()) as http,
    ):
        before = files()
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        await refused(client.submit(CAT))
        await refused(client.balance())
        await refused(over_tls.balance())
        await refused(http.get(url))
        await refused(http.get(url.replace("http:", "https:")))
        for one in taken:
            os.close(one)
        print(files() - before)
        await client.run(CAT)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (TimeoutError(errno.ETIMEDOUT, "timed out"), ConnectError, os.strerror(errno.ETIMEDOUT)),
        (RuntimeError("Executor shutdown has been called"), ConnectError, "Executor shutdown"),
        (MemoryError("no room"), MemoryError, "no room"),
    ],
    ids=["the system's own timeout", "a loop that ends", "no memory"],
)
@pytest.mark.parametrize("step", ["lookup", "transport"])
async def test_dial_that_fails_closes_its_socket(
    make_pool: MakePool,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    kind: type[Exception],
    reason: str,
    step: str,
) -> None:
    """Whatever ends a dial, in the lookup or when the socket is connected: one error, no socket, no place taken."""

    async def fail(*_: Any, **__: Any) -> Any:
        raise fault

    pool = make_pool()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo" if step == "lookup" else "create_connection", fail)
    async with peer(OK) as server:
        host = "localhost" if step == "lookup" else "127.0.0.1"
        origin = Origin(False, host, origin_of(server.url).port)
        with pytest.raises(kind, match=reason) as caught:
            await pool.exchange(origin, get(), terms=QUICK, clocks=CLOCKS, max_body=1)
    assert getattr(caught.value, "unsent", True)
    assert pool._places_taken == 0


async def test_dial_connects_to_the_address_that_was_allowed(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the addresses of a name only those are connected to that `allow_address` has seen and allowed."""
    resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    pool = make_pool(allow_address=lambda address: address == "127.0.0.1")
    async with peer(OK) as server:
        origin = Origin(False, NAME, origin_of(server.url).port)
        with socket.create_server(("127.0.0.2", origin.port)) as refused:
            refused.setblocking(False)
            assert (await pool.exchange(origin, get(), terms=QUICK, clocks=CLOCKS, max_body=10)).body == b"ok"
            with pytest.raises(BlockingIOError):
                refused.accept()
        await pool.aclose()


@pytest.mark.slow("a process of its own")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the files of a process in /proc")
@pytest.mark.sandbox(speed=100.0, picture_size=64)
def test_dial_without_a_file_left_is_one_clear_error(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each transport says so, nothing stays open, and afterwards the submission goes out once."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "100")
    *errors, left = lines_of_script(WITHOUT_FILES, sandbox.url, options=("-W", "error"))
    reason = "no connection to 127.0.0.1 (this process has no file left to open)"
    hint = "; nothing was sent: check the network, base_url and any proxy"
    assert errors == [f"NotSent: ConnectError: {reason}{hint}"] * 3 + [f"ConnectError: {reason}"] * 2
    assert left == "0"
    assert sandbox.weryai.counters.posts == 1
