"""Every request class once from end to end, on a real socket: the promised result, and files that are what they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiowery import PollPolicy, WeryAI
from aiowery.sandbox import Sandbox
from aiowery.weryai import REQUESTS, Podcast, PodcastVoice
from tests.weryai.request_samples import EVERYTHING, OTHER_PICTURE, PICTURE, SOUND, VIDEO, smallest

pytestmark = pytest.mark.anyio

SPEED = 1000.0
MAGIC = {".png": b"\x89PNG", ".mp4": b"ftyp", ".wav": b"RIFF"}
FILES = {
    "image": b"\x89PNG\r\n\x1a\n" + bytes(2000),
    "video": b"\0\0\0\x18ftypisom" + bytes(2000),
    "audio": b"RIFF\0\0\0\0WAVEfmt " + bytes(2000),
}
KINDS = {PICTURE: "image", OTHER_PICTURE: "image", VIDEO: "video", SOUND: "audio"}
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
        assert not result.is_empty
        for asset, path in zip(result.assets, await client.download(result, tmp_path), strict=True):
            assert path.suffix == ENDINGS[asset.kind]
            assert MAGIC[path.suffix] in path.read_bytes()[:12]


def media_of(name: str) -> dict[str, Any]:
    """Return local files for every field of a request class that can hold a picture, a film or a sound."""
    found: dict[str, Any] = {}
    for field, value in EVERYTHING[name].items():
        several = isinstance(value, tuple)
        kind = KINDS.get(str(value[0] if several else value))
        if kind is not None:
            found[field] = [FILES[kind]] * len(value) if several else FILES[kind]
    return found


@pytest.mark.parametrize("name", [name for name in REQUESTS if media_of(name)])
async def test_every_media_field_takes_a_local_file(name: str, sandbox: Sandbox) -> None:
    """Each class that works on pictures, films or sounds runs with files in all of its fields, one upload a kind."""
    before = sandbox.weryai.counters.posts
    more = {"image_kilobytes": None} if name == "image-to-prompt" else {}
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(SPEED)) as client:
        request = smallest(name, **media_of(name), **more)
        assert not (await client.run(request)).is_empty
    different = {file for files in media_of(name).values() for file in (files if isinstance(files, list) else [files])}
    assert sandbox.weryai.counters.posts - before == len(different) + 1
