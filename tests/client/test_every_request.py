"""Every request class once from end to end on a real socket: its result type and the formats of its files."""

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
SUFFIXES = {"image": ".png", "video": ".mp4", "audio": ".wav"}
FURTHER: dict[str, dict[str, Any]] = {"image-to-prompt": {"image_kilobytes": None}, "music": {"audio_name": "Roof"}}
"""By type_name, what a request needs besides its files."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Start one sandbox for all tests of this module, with slots for all of them."""
    with Sandbox(speed=SPEED, picture_size=64, in_flight=1000) as running:
        yield running


@pytest.mark.parametrize("name", REQUESTS)
async def test_run_smallest_request_returns_its_result_type(name: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """The smallest request of each class returns a non-empty result of its type, with files of the right format."""
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(SPEED)) as client:
        request = smallest(name)
        if isinstance(request, PodcastVoice):
            script = await client.run(Podcast(query="tides", speakers=["spk-en-07"]))
            request = PodcastVoice(task_id=script.task_ids[0])
        result = await client.run(request)
        assert type(result) is type(request).result_type
        assert not result.is_empty
        for asset, path in zip(result.assets, await client.download(result, tmp_path), strict=True):
            assert path.suffix == SUFFIXES[asset.kind]
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
async def test_run_local_files_in_all_media_fields_uploads_each_once(name: str, sandbox: Sandbox) -> None:
    """Each class with media fields runs with local files in all of them, and each different file is uploaded once."""
    before = sandbox.weryai.counters.posts
    more = FURTHER.get(name, {})
    async with WeryAI(sandbox.key, base_url=sandbox.url, polling=PollPolicy().faster(SPEED)) as client:
        request = smallest(name, **media_of(name), **more)
        assert not (await client.run(request)).is_empty
    different = {file for files in media_of(name).values() for file in (files if isinstance(files, list) else [files])}
    assert sandbox.weryai.counters.posts - before == len(different) + 1
