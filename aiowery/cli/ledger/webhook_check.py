"""Find out whether a webhook receiver answers at a public URL."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiowery._core.messages import HttpResponse
from aiowery._core.urls import validate_url
from aiowery._core.webhook_config import new_token
from aiowery._http.keyless import send_keyless
from aiowery.cli.output.plain_text import cell
from aiowery.errors import NoAnswer

_TIMEOUT: Final = 10.0
_MAX_SHOWN: Final = 300
_GUARDED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})


async def find_fault(public_url: str) -> str | None:
    """Return what prevents deliveries to a public URL, None if a receiver answers there and can record them.

    A receiver answers a GET with 405 and `Allow: POST`, and a POST to a URL that belongs to no submission with 404.
    Raises ConfigurationError for a URL that no provider could be given.
    """
    base = validate_url("--check", public_url, carries="each submission's secret")
    path = f"/{new_token()}"
    try:
        read = await send_keyless("GET", base, path, timeout=_TIMEOUT)
        if not _is_receivers(read):
            return _fault_of(read)
        posted = await send_keyless("POST", base, path, timeout=_TIMEOUT)
    except NoAnswer as error:
        return f"it cannot be reached from this machine ({error}): start the server, or correct the name"
    if posted.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        return "a receiver answers, but it records nothing (HTTP 503): open a client that uses it, or its ledger"
    return None if posted.http_status == HTTPStatus.NOT_FOUND else _fault_of(posted)


def _is_receivers(read: HttpResponse) -> bool:
    return read.http_status == HTTPStatus.METHOD_NOT_ALLOWED and read.headers.get("allow") == "POST"


def _fault_of(response: HttpResponse) -> str:
    status = response.http_status
    if response.redirect:
        target = cell(response.headers.get("location", "another URL")[:_MAX_SHOWN])
        return f"it redirects to {target} (HTTP {status}), and a delivery need not follow: give the final URL"
    if status in _GUARDED:
        return f"it asks for a login (HTTP {status}): let requests below this URL pass without one"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"the server in front reaches no receiver (HTTP {status}): start the receiver"
    return (
        f"something else answers there (HTTP {status}): the URL must end in the path at which the receiver is mounted,"
        " such as /aiowery"
    )
