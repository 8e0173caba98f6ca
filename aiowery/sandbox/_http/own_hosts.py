"""Requests that a browser sends for another site: to this machine's address, or to a name that leads to it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable


def foreign_header(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the header by which a request belongs to another host than this machine, None for an own request.

    `Host` is the name under which the server was reached, `Origin` the site whose page sends the request.
    """
    for name, value in headers:
        text = value.decode("latin-1").strip()
        if name == b"host" and not _is_own(f"//{text}"):
            return f"Host: {text}"
        if name == b"origin" and not _is_own(text):
            return f"Origin: {text}"
    return None


def _is_own(url: str) -> bool:
    """Return True if the host of a URL is this machine."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
