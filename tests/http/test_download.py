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
    """Open a client with short back-offs."""
    async with WeryAI(KEY, base_url=url, retries=RetryPolicy(initial_backoff=0.001)) as client:
        yield client


def png(body: bytes = PNG, **headers: str) -> bytes:
    """Return a response with a picture."""
    return http_response(body, content_type="image/png", **headers)


def first_bytes(count: int) -> bytes:
    """Return a response that announces the picture and ends after this many bytes."""
    head = f"HTTP/1.1 200 OK\r\netag: v1\r\ncontent-length: {len(PNG)}\r\nconnection: close\r\n\r\n"
    return head.encode() + PNG[:count]


def rest_from(count: int, etag: str = "v1") -> bytes:
    """Return the response to a range request from this position."""
    content_range = f"bytes {count}-{len(PNG) - 1}/{len(PNG)}"
    return http_response(
        PNG[count:], "206 Partial Content", content_type="image/png", content_range=content_range, etag=etag
    )


def files_in(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return sorted(path.name for path in directory.iterdir())


async def test_download_result_saves_each_asset_by_task_id(tmp_path: Path) -> None:
    """The directory is created, each file has its task id and the suffix of its type, and no other file stays."""
    async with peer(png()) as server, client_at(server.url) as client:
        assets = tuple(Asset(f"{server.url}/{n}", task_id=f"task_{n}") for n in range(3))
        result = ImageResult(task_ids=("a",), assets=assets)
        paths = await client.download(result, tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["task_0.png", "task_1.png", "task_2.png"]
    assert files_in(tmp_path / "new" / "out") == ["task_0.png", "task_1.png", "task_2.png"]
    assert all(path.read_bytes() == PNG for path in paths)


async def test_download_several_assets_with_one_name_are_numbered(tmp_path: Path) -> None:
    """No file overwrites another one."""
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
async def test_download_suffix_follows_the_media_type(tmp_path: Path, url: str, content_type: str, suffix: str) -> None:
    """A server cannot give a file the suffix of an executable."""
    response = http_response(PNG, content_type=content_type)
    async with peer(response) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url + url), tmp_path, name="x")
    assert path.name == "x" + suffix


@pytest.mark.parametrize("task_id", ["../../etc/passwd", "..", "/abs", "a/b\\c", ".hidden", "\x00", "CON:", "~root"])
async def test_download_task_id_of_server_stays_in_the_directory(tmp_path: Path, task_id: str) -> None:
    """For any task id, the file is in the requested directory."""
    async with peer(png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url, task_id=task_id), tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert not path.name.startswith(".")


@given(st.text())
def test_clean_name_any_text_is_one_harmless_component(text: str) -> None:
    """For any text, the name is not empty, not hidden, without separators, and short enough for every file system."""
    name = clean_name(text)
    assert name.strip(".") == name != ""
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= 80
    assert clean_name(name) == name


def test_clean_name_of_a_megabyte_is_fast() -> None:
    """A name of a megabyte from a server costs milliseconds, and the cut leaves no half character."""
    began = time.thread_time()
    assert clean_name("ä" * 1_000_000) == "ä" * 40
    assert clean_name("a" + "ä" * 1_000_000) == "a" + "ä" * 39
    assert time.thread_time() - began < 0.1


async def test_download_interrupted_transfer_is_resumed(tmp_path: Path) -> None:
    """If half of the file arrives, the rest is requested by range, and no byte is fetched twice."""
    async with peer(first_bytes(5000), rest_from(5000)) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert b"range: bytes=5000-" in server.requests[1].lower()
    assert files_in(tmp_path) == ["x.png"]


async def test_download_partial_file_of_earlier_run_is_resumed(tmp_path: Path) -> None:
    """After a crash, the next download of the same URL continues at the end of the partial file."""
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


