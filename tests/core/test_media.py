"""Local files and URLs: the values that a media field takes, and the files that can be uploaded."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import File
from aiowery._base.snapshot import AssetKind
from aiowery._core import media as media_module
from aiowery._core.media import (
    UploadFile,
    clean_url,
    is_url,
    local_media,
    media_list,
    optional_media,
    read_file,
    to_media,
    validate_upload,
)
from aiowery.errors import ConfigurationError

MP4 = b"\0\0\0\x18ftypisom"
# Each row: content, its default suffix, its other suffixes, kind and media type.
SORTS: dict[str, tuple[bytes, str, tuple[str, ...], str, str]] = {
    "jpeg": (b"\xff\xd8\xff\xe0more", ".jpg", (".jpeg",), "image", "image/jpeg"),
    "png": (b"\x89PNG\r\n\x1a\nmore", ".png", (), "image", "image/png"),
    "webp": (b"RIFF\n\0\0\0WEBPVP8 ", ".webp", (), "image", "image/webp"),
    "wave": (b"RIFF\n\0\0\0WAVEfmt ", ".wav", (), "audio", "audio/wav"),
    "mp4": (MP4, ".mp4", (".mov", ".m4a"), "video", "video/mp4"),
    "quicktime": (b"\n\n\0\x14ftypqt  ", ".mov", (".mp4",), "video", "video/quicktime"),
    "m4a": (b"\0\0\0\x1cftypM4A ", ".m4a", (".mp4",), "audio", "audio/mp4"),
    "audiobook": (b"\0\0\0\x1cftypM4B ", ".m4a", (".mp4",), "audio", "audio/mp4"),
    "webm": (b"\x1aE\xdf\xa3more", ".webm", (), "video", "video/webm"),
    "mp3 with tags": (b"ID3\x04more", ".mp3", (), "audio", "audio/mpeg"),
    "mp3 bare": (b"\xff\xfb\x90more", ".mp3", (), "audio", "audio/mpeg"),
    "ogg": (b"OggS\0more", ".ogg", (), "audio", "audio/ogg"),
    "flac": (b"fLaC\0more", ".flac", (), "audio", "audio/flac"),
}
KIND_OF = {
    ".jpg": "image",
    ".jpeg": "image",
    ".png": "image",
    ".webp": "image",
    ".mp4": "video",
    ".mov": "video",
    ".webm": "video",
    ".mp3": "audio",
    ".wav": "audio",
    ".m4a": "audio",
    ".ogg": "audio",
    ".flac": "audio",
}
PICTURES = frozenset(suffix for suffix, kind in KIND_OF.items() if kind == "image")


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the general limit of a file to a few bytes."""
    monkeypatch.setattr(media_module, "MAX_FILE_BYTES", 40)


@pytest.mark.parametrize(
    "text", ["https://example.com/a.png", "http://example.com", "HTTPS://EXAMPLE.COM/A", "data:image/png;base64,AA"]
)
def test_to_media_text_with_url_scheme_is_a_url(text: str) -> None:
    """A text that a provider could fetch or read is passed on unchanged."""
    assert is_url(text)
    assert to_media(text) == text
    assert local_media(text) == text


@pytest.mark.parametrize(
    "text",
    ["a.png", "", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/a.png", "example.com/a.png", " https://x"],
)
def test_to_media_text_without_url_scheme_is_refused(text: str) -> None:
    """A text from elsewhere must not read a local file. The error shows how to pass a file on purpose."""
    assert not is_url(text)
    with pytest.raises(ConfigurationError) as caught:
        to_media(text)
    way_out = f"pass a local file as pathlib.Path({text!r}); nothing was sent"
    assert str(caught.value) == f"expected a URL, got {text!r}; {way_out}"
    assert local_media(text) == Path(text)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://x.example/a.png", "https://x.example/a.png"),
        (" \n\thttps://x.example/a.png\r\n", "https://x.example/a.png"),
        ("HTTP://X.example", "HTTP://X.example"),
        (" data:image/png;base64,AA==\n", "data:image/png;base64,AA=="),
        ("https://x.example/a b\r\nc\x1b\u202eé.png", "https://x.example/a b%0D%0Ac%1B%E2%80%AEé.png"),
        ("data:text/plain,a\nb\ud800", "data:text/plain,a%0Ab%3F"),
        *((word, None) for word in ("null", "", " ", "iVBORw0KGgo=", '["https://x.example/a"]', "data:", "https://")),
        *((url, None) for url in ("ftp://x.example/a", "file:///etc/passwd", "//x.example/a", "javascript:alert(1)")),
        *((odd, None) for odd in (None, 7, True, b"https://x.example", ("https://x.example",))),
        ([], None),
        ({"url": "https://x.example"}, None),
    ],
    ids=repr,
)
def test_clean_url_only_web_and_data_urls_are_outputs(value: Any, url: str | None) -> None:
    """Words, base64 alone, and a list that is written as text are no outputs. A URL is one printable line."""
    assert clean_url(value) == url


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_clean_url_of_any_value_is_a_url_or_none(value: Any) -> None:
    """Whatever a response holds, the result is a URL that can be fetched or decoded."""
    found = clean_url(value)
    assert found is None or (is_url(found) and found == found.strip() and found.isprintable())


