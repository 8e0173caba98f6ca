"""Mocks of HTTP libraries: whether one is active, so that every request goes through it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

import httpx


def is_mocked(library: ModuleType = httpx) -> bool:
    """Return True while a mock stands before httpx or httpx2: then every request must go through that library.

    respx, pytest-httpx, vcr and pook replace one of these methods, perhaps before this module is imported. An original
    is recognized by the package of its code.
    """
    core = library.__name__.replace("httpx", "httpcore")
    return not (
        _is_own(library, "AsyncHTTPTransport", "handle_async_request")
        and _is_own(library, "AsyncClient", "_send_single_request")
        and _is_own(library, "AsyncClient", "_transport_for_url")
        and _is_own(sys.modules.get(core), "AsyncConnectionPool", "handle_async_request")
    )


def _is_own(library: ModuleType | None, class_name: str, name: str) -> bool:
    """Return True if the library itself defines the method, or has no such method."""
    method = getattr(getattr(library, class_name, None), name, None)
    return library is None or method is None or _is_from(method, library.__name__)


@lru_cache(maxsize=64)  # asked for each request
def _is_from(method: Callable[..., object], package: str) -> bool:
    module: str = getattr(method, "__globals__", {}).get("__name__", "")
    return module.startswith(f"{package}.")
