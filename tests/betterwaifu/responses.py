"""Responses for tests of the decoders."""

from __future__ import annotations

import json
from typing import Any

from aiowery._core.messages import HttpResponse


def response(body: Any, status: int = 200, **headers: str) -> HttpResponse:
    """Return a response. A text is its body, and any other value is written as JSON."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)