def test_to_media_paths_and_bytes_are_accepted() -> None:
    """Paths, bytes, files in memory and other path-like objects are accepted, and no path is read yet."""

    class Somewhere(os.PathLike[str]):
        """A path of another library."""

        def __fspath__(self) -> str:
            return "not/there.png"

    here, file = Path("not/there.png"), File(b"abc", "a.png")
    assert to_media(here) is here
    assert to_media(file) is file
    assert to_media(b"abc") == to_media(bytearray(b"abc")) == to_media(memoryview(b"abc")) == File(b"abc")
    assert to_media(memoryview(b"axbxcx")[::2]) == File(b"abc")
    assert to_media(Somewhere()) == here
    assert optional_media(None) is None
    assert optional_media(b"abc") == File(b"abc")
    assert media_list(source for source in (here, b"abc")) == (here, File(b"abc"))


def test_to_media_open_file_is_read_from_its_position(tmp_path: Path) -> None:
    """The name is kept without the folder, and the caller's file stays open."""
    path = tmp_path / "a.png"
    path.write_bytes(b"0123456789")
    with path.open("rb") as open_file:
        open_file.seek(3)
        read = to_media(open_file)
        assert not open_file.closed
    assert isinstance(read, File)
    assert (read.content, read.name) == (b"3456789", "a.png")
    nameless = to_media(io.BytesIO(b"abc"))
    assert isinstance(nameless, File)
    assert (nameless.content, nameless.name) == (b"abc", "")


def test_to_media_file_at_its_end_is_read_from_its_beginning() -> None:
    """A buffer that was written just now is at its end: what was written is meant."""
    written = io.BytesIO()
    written.write(b"0123456789")
    assert to_media(written) == File(b"0123456789")
    assert to_media(io.BytesIO()) == File(b"")


@pytest.mark.parametrize("start", [0, 3, 10])
def test_to_media_file_used_twice_gives_the_same_content(start: int) -> None:
    """A file stays at its position, so that it can stand in two requests."""
    opened = io.BytesIO(b"0123456789")
    opened.seek(start)
    first, second = to_media(opened), to_media(opened)
    assert first == second == File(b"0123456789"[start:] or b"0123456789")
    assert opened.tell() == start


def test_to_media_pipe_used_twice_is_refused() -> None:
    """A pipe cannot be read again, which the error says."""
    source: Any = Trickle(b"0123456789")
    assert to_media(source) == File(b"0123456789")
    with pytest.raises(ConfigurationError, match=r"was read to its end before.* open it anew"):
        to_media(source)


def test_to_media_file_opened_by_descriptor_has_no_name(tmp_path: Path) -> None:
    """The name of such a file is a number, which is no file name."""
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as open_file:
        read = to_media(open_file)
    assert isinstance(read, File)
    assert read.name == ""


@pytest.mark.parametrize("source", [io.StringIO("text"), io.StringIO("")], ids=["text", "empty"])
def test_to_media_text_mode_file_is_refused(source: Any) -> None:
    """Text is not bytes. The error names the mode to open the file with."""
    with pytest.raises(ConfigurationError, match=r"in binary mode, got .*; open it with mode 'rb'"):
        to_media(source)


