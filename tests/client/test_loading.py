"""Imports of a client: none of them blocks the event loop of an application while requests are served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aiowery.sandbox import Sandbox

SPEED = 100.0
WERYAI = """
from aiowery.weryai import TextToImage, WeryAI
client = WeryAI(key, base_url=url, polling=PollPolicy().faster({speed}), http={http})
requests = [TextToImage(prompt="a cat"), TextToImage(prompt="two cats", image_number=2)]
"""
BETTERWAIFU = """
from aiowery.betterwaifu import BetterWaifu, GenerateImage
client = BetterWaifu(key, base_url=url, polling=PollPolicy().faster({speed}), http={http})
requests = [GenerateImage(prompt="a cat")]
"""
LIFE = """
import asyncio, os, sys
import httpx
from aiowery import PollPolicy
url, key, folder = sys.argv[1:]
{client}
made = set(sys.modules)

async def life():
    async with client:
        opened = set(sys.modules)
        job = await client.submit(requests[0])
        await client.download(await job.wait(), folder)
        async with client.stream(requests, batch="cats") as stream:
            assert [outcome.error async for outcome in stream] == [None] * len(requests)
        client.statistics()
    print(*opened - made)
    print(*set(sys.modules) - opened)

asyncio.run(life())
sys.stdout.flush()
"""


@pytest.mark.parametrize(
    ("http", "parts"),
    [
        ("None", {"anyio"}),
        ("httpx.AsyncClient()", {"anyio"}),
        ("'httpx'", {"anyio", "httpcore", "h11", "certifi", "importlib"}),
    ],
    ids=["own", "callers", "httpx"],
)
@pytest.mark.parametrize("client", [WERYAI, BETTERWAIFU], ids=["weryai", "betterwaifu"])
def test_client_after_opening_imports_nothing(client: str, http: str, parts: set[str], tmp_path: Path) -> None:
    """Creating a client imports what it needs.

    Opening it imports the event-loop part of anyio, with "httpx" also httpx's connections. Its jobs import nothing.
    """
    code = LIFE.format(client=client.format(speed=SPEED, http=http))
    with Sandbox(speed=SPEED, picture_size=64) as sandbox:
        command = [sys.executable, "-c", code, sandbox.url, sandbox.key, str(tmp_path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    opening, later = run.stdout.splitlines()
    assert {name.partition(".")[0] for name in opening.split()} <= parts
    assert not later.strip()
