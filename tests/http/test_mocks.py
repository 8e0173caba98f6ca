"""Mocks under each kind of runner, in a process of its own: no request reaches the network while a mock is active."""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

from tests.support import http_response, peer

pytestmark = [pytest.mark.anyio, pytest.mark.slow("processes of their own")]

COMMON: Final = """
import asyncio, contextlib, os, unittest
from unittest import mock
import httpx
import respx
from aiowery import Asset, RetryPolicy, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage

URL = os.environ["SERVER"]
SAYS = "the mock says no"
REFUSED = {"status": 1001, "desc": SAYS, "message": SAYS, "data": None}

async def answer(self, request):
    return httpx.Response(200, json=REFUSED, request=request)

def routed():
    router = respx.mock(assert_all_called=False)
    router.route().respond(json=REFUSED)
    return router

MOCKS = {
    "respx": routed,
    "pytest-httpx": lambda: mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", answer),
    "vcr": lambda: mock.patch.object(httpx.AsyncClient, "_send_single_request", answer),
    "pook": lambda: mock.patch.object(
        httpx.AsyncClient, "_transport_for_url",
        lambda *_: httpx.MockTransport(lambda _: httpx.Response(200, json=REFUSED)),
    ),
}

def new_client():
    return WeryAI("sk-made-up", base_url=URL, retries=RetryPolicy(max_attempts=1))

async def refused(client):
    asset = Asset(URL + "/x.png")
    for sending in client.submit(TextToImage(prompt="a cat")), client.status("task"), client.fetch(asset):
        try:
            await sending
        except AioweryError as error:
            assert "the mock says no" in str(error) or "application/json" in str(error), error
        else:
            raise AssertionError("the mock refuses everything")

async def opened_before(mocked):
    async with new_client() as client:
        with mocked():
            await refused(client)

async def opened_within(mocked):
    with mocked():
        async with new_client() as client:
            await refused(client)
"""
"""What the scripts share: mocks by imitation, and a client that sends a request of each kind."""

SCRIPT: Final = """
for mocked in MOCKS.values():
    asyncio.run(opened_before(mocked))
    asyncio.run(opened_within(mocked))
print("done")
"""

UNITTEST: Final = """
class Test(unittest.IsolatedAsyncioTestCase):
    async def test_client_opened_before(self):
        for name, mocked in MOCKS.items():
            with self.subTest(name):
                await opened_before(mocked)

    async def test_client_opened_within(self):
        for name, mocked in MOCKS.items():
            with self.subTest(name):
                await opened_within(mocked)

class PatchedForTheClass(unittest.TestCase):
    def setUp(self):
        patch = MOCKS["pytest-httpx"]()
        patch.start()
        self.addCleanup(patch.stop)

    def test_plain_function(self):
        asyncio.run(opened_within(contextlib.nullcontext))

unittest.main(argv=["x"])
"""

PROJECT: Final = """
import pytest

@pytest.mark.parametrize("name", MOCKS)
@pytest.mark.parametrize("opened", [opened_before, opened_within])
def test_mock(name, opened):
    asyncio.run(opened(MOCKS[name]))

def test_fixture_of_respx(respx_mock):
    respx_mock.route().respond(json=REFUSED)
    asyncio.run(opened_within(contextlib.nullcontext))

def test_fixture_of_aiowery(aiowery_sandbox):
    async def main():
        async with WeryAI() as client:
            result = await client.run(TextToImage(prompt="a cat"))
            return len(result.assets)

    assert asyncio.run(main()) >= 1
    assert aiowery_sandbox.weryai.counters.posts == 1
"""


async def run_process(folder: Path, url: str, *arguments: str) -> tuple[int | None, str]:
    """Run this interpreter in a folder; return its exit status and its output."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={**kept, "SERVER": url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize(("code", "words"), [(SCRIPT, "done"), (UNITTEST, "OK")], ids=["script", "unittest"])
async def test_mock_in_a_process_without_pytest_receives_every_request(tmp_path: Path, code: str, words: str) -> None:
    """A script with `asyncio.run` and plain unittest: no connection reaches a server that listens."""
    async with peer(http_response({})) as server:
        status, output = await run_process(tmp_path, server.url, "-W", "error", "-c", COMMON + code)
    assert status == 0, output
    assert words in output
    assert server.connections == 0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project that has nothing but the package: one file of tests, no conftest, settings that set nothing."""
    Path(tmp_path, "pytest.ini").write_text("[pytest]\n", "utf-8")  # settings of a folder around it do not count
    Path(tmp_path, "test_project.py").write_text(COMMON + PROJECT, "utf-8")
    return tmp_path


async def test_mock_in_a_fresh_project_receives_every_request(project: Path) -> None:
    """Pytest in a folder with one file of tests: mocks are obeyed, and the package's fixture is there."""
    async with peer(http_response({})) as server:
        status, output = await run_process(project, server.url, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert status == 0, output
    assert "10 passed" in output
    assert server.connections == 0


def test_entry_point_is_the_module_of_the_fixtures() -> None:
    """Pytest finds the package's plugin by its entry point."""
    (found,) = entry_points(group="pytest11", name="aiowery")
    assert found.value == "aiowery.testing._plugin"
    assert hasattr(found.load(), "aiowery_sandbox")
