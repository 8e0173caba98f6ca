"""Saving outputs: whole or not at all, resumed, without credentials, under harmless names."""

from __future__ import annotations

import asyncio
import base64
import errno
import gzip
import os
import re
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import Asset, ImageResult, RetryPolicy, WeryAI
from aiowery._base.text import clean_name
from aiowery.errors import DownloadError
from tests.support import KEY, http_response, peer, responding

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"


@asynccontextmanager
async def client_at(url: str) -> AsyncIterator[WeryAI]:
    """Open a client with short back-offs."""
    async with WeryAI(KEY, base_url=url, retries=RetryPolicy(initial_backoff=0.001)) as client:
        yield client


def png(body: bytes = PNG, **headers: str) -> bytes:
    """Return a response with a picture."""
    return http_response(body, content_type="image/png", **headers)


def first_bytes(count: int, validator: str = "etag: v1\r\n") -> bytes:
    """Return a response that announces the picture and ends after this many bytes."""
    head = f"HTTP/1.1 200 OK\r\n{validator}content-length: {len(PNG)}\r\nconnection: close\r\n\r\n"
    return head.encode() + PNG[:count]


def rest_from(count: int, etag: str = "v1") -> bytes:
    """Return the response to a range request from this position."""
    content_range = f"bytes {count}-{len(PNG) - 1}/{len(PNG)}"
    return http_response(
        PNG[count:], "206 Partial Content", content_type="image/png", content_range=content_range, etag=etag
    )


def ranged(request: bytes) -> bytes:
    """Return the response of a server that obeys ranges."""
    offset = re.search(rb"(?i)range: bytes=(\d+)-", request)
    return png(etag="v1") if offset is None else rest_from(int(offset[1]))


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


