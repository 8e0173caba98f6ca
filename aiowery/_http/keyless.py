"""Send one request without a key, to find out what answers at a URL."""

from __future__ import annotations

from typing import Final

import httpx

from aiowery._core.messages import HttpResponse
from aiowery._http.router import TransportRouter
from aiowery._http.transport import RequestHeaders, ResponseTooLong, TransportFault, TransportRequest
from aiowery.errors import NoAnswer

_MAX_RESPONSE: Final = 64 * 1024
_HEADERS: Final = RequestHeaders({"user-agent": "aiowery", "accept-encoding": "identity"})


async def send_keyless(method: str, base: str, path: str, *, timeout: float) -> HttpResponse:
    """Send a request without key and body to `base` + `path`, and return the response, whatever its status.

    A redirect is not followed. Of a long response only the status is returned. Raises NoAnswer without a response.
    """
    transport = TransportRouter(httpx.Limits(max_connections=1), timeout)
    try:
        return await transport.send_and_read(
            TransportRequest(method, base, path, _HEADERS, any_address=True), _MAX_RESPONSE
        )
    except ResponseTooLong as fault:
        return HttpResponse(fault.response.http_status, {}, b"")
    except TransportFault as fault:
        raise NoAnswer(str(fault)) from None
    finally:
        await transport.aclose()
