"""Saving outputs: whole or not at all, resumed, without credentials, under harmless names."""

from __future__ import annotations

import asyncio
import errno
import gzip
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Asset, ImageResult, RetryPolicy, WeryAI
from aiowery._base.text import clean_name
from aiowery.errors import DownloadError
from tests.support import KEY, http_response, peer

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG" + bytes(range(256)) * 40


@asynccontextmanager
async def client_at(url: str) -> AsyncIterator[WeryAI]:
    """Open a client whose pauses are short."""
    async with WeryAI(KEY, base_url=url, retries=RetryPolicy(initial_backoff=0.001)) as client:
        yield client


def png(body: bytes = PNG, **headers: str) -> bytes:
    """Return an answer that holds a picture."""
    return http_response(body, content_type="image/png", **headers)


def first_bytes(count: int) -> bytes:
    """Return an answer that promises the picture and breaks off after so many bytes."""
    head = f"HTTP/1.1 200 OK\r\netag: v1\r\ncontent-length: {len(PNG)}\r\nconnection: close\r\n\r\n"
    return head.encode() + PNG[:count]


def rest_from(count: int, etag: str = "v1") -> bytes:
    """Return the answer to a range that begins there."""
    content_range = f"bytes {count}-{len(PNG) - 1}/{len(PNG)}"
    return http_response(
        PNG[count:], "206 Partial Content", content_type="image/png", content_range=content_range, etag=etag
    )


def files_in(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in directory.iterdir())


async def test_saves_every_asset_under_its_tasks_name(tmp_path: Path) -> None:
    """The directory is made, each picture gets its task's name and its type's ending, nothing else stays."""
    async with peer(png()) as server, client_at(server.url) as client:
        assets = tuple(Asset(f"{server.url}/{n}", task_id=f"task_{n}") for n in range(3))
        result = ImageResult(task_ids=("a",), assets=assets)
        paths = await client.download(result, tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["task_0.png", "task_1.png", "task_2.png"]
    assert files_in(tmp_path / "new" / "out") == ["task_0.png", "task_1.png", "task_2.png"]
    assert all(path.read_bytes() == PNG for path in paths)


async def test_a_name_for_several_assets_is_numbered(tmp_path: Path) -> None:
    """No picture overwrites its sister."""
    async with peer(png()) as server, client_at(server.url) as client:
        result = ImageResult(task_ids=("a",), assets=(Asset(server.url + "/1"), Asset(server.url + "/2")))
        paths = await client.download(result, str(tmp_path), name="A tabby, on a windowsill!")
    assert [path.name for path in paths] == ["A-tabby-on-a-windowsill-1.png", "A-tabby-on-a-windowsill-2.png"]


@pytest.mark.parametrize(
    ("url", "content_type", "suffix"),
    [
        ("/a", "image/jpeg; charset=binary", ".jpg"),
        ("/a.png", "image/webp", ".webp"),
        ("/a.PNG?x=.exe", "application/octet-stream", ".png"),
        ("/a.exe", "application/octet-stream", ".bin"),
        ("/a", "video/mp4", ".mp4"),
        ("/a.sh", "application/x-sh", ".bin"),
    ],
)
async def test_the_ending_follows_the_type(tmp_path: Path, url: str, content_type: str, suffix: str) -> None:
    """A server cannot choose an executable's ending for us."""
    answer = http_response(PNG, content_type=content_type)
    async with peer(answer) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url + url), tmp_path, name="x")
    assert path.name == "x" + suffix


@pytest.mark.parametrize("task_id", ["../../etc/passwd", "..", "/abs", "a/b\\c", ".hidden", "\x00", "CON:", "~root"])
async def test_a_servers_words_make_no_path(tmp_path: Path, task_id: str) -> None:
    """Whatever a task is called, its file lies in the directory that was asked for."""
    async with peer(png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url, task_id=task_id), tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert not path.name.startswith(".")


@given(st.text())
def test_clean_names_are_one_harmless_component(text: str) -> None:
    """For any text: not empty, not hidden, no separator, short enough for every file system."""
    name = clean_name(text)
    assert name.strip(".") == name != ""
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= 80
    assert clean_name(name) == name


def test_a_long_name_is_cut_at_once() -> None:
    """A url of a megabyte, from an answer, costs milliseconds; the cut never leaves half a character."""
    began = time.thread_time()
    assert clean_name("ä" * 1_000_000) == "ä" * 40
    assert clean_name("a" + "ä" * 1_000_000) == "a" + "ä" * 39
    assert time.thread_time() - began < 0.1


async def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path) -> None:
    """Half the file arrives, the rest is asked for by range, and nothing is fetched twice."""
    async with peer(first_bytes(5000), rest_from(5000)) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert b"range: bytes=5000-" in server.requests[1].lower()
    assert files_in(tmp_path) == ["x.png"]


