"""A process that has no file left to open: nothing is sent, nothing is lost, and later everything goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from aiowery.sandbox import Sandbox
from tests.support import lines_of_script

SCRIPT: Final = """
import asyncio, contextlib, logging, os, resource, sys
import httpx, httpx2
from aiowery import Asset, RetryPolicy, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage

url, way, ledger = sys.argv[1:]
CAT = TextToImage(prompt="a cat")
MAKERS = {"caller's httpx": httpx.AsyncClient, "caller's httpx2": httpx2.AsyncClient}

def files():
    return len(os.listdir("/proc/self/fd"))

async def refused(use):
    try:
        await use
    except AioweryError as error:
        print(type(error).__name__, "nothing was sent" in str(error))
    else:
        print("no error")

async def main():
    repeats = asyncio.Semaphore(0)
    log = logging.getLogger("aiowery")
    log.addHandler(logging.NullHandler())
    log.addFilter(lambda record: "again in" in record.getMessage() and repeats.release())
    await asyncio.to_thread(httpx.create_ssl_context)  # what is imported at first use needs files
    make = MAKERS.get(way, lambda: contextlib.nullcontext("httpx" if way == "httpx" else None))
    async with make() as http:
        settings = {"base_url": url, "http": http}
        async with (
            WeryAI("sk-sandbox", retries=RetryPolicy(max_attempts=1), **settings) as once,
            WeryAI("sk-sandbox", retries=RetryPolicy(max_attempts=9), ledger=ledger, **settings) as client,
        ):
            before = files()
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
            taken = []
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            for use in (once.submit(CAT), once.balance(), once.fetch(Asset(url))):
                await refused(use)
            running = asyncio.create_task(client.run(CAT))
            reading = asyncio.create_task(client.balance())
            for _ in range(2):
                await repeats.acquire()
            for one in taken:
                os.close(one)
            print(files() - before)
            await reading
            result = await running
            print(len(result.assets), len(await client.fetch(result.assets[0])) > 0)

asyncio.run(main())
"""


@pytest.mark.slow("a process of its own")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the files of a process in /proc")
@pytest.mark.sandbox(speed=100.0, picture_size=64)
@pytest.mark.parametrize("way", ["own connections", "httpx", "caller's httpx", "caller's httpx2"])
def test_submission_without_a_file_left_waits_and_is_posted_once(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """Over every transport it is unsent and repeated, reads too; no socket is left open, and nothing warns."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "100")
    printed = lines_of_script(SCRIPT, sandbox.url, way, tmp_path / "jobs.db", options=("-W", "error"))
    assert printed == ["NotSent True", "NotSent True", "DownloadError True", "0", "1 True"]
    assert sandbox.weryai.counters.posts == 1