@pytest.mark.skipif(os.name != "posix", reason="files have no mode there")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
async def test_download_without_ledger_file_has_the_mode_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    """Without a ledger file, whose mode counts, the process's umask decides who may read a picture."""
    before = os.umask(umask)
    try:
        async with peer(png()) as server, client_at(server.url) as client:
            (path,) = await client.download(Asset(f"{server.url}/x"), tmp_path / "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


async def test_download_several_assets_with_one_name_are_numbered(tmp_path: Path) -> None:
    """No file overwrites another one."""
    async with peer(png()) as server, client_at(server.url) as client:
        result = ImageResult(task_ids=("a",), assets=(Asset(server.url + "/1"), Asset(server.url + "/2")))
        paths = await client.download(result, str(tmp_path), name="A tabby, on a windowsill!")
    assert [path.name for path in paths] == ["A-tabby-on-a-windowsill-1.png", "A-tabby-on-a-windowsill-2.png"]


@pytest.mark.parametrize(
    ("body", "url", "content_type", "suffix"),
    [
        (PNG, "/a", "image/jpeg; charset=binary", ".png"),
        (PNG, "/a.sh", "application/x-sh", ".png"),
        (b"\xff\xd8\xff\xe0\0", "/x.jpeg", "binary/octet-stream", ".jpg"),
        (b"\xff\xd8\xff\xe0\0", "/x", "text/html", ".jpg"),
        (b"\0\1unknown", "/a.png", "image/webp", ".webp"),
        (b"\0\1unknown", "/a.PNG?x=.exe", "application/octet-stream", ".png"),
        (b"\0\1unknown", "/a.exe", "application/octet-stream", ".bin"),
        (b"\0\1unknown", "/a", "audio/mp3", ".mp3"),
    ],
)
async def test_download_suffix_follows_the_content(
    tmp_path: Path, body: bytes, url: str, content_type: str, suffix: str
) -> None:
    """Content, media type and URL decide in this order; a server cannot give a file the suffix of an executable."""
    async with peer(http_response(body, content_type=content_type)) as server, client_at(server.url) as client:
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


@pytest.mark.parametrize(
    "body",
    [b"", b"please wait", b"<html></html>", b'{"error": "no"}', gzip.compress(b"<html></html>")],
    ids=["empty", "text", "html", "json", "compressed"],
)
@pytest.mark.parametrize("content_type", ["image/png", "text/plain", "application/octet-stream", "text/html"])
async def test_download_page_is_retried_then_refused(tmp_path: Path, body: bytes, content_type: str) -> None:
    """A page is not saved as a picture, whatever type it claims: a repeat may bring the file, else DownloadError."""
    page = http_response(body, content_type=content_type)
    async with peer(page, png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    async with peer(page) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match=r"(a page|empty|compressed).*the last"):
            await client.download(Asset(server.url), tmp_path, name="y")
        with pytest.raises(DownloadError, match="the last"):
            await client.fetch(Asset(server.url))
    assert files_in(tmp_path) == ["x.png"]


async def test_download_interrupted_without_validator_begins_again(tmp_path: Path) -> None:
    """Without an ETag and a date nothing shows that the rest belongs to the same file, so no range is requested."""
    async with peer(first_bytes(5000, ""), png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert b"range:" not in server.requests[1].lower()
    assert files_in(tmp_path) == ["x.png"]


async def test_download_part_shorter_than_its_position_is_thrown_away(tmp_path: Path) -> None:
    """What came may lack bytes anywhere, so that no later range may continue it."""
    chunk = PNG[5003:]
    head = f"206 Partial Content\r\netag: v1\r\ncontent-range: bytes 5000-{len(PNG) - 1}/{len(PNG)}"
    lie = f"HTTP/1.1 {head}\r\ntransfer-encoding: chunked\r\n\r\n{len(chunk):x}\r\n".encode() + chunk + b"\r\n0\r\n\r\n"
    seen: list[bytes] = []

    def respond(request: bytes) -> bytes:
        seen.append(request)
        return first_bytes(5000) if len(seen) == 1 else lie if len(seen) == 2 else ranged(request)

    async with responding(respond) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert b"range:" not in seen[2].lower()


async def test_download_partial_file_survives_a_busy_server(tmp_path: Path) -> None:
    """An error says nothing about the bytes that are there: they are kept, and continued later."""
    busy = http_response("", "503 Service Unavailable")
    async with peer(first_bytes(5000), busy, rest_from(5000)) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert b"range: bytes=5000-" in server.requests[2].lower()


async def test_download_twice_of_one_output_is_one_file(tmp_path: Path) -> None:
    """A repeat finds the file of the same content; another output of that name gets a number."""
    other = PNG + b"other"
    async with peer(png(), png(), png(other)) as server, client_at(server.url) as client:
        names = [(await client.download(Asset(server.url), tmp_path, name="x"))[0].name for _ in range(3)]
    assert names == ["x.png", "x.png", "x-2.png"]
    assert [(tmp_path / name).read_bytes() for name in ("x.png", "x-2.png")] == [PNG, other]


async def test_download_users_own_file_is_not_replaced(tmp_path: Path) -> None:
    """A file that was there before, and a link, stay as they are."""
    (tmp_path / "x.png").write_bytes(b"the user's own")
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "x-2.png").symlink_to(tmp_path / "victim")
    async with peer(png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(server.url), tmp_path, name="x")
    assert path.name == "x-3.png"
    assert (tmp_path / "x.png").read_bytes() == b"the user's own"
    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
async def test_download_partial_file_of_another_kind_is_replaced(tmp_path: Path, kind: str) -> None:
    """A link, a pipe or a second name in place of the partial file neither leads bytes elsewhere nor hangs."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    cut = True

    def respond(request: bytes) -> bytes:
        return first_bytes(100) if cut else ranged(request)

    async with responding(respond) as server:
        asset = Asset(server.url + "/a")
        async with client_at(server.url) as client:
            with pytest.raises(DownloadError):
                await client.download(asset, tmp_path, name="x")
            cut = False
            (part,) = tmp_path.glob(".*.part")  # noqa: ASYNC240 - one directory
            part.unlink()
            if kind == "link":
                part.symlink_to(victim)
            elif kind == "pipe":
                os.mkfifo(part)
            else:
                os.link(victim, part)
            (path,) = await client.download(asset, tmp_path, name="x")
    assert path.read_bytes() == PNG
    assert victim.read_bytes() == b"precious"
    assert files_in(tmp_path) == ["victim", "x.png"]


@pytest.mark.parametrize("name", ["CON", "nul", "aux.png", "com1.tar.gz", "LPT\u00b9", "con__________________"])
def test_clean_name_reserved_name_gets_a_suffix(name: str) -> None:
    """Windows has devices of these names, with any suffix."""
    cleaned = clean_name(name, 12)
    assert cleaned.partition(".")[0].lower() not in {"con", "nul", "aux", "com1", "lpt\u00b9"}
    assert clean_name(cleaned, 12) == cleaned
    assert clean_name("console") == "console"


async def test_download_svg_is_saved_as_text_unless_requested(tmp_path: Path) -> None:
    """A browser that opens an SVG file runs its scripts, so the caller has to want one."""
    async with peer(http_response(SVG, content_type="image/svg+xml")) as server, client_at(server.url) as client:
        asset = Asset(server.url + "/a.svg")
        (path,) = await client.download(asset, tmp_path, name="x")
        (wanted,) = await client.download(asset, tmp_path, name="x", svg=True)
        assert await client.fetch(asset) == SVG
    assert (path.name, wanted.name) == ("x.txt", "x.svg")
    assert path.read_bytes() == wanted.read_bytes() == SVG


def data_url(content: bytes, media_type: str = "image/png") -> str:
    """Return a `data:` URL in base64."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    "url",
    [
        data_url(PNG),
        data_url(PNG, "image/jpeg;charset=x"),
        "DATA:;BASE64," + base64.urlsafe_b64encode(PNG).decode().rstrip("="),
        "data:image/png;base64," + quote(base64.encodebytes(PNG)),
        "data:image/png;base64," + base64.encodebytes(PNG).decode(),
        "data:image/png," + quote(PNG),
    ],
    ids=["base64", "another type", "other alphabet", "escaped lines", "lines", "percent"],
)
async def test_download_data_url_is_decoded(tmp_path: Path, url: str) -> None:
    """An output within the response is saved and returned like any other, and no request is sent."""
    async with peer(png()) as server, client_at(server.url) as client:
        (path,) = await client.download(Asset(url, task_id="task_1"), tmp_path)
        assert await client.fetch(Asset(url)) == PNG
        (unnamed,) = await client.download(Asset(url), tmp_path / "new")
    assert (path.name, path.read_bytes(), unnamed.name) == ("task_1.png", PNG, "file.png")
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64",
        "data:image/png;base64,???",
        "data:,",
        data_url(b"<html>"),
        "data:image/png;base64," + "A" * 12_000_001,
    ],
    ids=["no comma", "no base64", "empty", "page", "large"],
)
async def test_download_unusable_data_url_has_a_short_error(tmp_path: Path, url: str) -> None:
    """An output of 12 MB that cannot be used does not make a message of 12 MB."""
    async with client_at("http://127.0.0.1:9") as client:
        for attempt in (client.download(Asset(url), tmp_path), client.fetch(Asset(url))):
            with pytest.raises(DownloadError) as caught:
                await attempt
            assert len(str(caught.value)) < 600
    assert files_in(tmp_path) == []


