"""A pooled transport for httpx: HTTP/1.1 on asyncio, with errors that distinguish unsent requests.

    import httpx
    from aiowery.transport import PooledTransport

    client = httpx.AsyncClient(transport=PooledTransport())

This module is provisional: names may change in a minor version. It stands alone and works with any httpx client.
Its exceptions are httpx's; each has `unsent`, True if no byte of the request has reached the server.
"""

from __future__ import annotations

from aiowery._base.public_names import publish
from aiowery.transport._connection import Clocks, Connection, Response
from aiowery.transport._dial import AllowAddress
from aiowery.transport._errors import (
    AddressRefused,
    CertificatesUnusable,
    ConnectError,
    ConnectionUnusable,
    ConnectTimeout,
    PoolClosed,
    PoolTimeout,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    RequestRefused,
    UnsupportedProtocol,
    WriteError,
    WriteTimeout,
)
from aiowery.transport._httpx import PooledTransport
from aiowery.transport._pool import ConnectionPool, LeaseTerms
from aiowery.transport._request import Origin, OutgoingRequest, encode_fields, encode_head

__all__ = (
    "AddressRefused",
    "AllowAddress",
    "CertificatesUnusable",
    "Clocks",
    "ConnectError",
    "ConnectTimeout",
    "Connection",
    "ConnectionPool",
    "ConnectionUnusable",
    "LeaseTerms",
    "Origin",
    "OutgoingRequest",
    "PoolClosed",
    "PoolTimeout",
    "PooledTransport",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "RequestRefused",
    "Response",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
    "encode_fields",
    "encode_head",
)

publish(__name__)