class Trickle(io.RawIOBase):
    """A pipe that returns at most three bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read at most three bytes."""
        part = self._content.read(min(3, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def test_to_media_pipe_is_read_to_its_end() -> None:
    """One read may return only a part, so it is repeated until the end."""
    source: Any = Trickle(b"0123456789")
    assert to_media(source) == File(b"0123456789")


def closed_file() -> Any:
    """Return a closed file."""
    file = io.BytesIO(b"abc")
    file.close()
    return file


class Unreadable:
    """An object whose `read` and `repr` raise errors."""

    def read(self, _: int) -> bytes:
        """Refuse."""
        raise EOFError("no more")

    def __repr__(self) -> str:
        raise LookupError


def write_only() -> Any:
    """Return a file that can only be written."""
    return io.BufferedWriter(io.BytesIO())


@pytest.mark.parametrize("make", [closed_file, write_only, Unreadable])
def test_to_media_unreadable_file_is_refused(make: Any) -> None:
    """Any error of `read` becomes ConfigurationError."""
    with pytest.raises(ConfigurationError, match=r"cannot read .*open for reading"):
        to_media(make())


class Asynchronous:
    """A file of an asynchronous library."""

    async def read(self, _: int) -> bytes:
        """Return no bytes."""
        return b""


def test_to_media_path_of_bytes_is_a_path() -> None:
    """A path may consist of bytes, as for the system's functions, and need not be text."""

    class Raw(os.PathLike[bytes]):
        def __fspath__(self) -> bytes:
            return b"not/\xff.png"

    source: Any = Raw()
    assert to_media(source) == Path(os.fsdecode(b"not/\xff.png"))


@pytest.mark.parametrize(
    "source",
    [7, None, 1.5, ["https://example.com"], {}, object(), Asynchronous(), 10**5000],
    ids=["int", "None", "float", "list", "dict", "object", "asynchronous", "huge"],
)
def test_to_media_other_object_is_refused(source: Any) -> None:
    """The error shows the value and the types that are accepted."""
    with pytest.raises(ConfigurationError, match="expected a URL, path, bytes or open binary file"):
        to_media(source)


@pytest.mark.parametrize("source", ["https://example.com", b"abc", {"a": 1}, 7, None])
def test_media_list_single_value_is_refused(source: Any) -> None:
    """A URL is not a list of letters."""
    with pytest.raises(ConfigurationError, match=r"\[\.\.\.\]"):
        media_list(source)


@pytest.mark.usefixtures("small_limits")
def test_to_media_open_file_read_stops_above_the_limit() -> None:
    """One byte more than the largest limit shows that the file is too large."""
    read = to_media(io.BytesIO(b"x" * 1000))
    assert isinstance(read, File)
    assert len(read.content) == 41


def test_read_file_read_stops_above_the_limit(tmp_path: Path) -> None:
    """A file on disk is read no further either."""
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 1000)
    assert (len(read_file(path, 40).content), read_file(path, 40).name) == (41, "a.png")


@pytest.mark.parametrize("name", ["not-there.png", "."])
def test_read_file_failure_names_path_and_reason(tmp_path: Path, name: str) -> None:
    """The error has the path and the reason, and reports that nothing was sent."""
    with pytest.raises(ConfigurationError) as caught:
        read_file(tmp_path / name)
    assert str(caught.value).startswith(f"cannot read {tmp_path / name}: ")
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(
    "path", [Path("~nosuchuser/a.png"), Path("a\0.png"), Path("\ud800.png")], ids=["no home", "nul", "half a pair"]
)
def test_validate_upload_impossible_path_raises_configuration_error(path: Path) -> None:
    """Any system error about a path becomes ConfigurationError: in a stream it ends one request, not all."""
    with pytest.raises(ConfigurationError, match=r"cannot read .*Nothing was sent"):
        validate_upload(path)


def test_validate_upload_name_with_invalid_bytes_is_cleaned() -> None:
    """Bytes of a file name that are no UTF-8 are replaced, in the upload and in an error."""
    name = os.fsdecode(b"a\xff.png")
    assert validate_upload(File(SORTS["png"][0], name)).name == "a�.png"
    with pytest.raises(ConfigurationError, match=r"^a�\.png is empty"):
        validate_upload(File(b"", name))


def test_validate_upload_computes_digest_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest of a large file takes time, so the thread that reads the file computes it once."""
    path = tmp_path / "a.png"
    path.write_bytes(SORTS["png"][0])
    ready = validate_upload(path)
    monkeypatch.setattr("hashlib.sha256", None)
    assert ready.digest == ready.digest != ""


def test_read_file_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde is expanded as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"abc")
    assert read_file(Path("~/a.png")) == File(b"abc", "a.png")


def test_file_equality_ignores_the_name() -> None:
    """Equality, hash and digest depend on the content only, so that nothing is uploaded twice."""
    one, other = File(b"abc", "a.png"), File(b"abc", "b.png")
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest != File(b"abd").digest
    assert "abc" not in repr(one)
    assert pickle.loads(pickle.dumps(one)).name == "a.png"  # noqa: S301 - the test's own bytes


@pytest.mark.parametrize("sort", SORTS)
def test_validate_upload_without_suffix_content_decides(sort: str) -> None:
    """Without a suffix, the content decides suffix, kind and media type."""
    content, suffix, _, kind, content_type = SORTS[sort]
    file = File(content)
    assert validate_upload(file) == UploadFile(content, f"file{suffix}", kind, content_type, file.digest)  # type: ignore[arg-type]
    assert validate_upload(File(content, "holiday")).name == f"holiday{suffix}"
    assert validate_upload(File(content, "holiday.photo")).name == f"holiday{suffix}"
    assert validate_upload(File(content), kind).kind == kind  # type: ignore[arg-type]


@pytest.mark.parametrize(("sort", "suffix"), [(sort, end) for sort, row in SORTS.items() for end in (row[1], *row[2])])
def test_validate_upload_fitting_suffix_is_kept(sort: str, suffix: str) -> None:
    """Some formats share a signature: the suffix decides between them, and becomes lower case."""
    ready = validate_upload(File(SORTS[sort][0], f"My.File{suffix.upper()}"))
    assert (ready.name, ready.kind) == (f"My.File{suffix}", KIND_OF[suffix])


@pytest.mark.parametrize(
    ("sort", "suffix"),
    [
        (sort, suffix)
        for sort, row in SORTS.items()
        for suffix in KIND_OF
        if suffix not in (row[1], *row[2]) and not {suffix, row[1]} <= PICTURES
    ],
)
def test_validate_upload_wrong_suffix_is_refused(sort: str, suffix: str) -> None:
    """The service compares content and suffix. The error names the type of the content."""
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(SORTS[sort][0], f"a{suffix}"))
    assert str(caught.value) == f"a{suffix} has the content of a {SORTS[sort][1]} file. Nothing was sent: rename it"


@pytest.mark.parametrize("sort", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("suffix", [*sorted(PICTURES), ".gif", ".HEIC", ".avif"])
def test_validate_upload_picture_under_another_pictures_name_gets_its_own(sort: str, suffix: str) -> None:
    """The provider compares content and suffix, and many pictures are misnamed."""
    content, usual, others, _, content_type = SORTS[sort]
    ready = validate_upload(File(content, f"a{suffix}"), "image")
    assert (ready.name, ready.content_type) == (f"a{suffix if suffix in others else usual}", content_type)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "photo.jpg", "photo.jpg is HEIC; convert it to jpg"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "a.avif", "a.avif is AVIF; convert it to jpg"),
        (b"\0\0\0\x14ftyp3gp5\0\0\0\0", "talk.mp4", "talk.mp4 is 3GP; convert it to mp4"),
        (b"\x1aE\xdf\xa3\xa3B\x82\x88matroska", "a.webm", "a.webm is Matroska; convert it to mp4"),
        (b"GIF89a\x01\0\x01\0", "a.png", "a.png is GIF; convert it to png"),
        (b"\xff\xf1\x50\x80\0\0", "", "the file is AAC; convert it to mp3"),
    ],
    ids=["HEIC", "AVIF", "3GP", "Matroska", "GIF", "AAC"],
)
def test_validate_upload_type_that_no_provider_takes_is_named(content: bytes, name: str, message: str) -> None:
    """The brand within the file counts, not its name, and the error says what to convert it to."""
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(content, name))
    assert str(caught.value) == f"{message}. Nothing was sent"


@pytest.mark.parametrize("name", ["song.flac", "song", "song.FLAC"])
def test_validate_upload_flac_behind_a_tag_is_flac(name: str) -> None:
    """An ID3 tag stands before FLAC now and then, as before MP3."""
    ready = validate_upload(File(b"ID3\x04\0\0\0\0\0\x05tag..fLaC\0\0\0\x22", name), "audio")
    assert (ready.name, ready.content_type) == ("song.flac", "audio/flac")


@pytest.mark.parametrize("name", ["a.png", ""])
def test_validate_upload_empty_file_is_refused(name: str) -> None:
    """There is nothing to convert in an empty file."""
    with pytest.raises(ConfigurationError, match=r"is empty\. Nothing was sent: pass another file"):
        validate_upload(File(b"", name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"plain text", "is no image (jpg, png, webp), video or audio file of a known type"),
        (b"%PDF-1.7", "is no image"),
        (b"\xff\xd8", "is no image"),
        (b"RIFF....ACON", "is no image"),
        (b" \x89PNG\r\n\x1a\n", "is no image"),
    ],
)
def test_validate_upload_unknown_content_is_refused(content: bytes, message: str) -> None:
    """An unknown file is refused with the fix, with or without a name."""
    for name, shown in (("a.png", "a.png"), ("", "the file")):
        with pytest.raises(ConfigurationError) as caught:
            validate_upload(File(content, name))
        assert str(caught.value).startswith(f"{shown} {message}")
        assert "Nothing was sent: convert it first" in str(caught.value)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("wanted", ["image", "video", "audio"])
def test_validate_upload_wrong_kind_is_refused(sort: str, wanted: Any) -> None:
    """A sound in a field for pictures is refused before the upload."""
    content, suffix, _, kind, _ = SORTS[sort]
    if kind == wanted:
        assert validate_upload(File(content), wanted).kind == wanted
        return
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(content, f"a{suffix}"), wanted)
    assert str(caught.value) == f"a{suffix} must be of kind {wanted}, got {kind}. Nothing was sent: pass another file"


@pytest.mark.parametrize(("sort", "limit"), [("png", 20), ("mp4", 30), ("flac", 40)])
def test_validate_upload_size_at_limit_is_refused(sort: str, limit: int) -> None:
    """A file of exactly the limit is too large. The error names both numbers."""
    content, suffix, *_ = SORTS[sort]
    limits: dict[AssetKind, int] = {"image": 20, "video": 30, "audio": 40}
    assert validate_upload(File(content.ljust(limit - 1, b"\0")), limits=limits).kind
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(content.ljust(limit, b"\0"), f"a{suffix}"), limits=limits)
    assert str(caught.value).startswith(f"a{suffix} must have fewer than {limit} bytes (")
    assert f"got {limit} or more. Nothing was sent: reduce it" in str(caught.value)


@pytest.mark.usefixtures("small_limits")
def test_validate_upload_kind_without_limit_has_the_general_one(tmp_path: Path) -> None:
    """A provider that limits images only still has its videos limited by what the library holds in memory."""
    content, suffix, *_ = SORTS["mp4"]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content.ljust(40, b"\0"))
    assert validate_upload(path, limits={"image": 20}).kind == "video"
    path.write_bytes(content.ljust(99, b"\0"))
    with pytest.raises(ConfigurationError, match=r"must have fewer than 41 bytes \(video\), got 41 or more"):
        validate_upload(path, limits={"image": 20})


@pytest.mark.usefixtures("small_limits")
def test_validate_upload_limit_above_the_general_one_does_not_lift_it() -> None:
    """A provider that accepts more than the library holds in memory never gets a cut file."""
    content, suffix, *_ = SORTS["mp4"]
    with pytest.raises(ConfigurationError, match=r"must have fewer than 41 bytes \(video\), got 41 or more"):
        validate_upload(File(content.ljust(41, b"\0"), f"a{suffix}"), limits={"video": 1000})


@given(content=st.binary(max_size=30) | st.sampled_from([row[0] for row in SORTS.values()]), name=st.text(max_size=12))
def test_validate_upload_any_file_is_ready_or_refused(content: bytes, name: str) -> None:
    """Any content and name give a name with the right suffix, or ConfigurationError."""
    try:
        ready = validate_upload(File(content, name))
    except ConfigurationError:
        return
    assert KIND_OF[Path(ready.name).suffix] == ready.kind
    assert ready.content == content
    assert ready.digest == File(content).digest
