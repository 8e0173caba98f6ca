"""Fixtures of all tests: a clean environment, and an event loop that must not be blocked."""

from __future__ import annotations

import inspect
import os
import random
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from coverage import Coverage
from hypothesis import HealthCheck, settings

from aiowery.sandbox import Sandbox
from tests.support import OpenThings, open_sockets

# Properties are tested with few examples in every run, and with many by `--hypothesis-profile=deep`.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("deep", deadline=None, max_examples=2000, suppress_health_check=list(HealthCheck))
settings.load_profile("quick")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_SETTINGS = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "AIOWERY_HTTP", "AIOWERY_LEDGER_FILE_SYSTEMS"),
    *("WERYAI_API_KEY", "WERYAI_BASE_URL", "WERYAI_MODELS_BASE_URL"),
    *("BETTERWAIFU_API_KEY", "BETTERWAIFU_BASE_URL", "AIOWERY_SANDBOX_SPEED"),
)


_SECONDS = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register `longest_test`, the seconds that a test may take."""
    parser.addini("longest_test", "seconds that a test may take unless it is marked slow", default="5")


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores for `-n auto`, because tests wait now and then."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests marked `loads_much` first, so that one worker runs them all before others take over its tests.

    Raises UsageError for a test that is marked slow without a reason.
    """
    items.sort(key=lambda item: item.get_closest_marker("loads_much") is None)
    for item in items:
        slow = item.get_closest_marker("slow")
        if slow is not None and not slow.args:
            raise pytest.UsageError(f"{item.nodeid}: give the reason: @pytest.mark.slow('reason')")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function that is marked `virtual_time` on an event loop in virtual time."""
    function = pyfuncitem.obj
    if pyfuncitem.get_closest_marker("virtual_time") is None or not inspect.iscoroutinefunction(function):
        return None
    from aiowery.testing import run_virtual  # noqa: PLC0415 - pytest loads it first, as a plugin

    run_virtual(function(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail a test that takes too long, including set-up and teardown, unless it is marked slow."""
    report = yield
    seconds = item.stash[_SECONDS] = item.stash.get(_SECONDS, 0.0) + call.duration
    longest = float(item.config.getini("longest_test"))
    if call.when == "teardown" and report.passed and seconds > longest and not item.get_closest_marker("slow"):
        report.outcome = "failed"
        report.longrepr = f"took {seconds:.1f} s; shorten it, or give the reason: @pytest.mark.slow('reason')"
    return report


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove keys, hosts, proxies and certificates of the machine from the environment of a test."""
    for name in (*_PROXIES, *map(str.lower, _PROXIES), *_SETTINGS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def default_sigint() -> None:
    """Handle Ctrl-C, which tests send, even if a shell started them in the background and ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def same_random_numbers(request: pytest.FixtureRequest) -> None:
    """Draw the same intervals and jitters in every run of a test."""
    random.seed(request.node.nodeid)


@pytest.fixture(scope="session", autouse=True)
def blocked_loops() -> Iterator[BlockBuster | None]:
    """Raise for package code that blocks the event loop.

    Patched once a session, because patching takes a millisecond.
    """
    if Coverage.current() is not None:  # a coverage tracer acquires locks anywhere
        yield None
        return
    with blockbuster_ctx("aiowery") as buster:
        yield buster


@pytest.fixture
def may_block(blocked_loops: BlockBuster | None) -> Iterator[None]:
    """Allow the code of one test to block its event loop, as a command may."""
    if blocked_loops is None:
        yield
        return
    blocked_loops.deactivate()
    yield
    blocked_loops.activate()


@pytest.fixture(autouse=True)
def two_loops(request: pytest.FixtureRequest) -> None:
    """Allow event loops to wait for each other's locks in tests marked `two_loops`."""
    if request.node.get_closest_marker("two_loops"):
        request.getfixturevalue("may_block")


@pytest.fixture
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Start a sandbox for one test, with the settings of `@pytest.mark.sandbox(...)`."""
    marker = request.node.get_closest_marker("sandbox")
    with Sandbox(**(marker.kwargs if marker else {})) as running:
        yield running


@pytest.fixture
def nothing_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a socket, a task or a timer, also one that only the garbage collector would end."""
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("nothing_left_in_the_loop")
        yield
        return
    before = open_sockets()
    yield
    assert open_sockets() <= before


@pytest.fixture
async def nothing_left_in_the_loop() -> AsyncIterator[None]:
    """Fail a coroutine function that leaves something open in its event loop."""
    before = OpenThings.now()
    yield
    assert not await before.describe_more()


@pytest.fixture
def anyio_backend() -> str:
    """Return the backend of asynchronous tests: asyncio."""
    return "asyncio"
