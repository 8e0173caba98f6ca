"""Every request class once from end to end, on a real socket: the promised result, and files that are what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from weryai.filled import smallest

from aiowery import PollPolicy, WeryAI
from aiowery.sandbox import Sandbox
from aiowery.weryai import REQUESTS, Podcast, PodcastVoice

pytestmark = pytest.mark.anyio

SPEED = 1000.0
MAGIC = {".png": b"\x89PNG", ".mp4": b"ftyp", ".wav": b"RIFF"}
ENDINGS = {"image": ".png", "video": ".mp4", "audio": ".wav"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """One sandbox for all, with room for all."""
    with Sandbox(speed=SPEED, picture_size=64, in_flight=1000) as running:
        yield running


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_brings_its_result(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The least request of each class runs; its result is of the promised type and not empty, its files are real."""
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(SPEED)) as client:
        request = smallest(name)
        if isinstance(request, PodcastVoice):
            script = await client.run(Podcast(query="tides", speakers=["spk-en-07"]))
            request = PodcastVoice(task_id=script.task_ids[0])
        result = await client.run(request)
        assert type(result) is type(request).result_type
        assert not result.empty
        for asset, path in zip(result.assets, await client.download(result, tmp_path), strict=True):
            assert path.suffix == ENDINGS[asset.kind]
            assert MAGIC[path.suffix] in path.read_bytes()[:12]
