"""Pictures: what they show of the prompt, and how they are served."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.sandbox._http.files import serve
from aiowery.sandbox._media.draw import draw
from aiowery.sandbox._media.shape import pixels
from aiowery.sandbox._media.uploads import Upload, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = bytes(range(100))


@pytest.fixture
def url(submit: Callable[..., httpx.Response], finished: Callable[[str], dict[str, Any]]) -> str:
    """Give the url of a finished picture."""
    picture: str = finished(submit().json()["data"]["task_ids"][0])["images"][0]
    return picture


def test_a_picture_needs_no_key_and_tells_its_length(url: str) -> None:
    """A plain GET gives the whole file, with type, length and a strong ETag."""
    answer = httpx.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["accept-ranges"] == "bytes"


def test_a_download_is_resumed_with_if_range(url: str) -> None:
    """The rest comes with 206 while the file is the same, and everything with 200 when it is not."""
    whole = httpx.get(url)
    same = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    other = httpx.get(url, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (same.status_code, same.content) == (206, whole.content[100:])
    assert same.headers["content-range"] == f"bytes 100-{len(whole.content) - 1}/{len(whole.content)}"
    assert (other.status_code, other.content) == (200, whole.content)


@pytest.mark.parametrize(
    ("asked", "http", "content"),
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
def test_ranges(asked: str, http: int, content: bytes) -> None:
    """Every form of a single range gives its bytes; what is not understood gives the whole."""
    answer = serve(CONTENT, "image/png", {"range": asked})
    assert (answer.http, answer.body) == (http, content)


def test_a_known_file_is_not_sent_again(url: str) -> None:
    """If-None-Match with the ETag answers 304 without a body."""
    etag = httpx.get(url).headers["etag"]
    answer = httpx.get(url, headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_an_unfinished_picture_does_not_exist(sandbox: Sandbox, submit: Callable[..., httpx.Response]) -> None:
    """HTTP 404 before the task has succeeded."""
    task_id = submit(prompt="[[stuck]]").json()["data"]["task_ids"][0]
    assert httpx.get(f"{sandbox.url}/files/{task_id}.png").status_code == 404


@given(prompt=st.text(min_size=1, max_size=300), index=st.integers(0, 50), ratio=st.sampled_from(["8:1", "1:8", "3:4"]))
def test_any_prompt_becomes_a_picture(prompt: str, index: int, ratio: str) -> None:
    """Whatever the words, the same arguments give the same PNG, of the asked size."""
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
def test_every_motif_draws(prompt: str) -> None:
    """All motifs make pictures of many colours, and another index makes another picture."""
    first, second = (draw(prompt, index, 96, 64) for index in (0, 1))
    assert first != second
    with Image.open(io.BytesIO(first)) as picture:
        colours = picture.convert("RGB").getcolors(96 * 64)
    assert colours is not None
    assert len(colours) > 30


@pytest.mark.parametrize(
    ("ratio", "size"), [("1:1", (512, 512)), ("9:16(4k)", (288, 512)), ("2k", (512, 512)), ("9999:1", (512, 16))]
)
def test_shapes(ratio: str, size: tuple[int, int]) -> None:
    """The longer side is as asked, the shorter follows the ratio but never vanishes."""
    assert pixels(ratio, 512) == size


def test_a_cut_file_breaks_half_way(sandbox: Sandbox, url: str) -> None:
    """The length promises all, the connection breaks after some."""
    sandbox.inject(Fault(faults.TruncatedFile(0.5), on="file", times=1))
    received = bytearray()
    with httpx.stream("GET", url) as answer, pytest.raises(httpx.TransportError):
        for chunk in answer.iter_bytes():
            received += chunk
    whole = httpx.get(url).content
    assert 0 < len(received) < len(whole)
    assert whole.startswith(received)


def test_file_faults(sandbox: Sandbox, url: str) -> None:
    """A file may be of the wrong type, missing, forbidden, or elsewhere."""
    sandbox.inject(Fault(faults.ContentType("text/html"), on="file", times=1))
    sandbox.inject(Fault(faults.NOT_FOUND, on="file", nth=2), Fault(faults.FORBIDDEN, on="file", nth=3))
    sandbox.inject(Fault(faults.Redirect("http://elsewhere.invalid/x"), on="file", nth=4))
    answers = [httpx.get(url) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 404, 403, 302, 200]
    assert answers[0].headers["content-type"] == "text/html"
    assert answers[3].headers["location"] == "http://elsewhere.invalid/x"


PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def upload(http: httpx.Client, name: str, content: bytes = PNG) -> dict[str, Any]:
    """Upload a file and return the envelope."""
    answer: dict[str, Any] = http.post("/v1/generation/upload-file", files={"file": (name, content)}).json()
    return answer


@pytest.mark.parametrize("name", ["..", ".", "a/../..png", "x" * 3000 + ".png", r"..\..\a.png", ".hidden", "湖.png"])
def test_an_upload_of_any_name_is_served_again(http: httpx.Client, name: str) -> None:
    """Its address is one that no client bends, and short."""
    (url,) = upload(http, name)["data"]["object_url_list"]
    assert httpx.get(url).content == PNG
    assert len(url) < 200


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.m4a", b"ftypisom"), ("a.m4a", b"ftypM4A "), ("a.mp4", b"ftypM4A "), ("a.mov", b"ftypqt  ")],
)
def test_one_container_has_several_endings(http: httpx.Client, name: str, content: bytes) -> None:
    """Sound and film share a container, whose mark does not settle the ending."""
    assert upload(http, name, b"\0\0\0\x18" + content + bytes(16))["status"] == 0


def test_the_oldest_uploads_make_room() -> None:
    """No more than 256 MB are kept; what is dropped is what came first."""
    uploads, film = Uploads(), Upload("a.mp4", bytes(50 * 1024**2), "video/mp4")
    ids = [uploads.keep(film).split("/")[1] for _ in range(6)]
    assert [uploads.find(id_) is film for id_ in ids] == [False, True, True, True, True, True]


def test_a_range_beyond_all_numbers_is_none() -> None:
    """Thousands of digits are no range, so the whole file is the answer."""
    answer = serve(CONTENT, "image/png", {"range": f"bytes={'9' * 5000}-"})
    assert (answer.http, answer.body) == (200, CONTENT)


def test_speakers_are_heard_and_not_seen(calm: Sandbox) -> None:
    """The list of speakers leads to sounds; there is no picture of them."""
    assert httpx.get(f"{calm.url}/files/spk-en-07.wav").content.startswith(b"RIFF")
    assert httpx.get(f"{calm.url}/files/spk-en-07.png").status_code == 404
