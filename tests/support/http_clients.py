"""HTTP clients of the package, over each choice of a transport."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import httpx2

from aiowery._core.urls import parse_hosts
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from tests.support.samples import KEY


@contextlib.asynccontextmanager
async def http_client_to(
    url: str, http: Any = None, *, connections: int = 4, timeout: float = 5.0, allow_hosts: Iterable[str] = ()
) -> AsyncIterator[HttpClient]:
    """Open an HTTP client with this `http=`; close it, and then the caller's client if there is one."""
    hosts = parse_hosts("allow_hosts", allow_hosts)
    key = ApiKeySource(KEY)
    client = await HttpClient.open(url, key, connections=connections, timeout=timeout, http=http, allow_hosts=hosts)
    try:
        yield client
    finally:
        await client.aclose()
        if isinstance(http, (httpx.AsyncClient, httpx2.AsyncClient)):
            assert not http.is_closed, "a caller's client is the caller's to close"
            await http.aclose()
