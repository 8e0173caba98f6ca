"""Fixtures of the transport's tests: certificates, and an event loop of each kind."""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aiowery.transport import Clocks, ConnectionPool, LeaseTerms, Origin, OutgoingRequest, encode_head
from aiowery.transport._dial import Dialer

BACKENDS = [pytest.param(("asyncio", {}), id="asyncio")]
if importlib.util.find_spec("uvloop") is not None:
    BACKENDS.append(pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"))

QUICK = LeaseTerms(1.0, 1.0)
CLOCKS = Clocks(read=1.0, write=1.0, total=3.0)


@pytest.fixture(autouse=True)
def leaves_nothing_open(nothing_left_open: None) -> None:
    """Fail each test of this folder that leaves something open."""


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run a test in asyncio's event loop and, where it is installed, in uvloop's."""
    return request.param


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Make a certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Make the TLS settings of a server on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Make the TLS settings of a client that trusts that server."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="session")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the authority's certificate to a file."""
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def trusting(authority_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every client trust the servers of the tests."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file))


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Any:
    """Run a test over plain connections and over TLS: the contexts of server and client, or None twice."""
    return (server_tls, client_tls) if request.param == "tls" else (None, None)


def origin_of(url: str) -> Origin:
    """Return the origin of a server's URL."""
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":")
    return Origin(scheme == "https", host, int(port))


def get(target: str = "/", method: str = "GET", *headers: tuple[bytes, bytes]) -> OutgoingRequest:
    """Return a request without a body."""
    head = encode_head(method.encode(), target.encode(), [(b"host", b"x"), *headers])
    return OutgoingRequest(method.encode(), head)


def post(body: bytes, target: str = "/") -> OutgoingRequest:
    """Return a POST with a whole body."""
    headers = [(b"host", b"x"), (b"content-length", str(len(body)).encode())]
    return OutgoingRequest(b"POST", encode_head(b"POST", target.encode(), headers), body)


@pytest.fixture
async def make_pool() -> AsyncIterator[Callable[..., ConnectionPool]]:
    """Make pools, and close them at the end; no connection may be left."""
    pools: list[ConnectionPool] = []

    def make(
        tls: ssl.SSLContext | None = None, *, allow_address: Callable[[str], bool] | None = None, **limits: Any
    ) -> ConnectionPool:
        pools.append(ConnectionPool(Dialer(verify=tls or True, allow_address=allow_address), **limits))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()
        assert pool.connections == 0


@pytest.fixture(autouse=True)
def no_unhandled_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if the event loop reports an exception that no code has received."""
    reported: list[Any] = []
    original = asyncio.BaseEventLoop.call_exception_handler

    def record(loop: asyncio.BaseEventLoop, context: dict[str, Any]) -> None:
        reported.append(context)
        original(loop, context)

    asyncio.BaseEventLoop.call_exception_handler = record  # type: ignore[method-assign,assignment]
    yield
    asyncio.BaseEventLoop.call_exception_handler = original  # type: ignore[method-assign]
    if "expects_errors" not in request.fixturenames:
        assert reported == []
