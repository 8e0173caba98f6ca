"""What a file is: its content decides, then its media type, then the suffix in its URL."""

from __future__ import annotations

import io
import struct
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._core.file_types import (
    SVG_SUFFIX,
    NoMedia,
    suffix_of_output,
    suffixes_of,
    type_of_suffix,
    types_in,
)


def box(major: bytes, *compatible: bytes) -> bytes:
    """Return the first box of an MP4 file or a relative of it, with some bytes behind it."""
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"\0\0\0\x08mdat"


def tagged(content: bytes, size: int = 300_000, flags: int = 0) -> bytes:
    """Return a sound behind an ID3 tag, such as one with a cover."""
    digits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0" + bytes([flags]) + digits + bytes(size) + bytes(10 * bool(flags)) + content


CONTENTS: Final = {
    ".jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    ".png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ".webp": b"RIFF\x20\0\0\0WEBPVP8 ",
    ".gif": b"GIF89a\x01\0\x01\0",
    ".bmp": b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0",
    ".tiff": b"II*\0\x08\0\0\0",
    ".jxl": b"\xff\x0a\x01\0",
    ".heic": box(b"heic", b"mif1", b"heic"),
    ".avif": box(b"avif", b"avif", b"mif1"),
    ".mp4": box(b"isom", b"isom", b"avc1"),
    ".mov": box(b"qt  "),
    ".m4a": box(b"M4A ", b"mp42"),
    ".3gp": box(b"3gp5", b"isom"),
    ".webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm",
    ".mkv": b"\x1aE\xdf\xa3\xa3B\x86\x81\x01B\x82\x88matroska",
    ".avi": b"RIFF\x20\0\0\0AVI LIST",
    ".wav": b"RIFF\x20\0\0\0WAVEfmt ",
    ".mp3": b"\xff\xfb\x90\x44\0\0",
    ".aac": b"\xff\xf1\x50\x80\0\0",
    ".ogg": b"OggS\0\x02\0\0",
    ".flac": b"fLaC\0\0\0\x22",
    ".aiff": b"FORM\0\0\0\x2eAIFFCOMM",
}
"""The beginning of a file of each type, by its usual suffix."""

MORE: Final = {
    "HEIC of a still": (box(b"mif1", b"mif1", b"heic"), ".heic"),
    "AVIF of a still": (box(b"mif1", b"mif1", b"avif", b"miaf"), ".avif"),
    "AVIF sequence": (box(b"avis", b"msf1"), ".avif"),
    "HEIF sequence": (box(b"msf1", b"hevc"), ".heic"),
    "MP4 of Apple": (box(b"M4V ", b"isom"), ".mp4"),
    "3GPP2": (box(b"3g2a"), ".3gp"),
    "audiobook": (box(b"M4B "), ".m4a"),
    "old QuickTime": (b"\0\0\0\x08wide\0\0\x10\0mdat", ".mov"),
    "MP3 with tag": (tagged(b"\xff\xfb\x90\x44"), ".mp3"),
    "FLAC with tag": (tagged(b"fLaC\0\0\0\x22"), ".flac"),
    "FLAC with tag and footer": (tagged(b"fLaC\0\0\0\x22", flags=0x10), ".flac"),
    "FLAC with two tags": (tagged(tagged(b"fLaC\0\0\0\x22", 300)), ".flac"),
    "AAC with tag": (tagged(b"\xff\xf1\x50\x80\0\0"), ".aac"),
    "WAV with tag": (tagged(b"RIFF\x20\0\0\0WAVEfmt "), ".wav"),
    "picture behind a tag": (tagged(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), ".mp3"),
    "tags without end": (tagged(b"", 0) * 100, ".mp3"),
    "HEIF of AVC": (box(b"avci", b"mif1"), ".heic"),
    "HEIF of VVC": (box(b"vvic", b"mif1"), ".heic"),
    "HEIF of JPEG": (box(b"jpeg", b"mif1"), ".heic"),
    "raw photo of Canon": (box(b"crx ", b"isom"), ".cr3"),
    "tag alone": (b"ID3\x04more", ".mp3"),
    "TIFF of a Mac": (b"MM\0*\0\0\0\x08", ".tiff"),
    "large WAV": (b"RF64\xff\xff\xff\xffWAVEds64", ".wav"),
}


@pytest.mark.parametrize("suffix", CONTENTS)
def test_types_in_content_is_recognized(suffix: str) -> None:
    """The first of the types is the one of the content, and its usual suffix leads back to it."""
    (found, *_) = types_in(io.BytesIO(CONTENTS[suffix]))
    assert found.suffix == suffix
    assert type_of_suffix(suffix.upper()) == found
    assert suffix in suffixes_of(found.kind)


@pytest.mark.parametrize("name", MORE)
def test_types_in_variant_is_judged_by_brand(name: str) -> None:
    """Brands, document types and what follows a tag decide between types that begin alike."""
    content, suffix = MORE[name]
    assert types_in(io.BytesIO(content))[0].suffix == suffix


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GIF89a",
        b"ID3 tags explained",
        b"The wide world, and a long text",
        b"OggS and fLaC",
        b"BM",
        b"\x89PNG",
        b"%PDF-1.7",
    ],
)
def test_types_in_text_or_unknown_content_has_no_type(content: bytes) -> None:
    """A text that begins like a signature of letters is a text."""
    assert types_in(io.BytesIO(content)) == ()


