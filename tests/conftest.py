"""What all tests share: a clean environment, and a loop that must not be blocked."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from coverage import Coverage

pytest_plugins = ["aiowery.testing"]

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_OURS = ("WERYAI_API_KEY", "WERYAI_BASE_URL", "WERYAI_MODELS_BASE_URL")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no key, host or proxy of the machine reach a test."""
    for name in (*_PROXIES, *map(str.lower, _PROXIES), *_OURS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def heard_signals() -> None:
    """Hear Ctrl-C, which tests send, even if the shell started them in the background, where it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_chances(request: pytest.FixtureRequest) -> None:
    """Draw the same intervals and jitters in every run of a test."""
    random.seed(request.node.nodeid)


@pytest.fixture(autouse=True)
def no_blocked_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which our code blocks the event loop."""
    # A coverage tracer takes locks of its own, wherever it pleases.
    if request.node.get_closest_marker("two_loops") or Coverage.current() is not None:
        yield
        return
    with blockbuster_ctx("aiowery"):
        yield


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"
