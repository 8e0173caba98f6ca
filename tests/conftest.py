"""What all tests share: a clean environment, and a loop that must not be blocked."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from coverage import Coverage
from hypothesis import HealthCheck, settings

pytest_plugins = ["aiowery.testing"]

# A law is tried with few examples in every run, and with many by `--hypothesis-profile=deep`.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("deep", deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck))
settings.load_profile("quick")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_OURS = (
    *("WERYAI_API_KEY", "WERYAI_BASE_URL", "WERYAI_MODELS_BASE_URL"),
    *("BETTERWAIFU_API_KEY", "BETTERWAIFU_BASE_URL", "AIOWERY_SANDBOX_SPEED"),
)


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


@pytest.fixture(scope="session", autouse=True)
def blocked_loops() -> Iterator[BlockBuster | None]:
    """Fail what blocks the event loop in our code; patched once, for a test would take a millisecond to do it."""
    if Coverage.current() is not None:  # a coverage tracer takes locks of its own, wherever it pleases
        yield None
        return
    with blockbuster_ctx("aiowery") as buster:
        yield buster


@pytest.fixture
def may_block(blocked_loops: BlockBuster | None) -> Iterator[None]:
    """Let the code of one test block its event loop: a command line may."""
    if blocked_loops is None:
        yield
        return
    blocked_loops.deactivate()
    yield
    blocked_loops.activate()


@pytest.fixture(autouse=True)
def two_loops(request: pytest.FixtureRequest) -> None:
    """Let several event loops wait for each other's locks, in tests that are marked so."""
    if request.node.get_closest_marker("two_loops"):
        request.getfixturevalue("may_block")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio."""
    return "asyncio"
