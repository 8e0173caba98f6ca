"""Connections to origins: the name is resolved, every address is checked, and a checked address is connected to."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable
from math import inf
from typing import Any, Final

import aiohappyeyeballs

from aiowery.transport._connection import Connection
from aiowery.transport._errors import AddressRefused, ConnectError, ConnectTimeout
from aiowery.transport._request import Origin
from aiowery.transport._tls import NO_FILES, Cert, Verify, explain_handshake, load_context

_NEXT_ADDRESS: Final = 0.25
"""The seconds after which the next address is tried beside those that have not responded yet."""
_ALL_ADDRESSES: Final = 2.0
"""The seconds after which all addresses are being tried."""
_MAX_REASON: Final = 200
_SHUTDOWN_SECONDS: Final = 0.5

AllowAddress = Callable[[str], bool]
"""Returns True for an IP address that may be connected to."""
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
                tls = await load_context(self._verify, self._cert) if origin.is_tls else None
                sock = await self._open_socket(origin, seconds)
                return await self._start(origin, sock, tls, make_connection)
        except TimeoutError as fault:
            if fault.errno is None:  # ours, not the system's
                raise ConnectTimeout(f"no connection to {origin.host} within {seconds:g} s") from fault
            raise ConnectError(f"no connection to {origin.host} ({_reason(fault)})") from fault
        except ssl.SSLError as fault:
            raise ConnectError(explain_handshake(origin.server_name or origin.host, fault)) from fault
        except OSError as fault:
            raise ConnectError(f"no connection to {origin.host} ({_reason(fault)})") from fault
        except (UnicodeError, ValueError) as fault:
            raise ConnectError(f"{origin.host!r} is no name of a server ({fault})") from fault
        except RuntimeError as fault:  # of a loop or an executor that shuts down
            raise ConnectError(f"no connection to {origin.host} ({fault})") from fault

    async def _open_socket(self, origin: Origin, seconds: float | None) -> socket.socket:
        addresses = await self._resolve(origin)
        allow = self._allow_address
        if allow is not None:
            allowed = [info for info in addresses if allow(_plain_address(str(info[4][0])))]
            if not allowed:
                raise AddressRefused(f"{origin.host} has only addresses that may not be connected to; nothing was sent")
            addresses = allowed
        # Silent addresses must leave time for the last one, which may be the only one that responds.
        delay = min(_NEXT_ADDRESS, min(_ALL_ADDRESSES, (seconds or inf) / 2) / len(addresses))
        return await aiohappyeyeballs.start_connection(
            addresses, local_addr_infos=self._local, happy_eyeballs_delay=delay, interleave=1
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
        with contextlib.suppress(ValueError):  # a name, which is looked up
            return [_numeric(origin.host, origin.port)]
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


def _reason(fault: OSError) -> str:
    """Return the system's text for a failed connection; the errors of a lookup have numbers of their own."""
    if fault.errno in NO_FILES:
        return "this process has no file left to open"
    if fault.errno is None or isinstance(fault, socket.gaierror):
        return str(fault.strerror or fault)[:_MAX_REASON]
    return os.strerror(fault.errno)


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
