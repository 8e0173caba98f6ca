"""A PooledTransport under httpx raises httpx's ConnectError for certificates, with a message that says what to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from aiowery.transport import CertificatesUnusable, ConnectError, ConnectionPool, PooledTransport
from tests.support import http_response, peer
from tests.transport.conftest import CLOCKS, QUICK, get, origin_of

pytestmark = pytest.mark.anyio
MakePool = Callable[..., ConnectionPool]
OK = http_response("ok")


async def test_transport_untrusted_certificate_names_the_remedy(server_tls: ssl.SSLContext) -> None:
    """A certificate without a known authority is an httpx.ConnectError that says how to trust it."""
    async with peer(OK, tls=server_tls) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.ConnectError, match=r"certificate is not trusted .*SSL_CERT_FILE") as caught:
            await client.get(server.url)
    assert getattr(caught.value, "unsent", False)
    assert caught.value.request.url == server.url
    assert server.requests == []


async def test_transport_missing_certificate_file_names_it_once_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, server_tls: ssl.SSLContext
) -> None:
    """SSL_CERT_FILE that cannot be read is an httpx.ConnectError; plain HTTP does not need it."""
    monkeypatch.setenv("SSL_CERT_FILE", "/not/there.pem")
    async with peer(OK, tls=server_tls) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        with pytest.raises(httpx.ConnectError, match=r"^SSL_CERT_FILE='/not/there.pem' names no file") as caught:
            await client.get(server.url)
    async with peer(OK) as server, httpx.AsyncClient(transport=PooledTransport()) as client:
        assert (await client.get(server.url)).text == "ok"
    assert isinstance(caught.value, CertificatesUnusable)


async def test_transport_client_certificate_that_is_none_names_it(server_tls: ssl.SSLContext, tmp_path: Path) -> None:
    """The argument `cert` is named too; the setting is not remembered as good."""
    file = tmp_path / "client.pem"
    file.write_bytes(b"garbage")
    async with peer(OK, tls=server_tls) as server:
        async with httpx.AsyncClient(transport=PooledTransport(cert=str(file))) as client:
            for _ in range(2):
                with pytest.raises(httpx.ConnectError, match=r"^cert='.*client\.pem' is no certificate with its key"):
                    await client.get(server.url)


async def test_dial_wrong_name_in_the_certificate_is_refused(
    make_pool: MakePool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A trusted certificate for another name is no permission; `server_name` says which name is expected."""
    pool = make_pool(client_tls)
    async with peer(OK, tls=server_tls) as server:
        origin = origin_of(server.url)
        with pytest.raises(ConnectError, match=r"to other\.example: its certificate is for another name"):
            await pool.exchange(
                origin._replace(server_name="other.example"), get(), terms=QUICK, clocks=CLOCKS, max_body=10
            )
        response = await pool.exchange(
            origin._replace(server_name="localhost"), get(), terms=QUICK, clocks=CLOCKS, max_body=10
        )
        await pool.aclose()
    assert response.status == 200