@pytest.mark.parametrize("suffix", CONTENTS)
@pytest.mark.parametrize("media_type", ["image/png", "audio/mpeg", "application/octet-stream", "text/html", ""])
@pytest.mark.parametrize("path", ["/a.png", "/a.exe", "/a"])
def test_suffix_of_output_content_decides_first(suffix: str, media_type: str, path: str) -> None:
    """A server cannot give a file another suffix than that of its content."""
    assert suffix_of_output(io.BytesIO(CONTENTS[suffix]), media_type, path) == suffix


@pytest.mark.parametrize(
    ("media_type", "path", "suffix"),
    [
        ("video/quicktime", "/a", ".mov"),
        ("audio/mp4", "/a.mp4", ".m4a"),
        ("audio/x-m4a", "/a", ".m4a"),
        ("application/octet-stream", "/a.mov", ".mov"),
        ("image/png", "/a.m4a", ".m4a"),
        ("", "/a", ".mp4"),
    ],
)
def test_suffix_of_output_shared_signature_is_decided_by_type_then_url(media_type: str, path: str, suffix: str) -> None:
    """MP4 is a film or a sound: what the server says, or the URL, chooses between them."""
    assert suffix_of_output(io.BytesIO(CONTENTS[".mp4"]), media_type, path) == suffix


@pytest.mark.parametrize(
    ("media_type", "path", "suffix"),
    [
        ("image/jpg", "/a", ".jpg"),
        ("image/pjpeg", "/a.png", ".jpg"),
        ("audio/mp3", "/a", ".mp3"),
        ("audio/x-wav", "/a", ".wav"),
        ("image/heic", "/a", ".heic"),
        ("image/avif", "/a", ".avif"),
        ("binary/octet-stream", "/x.jpeg", ".jpg"),
        ("", "/X.PNG", ".png"),
        ("application/x-sh", "/a.sh", ".bin"),
        ("application/octet-stream", "/a.svg", ".bin"),
    ],
)
def test_suffix_of_output_unknown_content_has_that_of_type_then_url(media_type: str, path: str, suffix: str) -> None:
    """Known aliases of media types count, and no suffix of a program or a script is taken from a URL."""
    assert suffix_of_output(io.BytesIO(b"\x01\x02unknown\0"), media_type, path) == suffix


PAGES: Final = (
    b"",
    b" ",
    b"not found",
    b"<!DOCTYPE html><html></html>",
    b"\xef\xbb\xbf  <HTML>",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    b"<!-- a page --><html><body><svg></svg>",
    b'{"error": "expired"}',
    b"[]",
    b'  [{"a": "\x00"}]',
    b"<html>\0\x01</html>",
    "<html>gr\xfc\xdf</html>".encode("latin-1"),
    "<html>".encode("utf-16"),
    "<html>".encode("utf-16-le"),
    "<html>".encode("utf-16-be"),
    "ключ истёк".encode(),
    b"\x1f\x8b\x08\0\0\0\0\0",
    b"\x28\xb5\x2f\xfd\x04\0",
    b"\xfd7zXZ\0\0",
)


@pytest.mark.parametrize("content", PAGES, ids=lambda content: repr(content[:12]))
@pytest.mark.parametrize("media_type", ["image/png", "text/plain", "application/octet-stream", "image/svg+xml", ""])
def test_suffix_of_output_page_is_no_media(content: bytes, media_type: str) -> None:
    """Nothing empty, no text and nothing compressed counts as a picture, film or sound, whatever it is called."""
    with pytest.raises(NoMedia):
        suffix_of_output(io.BytesIO(content), media_type, "/a.png")


@pytest.mark.parametrize(
    "media_type",
    [
        *("text/html", "application/json", "application/problem+json", "text/xml"),
        *("multipart/byteranges", "message/http"),
    ],
)
def test_suffix_of_output_unknown_content_of_a_page_type_is_no_media(media_type: str) -> None:
    """A content that nothing recognizes is what the server calls it: a page."""
    with pytest.raises(NoMedia, match="a page"):
        suffix_of_output(io.BytesIO(b"\x01\x02unknown\0"), media_type, "/a.png")


@pytest.mark.parametrize(
    "content",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg><script>alert(1)</script></svg>",
        b"\xef\xbb\xbf<!DOCTYPE svg><SVG >",
    ],
)
@pytest.mark.parametrize("media_type", ["image/svg+xml", "image/png", "text/plain", ""])
def test_suffix_of_output_svg_is_recognized(content: bytes, media_type: str) -> None:
    """An SVG picture is found by its content, because it may hold scripts."""
    assert suffix_of_output(io.BytesIO(content), media_type, "/a") == SVG_SUFFIX


@given(
    content=st.binary(max_size=40) | st.sampled_from([*CONTENTS.values(), *PAGES]),
    media_type=st.text(max_size=20) | st.sampled_from(["image/png", "text/html"]),
    path=st.text(max_size=20),
)
def test_suffix_of_output_any_content_has_a_known_suffix_or_none(content: bytes, media_type: str, path: str) -> None:
    """For any input, the suffix is one of a media file, or NoMedia says what is there; its message is short."""
    try:
        suffix = suffix_of_output(io.BytesIO(content), media_type, path)
    except NoMedia as fault:
        suffix, message = "", str(fault)
    else:
        message = ""
    assert len(message) < 200
    assert message or type_of_suffix(suffix) is not None or suffix in {".bin", SVG_SUFFIX}