async def test_download_changed_file_is_fetched_again(tmp_path: Path) -> None:
    """If the file has changed between two attempts, it is fetched again and not combined with the old part."""
    async with peer(first_bytes(100), rest_from(100, etag="v2"), png(etag="v2")) as server:
        async with client_at(server.url) as client:
            (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert len(server.requests) == 3
    assert files_in(tmp_path) == ["x.png"]


async def test_download_same_file_concurrently_gives_one_whole_file(tmp_path: Path) -> None:
    """Five concurrent downloads of one URL into one directory give a whole file, and no other file stays."""
    large = PNG * 300
    async with peer(png(large)) as server, client_at(server.url) as client:
        asset = Asset(server.url + "/a")
        paths = await asyncio.gather(*(client.download(asset, tmp_path, name="x") for _ in range(5)))
    assert {path for (path,) in paths} == {tmp_path / "x.png"}
    assert (tmp_path / "x.png").read_bytes() == large
    assert files_in(tmp_path) == ["x.png"]


async def test_download_part_moved_by_another_process_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes may fetch the same file into one directory at the same time. The slower one does not fail."""
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


async def test_download_compressed_response_is_refused(tmp_path: Path) -> None:
    """A host that compresses although that is not accepted damages no file: nothing is saved."""
    packed = gzip.compress(b"<svg/>")
    response = http_response(packed, content_type="image/svg+xml", content_encoding="gzip")
    async with peer(response) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="content-encoding 'gzip'"):
            await client.download(Asset(server.url), tmp_path, name="x")
        with pytest.raises(DownloadError, match="content-encoding 'gzip'"):
            await client.fetch(Asset(server.url))
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "second",
    [png(), http_response("", "416 Range Not Satisfiable")],
    ids=["whole file instead of a range", "range refused"],
)
async def test_download_server_without_ranges_restarts(tmp_path: Path, second: bytes) -> None:
    """A partial file that cannot be continued is started again, never appended to."""
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
async def test_download_passing_failure_is_retried(tmp_path: Path, passing: bytes | None) -> None:
    """If a delivery network does not have the file yet, or sends an HTML page, the request is repeated."""
    async with peer(passing, passing, png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
        assert path.read_bytes() == PNG


async def test_download_gone_raises_error_with_url(tmp_path: Path) -> None:
    """410 is final: one request, one error, and no file under the final name."""
    async with peer(http_response("", "410 Gone")) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="may have expired") as caught:
            await client.download(Asset(server.url + "/x"), tmp_path, name="x")
    assert caught.value.url == server.url + "/x"
    assert len(server.requests) == 1
    assert files_in(tmp_path) == []


async def test_download_full_disk_raises_error_without_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the path, and the URL that still has the output. There is no second request."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aiowery._http.download.PartialFile._write", full)
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="No space left on device; the URL still holds the output") as caught:
            await client.download(Asset(server.url + "/x"), tmp_path, name="x")
    assert caught.value.path is not None
    assert len(server.requests) == 1


async def test_download_impossible_directory_sends_no_request(tmp_path: Path) -> None:
    """If the directory cannot be created, the error costs no request."""
    (tmp_path / "file").write_text("in the way")
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="cannot save"):
            await client.download(Asset(server.url), tmp_path / "file" / "out")
    assert server.requests == []


async def test_fetch_returns_the_bytes_after_retries() -> None:
    """The picture is returned in memory, after the same retries."""
    async with peer(None, http_response("", "500 Internal Server Error"), png()) as server:
        async with client_at(server.url) as client:
            assert await client.fetch(Asset(server.url)) == PNG


async def test_download_file_above_limit_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is limited, whatever a server sends."""
    monkeypatch.setattr("aiowery._http.download._MAX_IN_MEMORY", 100)
    monkeypatch.setattr("aiowery._http.download._MAX_FILE", 100)
    monkeypatch.setattr("aiowery._http.download._FLUSH_SIZE", 50)
    async with peer(png()) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="larger than 100 bytes"):
            await client.fetch(Asset(server.url))
        with pytest.raises(DownloadError, match="larger than 100 bytes"):
            await client.download(Asset(server.url), tmp_path, name="x")