async def test_a_part_from_an_earlier_run_is_resumed(tmp_path: Path) -> None:
    """After a crash the next download of the same url begins where the part ends."""
    half = first_bytes(100)
    async with peer(half, half, half, half, rest_from(100)) as server:
        asset = Asset(server.url + "/a")
        with pytest.raises(DownloadError):
            async with client_at(server.url) as client:
                await client.download(asset, tmp_path, name="x")
        assert [name for name in files_in(tmp_path) if name.endswith(".part")]
        async with client_at(server.url) as client:
            (path,) = await client.download(asset, tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert files_in(tmp_path) == ["x.png"]


async def test_a_part_of_another_version_is_not_continued(tmp_path: Path) -> None:
    """The file has changed between two attempts: it is fetched anew instead of being sewn together."""
    async with peer(first_bytes(100), rest_from(100, etag="v2"), png(etag="v2")) as server:
        async with client_at(server.url) as client:
            (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert len(server.requests) == 3
    assert files_in(tmp_path) == ["x.png"]


async def test_two_downloads_of_one_file_do_not_mix(tmp_path: Path) -> None:
    """The same url into the same directory, five times at once: whole files, and nothing left over."""
    large = PNG * 300
    async with peer(png(large)) as server, client_at(server.url) as client:
        asset = Asset(server.url + "/a")
        paths = await asyncio.gather(*(client.download(asset, tmp_path, name="x") for _ in range(5)))
    assert {path for (path,) in paths} == {tmp_path / "x.png"}
    assert (tmp_path / "x.png").read_bytes() == large
    assert files_in(tmp_path) == ["x.png"]


async def test_a_part_that_another_process_has_finished_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches into one directory may fetch the same file at the same moment; the slower one does not fail."""
    parts = [True]

    def taken_away(_: int) -> None:
        if parts:
            parts.clear()
            (part,) = tmp_path.glob(".*.part")
            part.replace(tmp_path / "x.png")

    monkeypatch.setattr("os.fsync", taken_away)
    async with peer(png(), png()) as server, client_at(server.url) as client:
        await client.download(Asset(server.url + "/a"), tmp_path, name="x")
    assert (tmp_path / "x.png").read_bytes() == PNG
    assert files_in(tmp_path) == ["x.png"]


async def test_a_compressed_answer_is_unpacked(tmp_path: Path) -> None:
    """A host that compresses although nobody asked for it does not spoil the file."""
    packed = gzip.compress(b"<svg/>")
    answer = http_response(packed, content_type="image/svg+xml", content_encoding="gzip")
    async with peer(answer) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
        assert path.read_bytes() == b"<svg/>"
        assert await client.fetch(Asset(server.url)) == b"<svg/>"


@pytest.mark.parametrize(
    "second",
    [png(), http_response("", "416 Range Not Satisfiable")],
    ids=["whole file instead of a range", "range refused"],
)
async def test_a_server_without_ranges_gives_the_whole_file(tmp_path: Path, second: bytes) -> None:
    """A part that cannot be continued is begun anew, never appended to."""
    async with peer(first_bytes(100), second, png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG


@pytest.mark.parametrize(
    "passing",
    [
        http_response("", "404 Not Found"),
        http_response("", "403 Forbidden"),
        http_response("", "503 Service Unavailable"),
        http_response("<html>please wait</html>", content_type="text/html; charset=utf-8"),
        None,
    ],
    ids=["404", "403", "503", "page", "hang-up"],
)
async def test_what_passes_is_waited_out(tmp_path: Path, passing: bytes | None) -> None:
    """A delivery network that does not know the file yet, or shows a page, is asked again."""
    async with peer(passing, passing, png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
        assert path.read_bytes() == PNG


async def test_what_stays_away_is_an_error_with_the_url(tmp_path: Path) -> None:
    """410 is final: one request, one error, no file under the final name."""
    async with peer(http_response("", "410 Gone")) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="may have expired") as caught:
            await client.download(Asset(server.url + "/x"), tmp_path, name="x")
    assert caught.value.url == server.url + "/x"
    assert len(server.requests) == 1
    assert files_in(tmp_path) == []


async def test_a_full_disk_is_said_once_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space: the error names the path and the url, which still holds the output; it is not tried again."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aiowery._http.download.PartialFile._write", full)
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="No space left on device; the url still holds the output") as caught:
            await client.download(Asset(server.url + "/x"), tmp_path, name="x")
    assert caught.value.path is not None
    assert len(server.requests) == 1


async def test_a_directory_that_cannot_be_made_is_said_before_anything_is_fetched(tmp_path: Path) -> None:
    """A file in the way of the directory costs no request."""
    (tmp_path / "file").write_text("in the way")
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="cannot save"):
            await client.download(Asset(server.url), tmp_path / "file" / "out")
    assert server.requests == []


async def test_fetch_returns_the_bytes() -> None:
    """For bots: the picture in memory, with the same patience."""
    async with peer(None, http_response("", "500 Internal Server Error"), png()) as server:
        async with client_at(server.url) as client:
            assert await client.fetch(Asset(server.url)) == PNG


async def test_files_too_large_are_not_filled_into_memory_or_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are bounded, whatever a server sends."""
    monkeypatch.setattr("aiowery._http.download._MAX_IN_MEMORY", 100)
    monkeypatch.setattr("aiowery._http.download._MAX_FILE", 100)
    monkeypatch.setattr("aiowery._http.download._FLUSH_SIZE", 50)
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="larger than 100 bytes"):
            await client.fetch(Asset(server.url))
        with pytest.raises(DownloadError, match="larger than 100 bytes"):
            await client.download(Asset(server.url), tmp_path, name="x")
