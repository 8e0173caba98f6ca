"""The ways in which a request can go out, and the table of what each of them can hold.

`docs/transport.md` shows the same table. `proves` runs a test over each way that holds its fact, and skips the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import attrs
import httpx
import httpx2
import pytest

from aiowery._core.messages import HttpRequest
from aiowery._http.http_client import HttpClient
from aiowery.transport import PooledTransport
from tests.support import http_client_to, http_response

TIMEOUT: Final = 5.0
"""The seconds that a request may take on a busy machine."""
SHORT: Final = 0.25
"""A timeout in seconds that a test waits for."""

GET: Final = HttpRequest("GET", "/status")
POST: Final = HttpRequest("POST", "/paid", b'{"prompt": "a cat"}')
OK: Final = http_response({"ok": 1})


@attrs.frozen
class Way:
    """One way to send: a name, its column in the table, and what is given as `http=`."""

    name: str
    column: int
    make_http: Callable[[], Any]

    def client(
        self, url: str, timeout: float = TIMEOUT, allow_hosts: Iterable[str] = ()
    ) -> AbstractAsyncContextManager[HttpClient]:
        """Open an HTTP client that sends this way, and close it, with the caller's client if there is one."""
        return http_client_to(url, self.make_http(), timeout=timeout, allow_hosts=allow_hosts)


WAYS: Final = (
    Way("pooled", 0, lambda: None),
    Way("by httpx", 1, lambda: "httpx"),
    Way("httpx2", 1, httpx2.AsyncClient),
    Way("httpx over pooled", 2, lambda: httpx.AsyncClient(transport=PooledTransport())),
)
"""All ways. A caller's `httpx.AsyncClient` with httpx's own transports is what `http="httpx"` makes."""

FACTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "the ledger's mark is stored before the first byte leaves": (
        "yes",
        "yes, directly before it, if its transports are httpx's own; else before the request",
        "in part: before the request",
    ),
    "a connection that is lost while the mark is stored is replaced, and nothing has left": ("yes", "no", "yes"),
    "an error tells an unsent request": (
        "yes",
        "yes, if its transports are httpx's own; else only for a full pool",
        "yes",
    ),
    "a connection that the server has closed while it rested carries no request": ("yes", "yes", "yes"),
    "a read that meets a closed connection is sent once more": ("yes", "no", "yes"),
    "the server's `Keep-Alive: timeout=N` is obeyed": ("yes", "no", "yes"),
    "a connection that the server closes is closed immediately": ("yes", "no: with the next request", "yes"),
    "a response belongs to its request, also after surplus bytes": (
        "yes",
        "in part: bytes behind a response may reach the next request",
        "yes",
    ),
    "interim responses (1xx) are skipped; 101, 17 of them, and those with a body are refused": (
        "yes",
        "in part: none is refused",
        "yes",
    ),
    "a response whose end is unclear is refused": ("yes", "in part: h11 accepts some", "yes"),
    "a body cut over TLS is an error": ("yes", "in part: if its length is known", "yes"),
    "the head of a response, and the whole, have a limit": ("yes", "yes", "yes"),
    "a length beyond the limit ends the read before the body": ("yes", "no", "no"),
    "a response that its own length cuts is no JSON, and a doubt": ("yes", "yes", "yes"),
    "bytes behind the announced end of a download are an error": (
        "yes, if they come with the end",
        "no: the file ends there",
        "no: the file ends there",
    ),
    "a server that is silent, or accepts nothing, is given up in time": ("yes", "yes", "yes"),
    "bytes that trickle are given up in time": ("yes", "yes", "yes"),
    "a compressed response is decoded within the limit": ("yes", "yes", "yes"),
    "a coding that cannot be decoded, or is cut, is an error": ("yes", "yes", "yes"),
    "bytes beyond ASCII in a header are no error, and none is lost": ("yes", "yes", "yes"),
    "a request that would be read as two is refused": ("yes", "yes", "yes"),
    "a paid POST leaves in one piece": ("yes", "no: head and body apart", "yes"),
    "an early refusal ends an upload": ("yes", "no: the whole is sent", "yes"),
    "a download that is left, or read slowly, stops its server": ("yes", "yes", "yes"),
    "private addresses of downloads are refused, but for hosts that you allow": ("yes", "yes", "yes"),
    "addresses of downloads are checked after the lookup": (
        "yes",
        "no: only literal addresses",
        "in part: only literal addresses, unless you give `allow_address=`",
    ),
    "foreign requests carry no header, cookie or parameter of yours": ("yes", "yes", "yes"),
    "a request that is cancelled ends its connection": (
        "yes",
        "in part: not within a TLS handshake",
        "yes",
    ),
    "closing ends all connections, and what is under way with an error": ("yes", "yes", "yes"),
}  # fmt: skip
"""What is held by the package's own connections, by httpx's (also a caller's), and by httpx over `PooledTransport`."""

proved: Final[set[str]] = set()
"""The facts of the tests that are loaded."""


def proves(fact: str, *, wholly: bool = False) -> pytest.MarkDecorator:
    """Run a test over the ways that hold a fact; `wholly`: not over those that hold it in part."""
    proved.add(fact)
    ways = []
    for way in WAYS:
        cell = FACTS[fact][way.column]
        is_held = cell.startswith("yes") or (cell.startswith("in part") and not wholly)
        marks = () if is_held else pytest.mark.skip(reason=f"{way.name}: {fact}: {cell}")
        ways.append(pytest.param(way, id=way.name, marks=marks))
    return pytest.mark.parametrize("way", ways)
