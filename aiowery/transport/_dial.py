"""Connections to origins: the name is resolved, every address is checked, and a checked address is connected to."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final

import aiohappyeyeballs
import httpx

from aiowery.transport._connection import Connection
from aiowery.transport._errors import ConnectError, ConnectTimeout
from aiowery.transport._request import Origin

_NEXT_ADDRESS: Final = 0.25
_SHUTDOWN_SECONDS: Final = 0.5
_making: Final = threading.Lock()
_NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})

AllowAddress = Callable[[str], bool]
"""Returns True for an IP address that may be connected to."""
Verify = ssl.SSLContext | str | bool
Cert = str | tuple[str, str] | tuple[str, str, str]
_AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]


class Dialer:
    """A maker of connections with one set of certificates.

    Several dials to one host share its lookup. `local_address` is the address to connect from.
    """

    def __init__(
        self,
        *,
        verify: Verify = True,
        cert: Cert | None = None,
        local_address: str | None = None,
        allow_address: AllowAddress | None = None,
    ) -> None:
        self._verify = verify
        self._cert = cert
        self._local = None if local_address is None else [_numeric(local_address, 0)]
        self._allow_address = allow_address
        self._lookups: dict[tuple[str, int], asyncio.Task[list[_AddressInfo]]] = {}

    def forget(self) -> None:
        """End the lookups under way; a thread of the system's resolver may outlive them."""
        lookups, self._lookups = self._lookups, {}
        for lookup in lookups.values():
            if not lookup.get_loop().is_closed():
                lookup.cancel()

    async def connect(
        self, origin: Origin, make_connection: Callable[[], Connection], seconds: float | None
    ) -> Connection:
        """Return an open connection, its TLS handshake done. Raises ConnectError or ConnectTimeout."""
        try:
            async with asyncio.timeout(seconds):
                tls = await _tls_context(self._verify, self._cert) if origin.is_tls else None
                sock = await self._open_socket(origin)
                return await self._start(origin, sock, tls, make_connection)
        except TimeoutError as fault:
            if fault.errno is None:  # ours, not the system's
                raise ConnectTimeout(f"no connection to {origin.host} within {seconds:g} s") from fault
            raise ConnectError(f"no connection to {origin.host} ({fault})") from fault
        except ssl.SSLError as fault:
            raise ConnectError(f"no TLS connection to {origin.host}: {_tls_reason(fault)}") from fault
        except OSError as fault:
            reason = "this process has no file left to open" if fault.errno in _NO_FILES else fault.strerror or fault
            raise ConnectError(f"no connection to {origin.host} ({reason})") from fault
        except (UnicodeError, ValueError) as fault:
            raise ConnectError(f"{origin.host!r} is no name of a server ({fault})") from fault
        except RuntimeError as fault:  # of a loop or an executor that shuts down
            raise ConnectError(f"no connection to {origin.host} ({fault})") from fault

    async def _open_socket(self, origin: Origin) -> socket.socket:
        addresses = await self._resolve(origin)
        allow = self._allow_address
        if allow is not None:
            allowed = [info for info in addresses if allow(_plain_address(str(info[4][0])))]
            if not allowed:
                raise ConnectError(f"{origin.host} has only addresses that may not be connected to; nothing was sent")
            addresses = allowed
        return await aiohappyeyeballs.start_connection(
            addresses, local_addr_infos=self._local, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1
        )

    async def _start(
        self,
        origin: Origin,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        make_connection: Callable[[], Connection],
    ) -> Connection:
        """Return the connection over a connected socket, which is closed if there is none."""
        loop = asyncio.get_running_loop()
        settings: dict[str, Any] = {}
        if tls is not None:
            name = origin.server_name or origin.host
            settings = {"ssl": tls, "server_hostname": name, "ssl_shutdown_timeout": _SHUTDOWN_SECONDS}
        made: list[Connection] = []

        def make() -> Connection:
            made.append(make_connection())
            return made[0]

        try:
            _, connection = await loop.create_connection(make, sock=sock, **settings)
        except BaseException:
            if not made:  # no transport has taken the socket
                sock.close()
            else:
                made[0].discard()
                if not isinstance(loop, asyncio.BaseEventLoop):  # uvloop closes the descriptor, not the Python object
                    sock.detach()
            raise
        return connection

    async def _resolve(self, origin: Origin) -> list[_AddressInfo]:
        try:
            return [_numeric(origin.host, origin.port)]
        except ValueError:
            pass
        key = origin.host, origin.port
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = asyncio.ensure_future(self._query_resolver(*key))
            lookup.add_done_callback(functools.partial(self._forget_lookup, key))
        found = await asyncio.shield(lookup)
        if not found:
            raise ConnectError(f"the name {origin.host} has no address")
        return found

    async def _query_resolver(self, host: str, port: int) -> list[_AddressInfo]:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)

    def _forget_lookup(self, key: tuple[str, int], lookup: asyncio.Task[list[_AddressInfo]]) -> None:
        if self._lookups.get(key) is lookup:
            del self._lookups[key]
        if not lookup.cancelled():
            lookup.exception()  # received, also if all dials have left


def _numeric(host: str, port: int) -> _AddressInfo:
    """Return the address of a host that is an address itself. Raises ValueError for a name."""
    address = ipaddress.ip_address(host.strip("[]"))
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port))
    scope = getattr(address, "scope_id", None)
    number = 0 if scope is None else int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
    plain = str(address).partition("%")[0]
    return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (plain, port, 0, number))


def _plain_address(address: str) -> str:
    """Return an address without its scope, and the IPv4 address that an IPv6 one contains."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


async def _tls_context(verify: Verify, cert: Cert | None) -> ssl.SSLContext:
    """Return the context for these settings; it is made once in the process, in a thread, because it takes 20 ms."""
    if isinstance(verify, ssl.SSLContext) and cert is None:
        return verify
    variables = tuple(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(None, _make_tls_context, verify, cert, variables)
    except (OSError, ssl.SSLError) as fault:
        named = [
            f"{name}={value}" for name, value in zip(("SSL_CERT_FILE", "SSL_CERT_DIR"), variables, strict=True) if value
        ]
        source = f"; {named[0]} names it" if named else ""
        raise ConnectError(f"the certificates cannot be read ({fault}{source}); nothing was sent") from fault


def _make_tls_context(verify: Verify, cert: Cert | None, variables: tuple[str | None, ...]) -> ssl.SSLContext:
    """Return the context for these settings. Blocks; concurrent callers wait for the one that makes it."""
    with _making:
        return _cached_tls_context(verify, cert, variables)


@functools.lru_cache(maxsize=32)
def _cached_tls_context(verify: Verify, cert: Cert | None, _: tuple[str | None, ...]) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=verify)
    if isinstance(cert, str):
        context.load_cert_chain(cert)
    elif cert is not None:
        context.load_cert_chain(*cert)
    if not isinstance(verify, ssl.SSLContext):
        context.set_alpn_protocols(["http/1.1"])
    return context


def _tls_reason(fault: ssl.SSLError) -> str:
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({fault.verify_message}); if it is the right server, name the file with"
            " its authority in SSL_CERT_FILE"
        )
    return str(fault.reason or fault)
