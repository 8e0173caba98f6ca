"""The exceptions of the transport: those of httpx, each with `unsent`."""

from __future__ import annotations

import httpx


class Unsent:
    """An exception after which no byte of the request has reached the server."""

    unsent: bool = True


class Unclear:
    """An exception after which the request may have reached the server.

    `excerpt` holds the beginning of what was received, at most 2,048 bytes, without control characters.
    """

    unsent: bool = False
    excerpt: str = ""


class ConnectError(Unsent, httpx.ConnectError):
    """No connection was made: no address, a refused connection, a failed TLS handshake, a refused address."""


class CertificatesUnusable(ConnectError):
    """The certificates to trust, or to present, cannot be read: a setting is wrong."""


class AddressRefused(ConnectError):
    """All addresses of the host are refused by `allow_address`."""


class ConnectTimeout(Unsent, httpx.ConnectTimeout):
    """No connection was made in time."""


class PoolTimeout(Unsent, httpx.PoolTimeout):
    """No connection was free in time."""


class PoolClosed(Unsent, httpx.ConnectError):
    """The pool is closed."""


class RequestRefused(Unsent, httpx.LocalProtocolError):
    """The request cannot be written as HTTP/1.1."""


class UnsupportedProtocol(Unsent, httpx.UnsupportedProtocol):
    """The URL has a scheme other than http and https."""


class ConnectionUnusable(Unsent, httpx.WriteError):
    """The connection was lost, or its lease or the caller's permission expired, before the first byte was written."""


class WriteError(Unclear, httpx.WriteError):
    """The connection failed, or the body's source raised or ended too early, while the body was written."""


class WriteTimeout(Unclear, httpx.WriteTimeout):
    """The server accepted no bytes for too long."""


class ReadError(Unclear, httpx.ReadError):
    """The connection was reset before the response was complete.

    `nothing_received`: not a byte of a response had arrived.
    """

    nothing_received: bool = False


class ReadTimeout(Unclear, httpx.ReadTimeout):
    """The server sent no bytes for too long, or the whole took too long."""


class RemoteProtocolError(Unclear, httpx.RemoteProtocolError):
    """The server ended the connection too early, or its bytes are no response, or one whose end is unclear.

    `nothing_received`: not a byte of a response had arrived.
    """

    nothing_received: bool = False
