"""Responses with a JSON body, for tests of the decoders."""

from __future__ import annotations

import json
from typing import Any

from aiowery._core.messages import HttpResponse


def json_response(body: Any, http_status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """Return a response with a JSON body."""
    return HttpResponse(http_status, headers or {}, json.dumps(body).encode())


def enveloped(data: Any, **more: Any) -> HttpResponse:
    """Return a successful response in WeryAI's envelope."""
    return json_response({"status": 0, "desc": "success", "message": "success", "data": data, **more})