class Renewing:
    """A provider whose files have signed URLs: a status check renews the signature, which may come to late."""

    def __init__(self, refusal: str, *, renews: bool = True, path: str = "/files/a.png") -> None:
        self.refusal = refusal
        self.renews = renews
        self.path = path
        self.checks = 0
        self.url = ""

    def respond(self, request: bytes) -> bytes:
        """Return the status of the task, the file for the newest signature, or the refusal."""
        target = request.split(b" ", 2)[1].decode()
        if target.endswith("/status"):
            self.checks += 1
            signature = f"v{self.checks + 1}" if self.renews else "v1"
            task = {"task_id": "task_1", "task_status": "SUCCESS", "images": [f"{self.url}{self.path}?sig={signature}"]}
            return http_response({"status": 0, "message": "success", "data": task})
        return png() if target.endswith("sig=v2") else http_response("", self.refusal)


@pytest.mark.parametrize("refusal", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"])
@pytest.mark.parametrize("path", ["/files/a.png", "/elsewhere/b.png"])
async def test_download_expired_url_is_renewed_by_one_status_check(tmp_path: Path, refusal: str, path: str) -> None:
    """The fresh URL of the same output is used, with the same name or alone of its kind; results and assets alike."""
    for number, fetched in enumerate(("result", "asset", "bytes")):
        provider = Renewing(refusal, path=path)
        async with responding(provider.respond) as server, client_at(server.url) as client:
            provider.url = server.url
            asset = Asset(f"{server.url}/files/a.png?sig=v1", task_id="task_1")
            match fetched:
                case "result":
                    result = ImageResult(task_ids=("task_1",), assets=(asset,))
                    await client.download(result, tmp_path, name=str(number))
                case "asset":
                    await client.download(asset, tmp_path, name=str(number))
                case _:
                    assert await client.fetch(asset) == PNG
        assert provider.checks == 1
    assert files_in(tmp_path) == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("refusal", "renews", "requests"), [("410 Gone", False, 1), ("403 Forbidden", False, 4), ("410 Gone", True, 1)]
)
async def test_download_url_that_cannot_be_renewed_is_an_error(
    tmp_path: Path, refusal: str, renews: bool, requests: int
) -> None:
    """An output without a task is not looked up, and one whose URL is as before has the error of its response."""
    provider = Renewing(refusal, renews=renews)
    async with responding(provider.respond) as server, client_at(server.url) as client:
        provider.url = server.url
        asset = Asset(f"{server.url}/files/a.png?sig=v1", task_id=None if renews else "task_1")
        with pytest.raises(DownloadError, match=refusal[:3]) as caught:
            await client.download(asset, tmp_path, name="x")
    assert caught.value.url == asset.url
    assert provider.checks == (not renews)
    assert len(server.requests) == requests + provider.checks


