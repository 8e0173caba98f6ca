"""Images and uploads: their content, and how they are served."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.sandbox._http.files import file_response
from aiowery.sandbox._media.draw import draw
from aiowery.sandbox._media.shape import pixels
from aiowery.sandbox._media.uploads import Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = bytes(range(100))


@pytest.fixture
def url(submit: Callable[..., httpx.Response], finished: Callable[[str], dict[str, Any]]) -> str:
    """Return the URL of a finished image."""
    picture: str = finished(submit().json()["data"]["task_ids"][0])["images"][0]
    return picture


def test_file_without_key_is_served_with_its_length(url: str) -> None:
    """A plain GET returns the whole file, with type, length and a strong ETag."""
    response = httpx.get(url)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["etag"].startswith('"')
    assert response.headers["accept-ranges"] == "bytes"


def test_file_range_with_if_range_resumes(url: str) -> None:
    """The rest is sent with 206 if the file is the same, and all of it with 200 if it is not."""
    whole = httpx.get(url)
    same = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    other = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (same.status_code, same.content) == (206, whole.content[100:])
    assert same.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert (other.status_code, other.content) == (200, whole.content)


@pytest.mark.parametrize(
    ("value", "http", "content"),
    [
        ("bytes=0-0", 206, CONTENT[:1]),
        ("bytes=90-", 206, CONTENT[90:]),
        ("bytes=90-500", 206, CONTENT[90:]),
        ("bytes=-5", 206, CONTENT[-5:]),
        ("bytes=-500", 206, CONTENT),
        ("bytes=100-", 416, b""),
        ("bytes=5-4", 416, b""),
        ("bytes=-", 200, CONTENT),
        ("lines=1-2", 200, CONTENT),
    ],
)
def test_file_response_serves_single_ranges(value: str, http: int, content: bytes) -> None:
    """Every form of a single range returns its bytes. An unsupported one returns the whole file."""
    response = file_response(CONTENT, "image/png", {"range": value})
    assert (response.http, response.body) == (http, content)


def test_file_with_known_etag_is_not_sent(url: str) -> None:
    """If-None-Match with the ETag returns 304 without a body."""
    etag = httpx.get(url).headers["etag"]
    response = httpx.get(url, headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")


def test_file_of_an_unfinished_task_is_not_found(sandbox: Sandbox, submit: Callable[..., httpx.Response]) -> None:
    """HTTP 404 before the task has succeeded."""
    task_id = submit(prompt="[[stuck]]").json()["data"]["task_ids"][0]
    assert httpx.get(f"{sandbox.url}/files/{task_id}.png").status_code == 404


@given(prompt=st.text(min_size=1, max_size=300), index=st.integers(0, 50), ratio=st.sampled_from(["8:1", "1:8", "3:4"]))
def test_draw_any_prompt_is_repeatable(prompt: str, index: int, ratio: str) -> None:
    """For any text, equal arguments give the same PNG of the requested size."""
    size = pixels(ratio, 64)
    content = draw(prompt, index, *size)
    assert content == draw(prompt, index, *size)
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.size == size


@pytest.mark.parametrize(
    "prompt",
    [
        "stars and moon over mountains",
        "sunset over a city by the sea",
        "a forest on a hill, cloudy",
        "flowers",
        "balloons",
        "a poster",
        "a crystal",
        "abstract",
    ],
)
def test_draw_every_motif_has_many_colours(prompt: str) -> None:
    """All motifs give images of many colours, and another index gives another image."""
    first, second = (draw(prompt, index, 96, 64) for index in (0, 1))
    assert first != second
    with Image.open(io.BytesIO(first)) as picture:
        colours = picture.convert("RGB").getcolors(96 * 64)
    assert colours is not None
    assert len(colours) > 30


@pytest.mark.parametrize(
    ("ratio", "size"), [("1:1", (512, 512)), ("9:16(4k)", (288, 512)), ("2k", (512, 512)), ("9999:1", (512, 16))]
)
def test_pixels_follow_the_ratio(ratio: str, size: tuple[int, int]) -> None:
    """The longer side is as requested, the shorter one follows the ratio, with a minimum."""
    assert pixels(ratio, 512) == size


def test_truncated_file_ends_early(sandbox: Sandbox, url: str) -> None:
    """Content-Length announces all of it, the connection breaks after a part."""
    sandbox.inject(Fault(faults.TruncatedFile(0.5), on="file", times=1))
    received = bytearray()
    with httpx.stream("GET", url) as response, pytest.raises(httpx.TransportError):
        for chunk in response.iter_bytes():
            received += chunk
    whole = httpx.get(url).content
    assert 0 < len(received) < len(whole)
    assert whole.startswith(received)


def test_fault_on_files_changes_their_response(sandbox: Sandbox, url: str) -> None:
    """A file has the wrong type, is missing, forbidden, or redirected."""
    sandbox.inject(Fault(faults.ContentType("text/html"), on="file", times=1))
    sandbox.inject(Fault(faults.NOT_FOUND, on="file", nth=2), Fault(faults.FORBIDDEN, on="file", nth=3))
    sandbox.inject(Fault(faults.Redirect("http://elsewhere.invalid/x"), on="file", nth=4))
    responses = [httpx.get(url) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 404, 403, 302, 200]
    assert responses[0].headers["content-type"] == "text/html"
    assert responses[3].headers["location"] == "http://elsewhere.invalid/x"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def upload(http: httpx.Client, name: str, content: bytes = PNG) -> dict[str, Any]:
    """Upload a file and return the envelope."""
    response: dict[str, Any] = http.post("/v1/generation/upload-file", files={"file": (name, content)}).json()
    return response


@pytest.mark.parametrize("name", ["..", ".", "a/../..png", "x" * 3000 + ".png", r"..\..\a.png", ".hidden", "湖.png"])
def test_upload_with_any_name_is_served(http: httpx.Client, name: str) -> None:
    """Its URL is short, and no client changes it."""
    (url,) = upload(http, name)["data"]["object_url_list"]
    assert httpx.get(url).content == PNG
    assert len(url) < 200


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.m4a", b"ftypisom"), ("a.m4a", b"ftypM4A "), ("a.mp4", b"ftypM4A "), ("a.mov", b"ftypqt  ")],
)
def test_upload_mp4_container_allows_several_extensions(http: httpx.Client, name: str, content: bytes) -> None:
    """Sound and video share a container, whose signature does not determine the extension."""
    assert upload(http, name, b"\0\0\0\x18" + content + bytes(16))["status"] == 0


def tagged(content: bytes, tag: bytes, *, footer: bool = False) -> bytes:
    """Return a sound behind an ID3 tag, which may hold anything."""
    length = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = b"ID3\x04\x00" + bytes([0x10 if footer else 0]) + length
    return head + tag + (b"3DI" + head[3:] if footer else b"") + content


MP3, FLAC = b"\xff\xfb\x90\x00" + bytes(400), b"fLaC\x00\x00\x00\x22" + bytes(400)


@pytest.mark.parametrize("footer", [False, True])
@pytest.mark.parametrize("tag", [b"", b"TIT2", b"APIC" + PNG * 9, b"fLaC" * 50, b"\xff\xfb" * 200])
def test_upload_with_an_id3_tag_is_what_follows_the_tag(http: httpx.Client, tag: bytes, footer: bool) -> None:
    """MP3 begins with a tag, as a rule; FLAC may, and is no MP3 for that."""
    for name, other, content, media_type in (
        ("a.mp3", "a.flac", MP3, "audio/mpeg"),
        ("a.flac", "a.mp3", FLAC, "audio/flac"),
    ):
        sound = tagged(content, tag, footer=footer)
        (url,) = upload(http, name, sound)["data"]["object_url_list"]
        assert httpx.get(url).headers["content-type"] == media_type
        assert "does not match extension" in upload(http, other, sound)["message"]


@pytest.mark.parametrize(
    "content", [b"ID3", b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f", b"ID3\x04\x00\x10\x00\x00\x00\x00fLaC"]
)
def test_upload_with_a_cut_id3_tag_is_mp3(http: httpx.Client, content: bytes) -> None:
    """What a tag hides that does not end is not known: it is taken for the usual."""
    assert upload(http, "a.mp3", content)["status"] == 0


def test_uploads_beyond_the_limit_drop_the_oldest() -> None:
    """At most 256 MB are kept, the oldest files are dropped."""
    uploads, film = Uploads(), Upload("a.mp4", bytes(50 * 1024**2), "video/mp4")
    ids = [uploads.keep(film).split("/")[1] for _ in range(6)]
    assert [uploads.find(id_) is film for id_ in ids] == [False, True, True, True, True, True]


def test_file_response_with_huge_range_is_complete() -> None:
    """Thousands of digits are no valid range, so the whole file is sent."""
    response = file_response(CONTENT, "image/png", {"range": f"bytes={'9' * 5000}-"})
    assert (response.http, response.body) == (200, CONTENT)


def test_speaker_demo_is_a_wav_only(shared_sandbox: Sandbox) -> None:
    """The demo URL of a speaker returns a sound. There is no image."""
    assert httpx.get(f"{shared_sandbox.url}/files/spk-en-07.wav").content.startswith(b"RIFF")
    assert httpx.get(f"{shared_sandbox.url}/files/spk-en-07.png").status_code == 404
