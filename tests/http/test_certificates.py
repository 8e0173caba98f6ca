"""Certificates that cannot be read or are refused: one message, which says what to do, over every transport."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import httpx2
import pytest
import trustme

from aiowery import RetryPolicy, WeryAI
from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery.errors import ConfigurationError, NotSent
from aiowery.transport import PooledTransport
from tests.support import KEY, http_response, peer

pytestmark = pytest.mark.anyio
POST: Final = HttpRequest("POST", "/v1/x", b"{}")
OK: Final = http_response({"a": 1})
OWN: Final[dict[str, Callable[[], Any]]] = {"pooled": lambda: None, "httpx": lambda: "httpx"}
ALL: Final[dict[str, Callable[[], Any]]] = {
    **OWN,
    "caller's httpx": httpx.AsyncClient,
    "caller's httpx2": httpx2.AsyncClient,
    "caller's, pooled": lambda: httpx.AsyncClient(transport=PooledTransport()),
}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make a certificate authority."""
    return trustme.CA()


def server_tls(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """Return the TLS settings of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def sent(url: str, http: Any) -> str:
    """Send a paid POST; return the name and the message of its error, after a check that the mark was not stored."""
    marked = False

    async def mark() -> None:
        nonlocal marked
        marked = True

    http_client = await HttpClient.open(url, ApiKeySource(KEY), connections=1, timeout=5, http=http)
    try:
        await http_client.send(POST, mark)
    except (ConfigurationError, NotSent) as error:
        # The transports of a caller's client that are not its library's report no moment before the first byte.
        assert marked == (isinstance(http, httpx.AsyncClient) and isinstance(http._transport, PooledTransport))
        return f"{type(error).__name__}: {error}"
    finally:
        await http_client.aclose()
        if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
            await http.aclose()
    return "sent"


@pytest.mark.parametrize("transport", ALL)
@pytest.mark.parametrize(
    ("name", "not_after", "is_trusted", "message"),
    [
        ("127.0.0.1", None, False, "is not trusted ("),
        ("127.0.0.1", dt.datetime(2001, 1, 1, tzinfo=dt.UTC), True, "is out of date (certificate has exp"),
        ("other.example", None, True, "is for another name (IP address mismatch, certificate is not valid for '127."),
    ],
    ids=["untrusted", "expired", "wrong name"],
)
async def test_send_refused_certificate_says_what_to_do(
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    transport: str,
    name: str,
    not_after: dt.datetime | None,
    is_trusted: bool,
    message: str,
) -> None:
    """An untrusted, an expired and another server's certificate are distinguished; nothing is sent."""
    if is_trusted:
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    before = None if not_after is None else not_after - dt.timedelta(days=1)
    certificate = authority.issue_cert(name, not_before=before, not_after=not_after)
    async with peer(OK, tls=server_tls(certificate)) as server:
        error = await sent(server.url, ALL[transport]())
    assert error.startswith("NotSent: ConnectError: no TLS connection to 127.0.0.1: its certificate ")
    assert message in error
    assert ("SSL_CERT_FILE" in error) is not is_trusted
    assert server.requests == []


@pytest.mark.parametrize("transport", ALL)
async def test_send_certificate_of_the_named_authority_is_trusted(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport: str
) -> None:
    """What the message says works: SSL_CERT_FILE names the authority."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with peer(OK, tls=server_tls(authority.issue_cert("127.0.0.1"))) as server:
        assert await sent(server.url, ALL[transport]()) == "sent"


def unusable(path: Path, kind: str) -> str:
    """Return the path of a file or directory that gives no certificates."""
    if kind == "empty file":
        path.write_bytes(b"")
    elif kind == "garbage":
        path.write_bytes(b"\x00garbage\n" * 100)
    elif kind == "empty directory":
        path.mkdir()
    elif kind == "directory without hashed names":
        path.mkdir()
        (path / "authority.pem").write_bytes(b"x")
    return str(path)


UNUSABLE: Final = [
    ("SSL_CERT_FILE", "missing", "No such file or directory"),
    ("SSL_CERT_FILE", "empty file", "no certificate in it can be read"),
    ("SSL_CERT_FILE", "garbage", "no certificate in it can be read"),
    ("SSL_CERT_DIR", "missing", "there is no such directory"),
    ("SSL_CERT_DIR", "garbage", "there is no such directory"),
    ("SSL_CERT_DIR", "empty directory", "openssl rehash"),
    ("SSL_CERT_DIR", "directory without hashed names", "openssl rehash"),
]


@pytest.mark.parametrize("transport", [*OWN, "caller's, pooled"])
@pytest.mark.parametrize(("variable", "kind", "reason"), UNUSABLE)
async def test_send_without_usable_certificates_names_variable_and_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, transport: str, variable: str, kind: str, reason: str
) -> None:
    """SSL_CERT_FILE and SSL_CERT_DIR that give nothing are the caller's mistake, found before anything is sent."""
    path = unusable(tmp_path / "certificates", kind)
    monkeypatch.setenv(variable, path)
    error = await sent("https://127.0.0.1:1", ALL[transport]())
    assert error.startswith(f"ConfigurationError: {variable}={path!r} names no ")
    assert reason in error
    assert error.endswith("; nothing was sent: correct it, or remove the variable")


@pytest.mark.parametrize("transport", OWN)
@pytest.mark.parametrize(("variable", "kind", "_reason"), UNUSABLE)
async def test_send_plain_http_needs_no_certificates(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, transport: str, variable: str, kind: str, _reason: str
) -> None:
    """A server on loopback, such as the sandbox, is reached whatever the variables hold."""
    monkeypatch.setenv(variable, unusable(tmp_path / "certificates", kind))
    async with peer(OK) as server:
        assert await sent(server.url, ALL[transport]()) == "sent"


async def test_client_without_usable_certificates_tries_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake is not retried, and a client raises it as it is."""
    monkeypatch.setenv("SSL_CERT_FILE", "/not/there.pem")
    retries = RetryPolicy(initial_backoff=60, max_backoff=60)
    async with WeryAI(KEY, base_url="https://127.0.0.1:1", retries=retries) as client:
        with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE='/not/there.pem' names no file"):
            await client.balance()