async def test_download_failed_status_check_keeps_the_first_error(tmp_path: Path) -> None:
    """If the task is no longer known, the error is that of the download."""
    unknown = http_response({"status": 1003, "message": "task not exist"})
    async with peer(http_response("", "410 Gone"), unknown) as server, client_at(server.url) as client:
        with pytest.raises(DownloadError, match="HTTP 410"):
            await client.download(Asset(server.url + "/x", task_id="task_1"), tmp_path)


async def test_download_ids_that_clean_to_one_name_are_two_files(tmp_path: Path) -> None:
    """The second of two tasks gets a number, although each is downloaded by itself."""
    other = PNG + b"other"
    async with peer(png(), png(other)) as server, client_at(server.url) as client:
        for task_id in ("a/b", "a:b"):
            await client.download(Asset(server.url, task_id=task_id), tmp_path)
    assert files_in(tmp_path) == ["a-b-2.png", "a-b.png"]


@pytest.mark.parametrize(
    ("status", "position", "body"),
    [
        ("206 Partial Content", "bytes 3-{last}/{size}", PNG[3:]),
        ("200 OK", "bytes 3-{last}/{size}", PNG[3:]),
        ("206 Partial Content", "bytes 0-99/{size}", PNG[:100]),
        ("206 Partial Content", "", PNG),
    ],
    ids=["rest", "rest as 200", "beginning", "no position"],
)
async def test_fetch_part_of_a_file_is_an_error(status: str, position: str, body: bytes) -> None:
    """A part that was not requested is not the file."""
    headers = {"content_range": position.format(last=len(PNG) - 1, size=len(PNG))} if position else {}
    async with peer(http_response(body, status, content_type="image/png", **headers)) as server:
        async with client_at(server.url) as client:
            with pytest.raises(DownloadError, match=r"part of the file|bytes arrived"):
                await client.fetch(Asset(server.url))
