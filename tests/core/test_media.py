"""Local files and urls: what a media field takes, and what may be uploaded."""

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
# Each row: content, the ending it gets without one, its other endings, kind and media type.
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


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as too large at a few bytes."""
    monkeypatch.setattr(media_module, "MAX_FILE_BYTES", 40)


@pytest.mark.parametrize(
    "text", ["https://example.com/a.png", "http://example.com", "HTTPS://EXAMPLE.COM/A", "data:image/png;base64,AA"]
)
def test_a_text_with_a_scheme_is_a_url(text: str) -> None:
    """What a provider could fetch, or read by itself, is passed on as it is."""
    assert is_url(text)
    assert to_media(text) == text
    assert local_media(text) == text


@pytest.mark.parametrize(
    "text",
    ["a.png", "", "/etc/passwd", "file:///etc/passwd", "ftp://example.com/a.png", "example.com/a.png", " https://x"],
)
def test_a_text_that_is_no_url_never_opens_a_file(text: str) -> None:
    """A text from elsewhere must not read a local file; the error shows how a file is meant on purpose."""
    assert not is_url(text)
    with pytest.raises(ConfigurationError) as caught:
        to_media(text)
    assert str(caught.value) == f"expected a URL, got {text!r}; pass a local file as pathlib.Path({text!r})"
    assert local_media(text) == Path(text)


def test_what_a_media_field_takes() -> None:
    """Paths, bytes, files in memory and other path-like objects; nothing is read from a path yet."""

    class Somewhere(os.PathLike[str]):
        """A path of some other library."""

        def __fspath__(self) -> str:
            return "not/there.png"

    here, file = Path("not/there.png"), File(b"abc", "a.png")
    assert to_media(here) is here
    assert to_media(file) is file
    assert to_media(b"abc") == to_media(bytearray(b"abc")) == File(b"abc")
    assert to_media(Somewhere()) == here
    assert optional_media(None) is None
    assert optional_media(b"abc") == File(b"abc")
    assert media_list(source for source in (here, b"abc")) == (here, File(b"abc"))


def test_an_open_file_is_read_from_where_it_stands_and_left_open(tmp_path: Path) -> None:
    """Its name goes along, without the folder; closing it is the caller's."""
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


def test_a_file_opened_by_its_number_has_no_name(tmp_path: Path) -> None:
    """Such a file's name is a number, which says nothing."""
    path = tmp_path / "a.png"
    path.write_bytes(b"abc")
    with os.fdopen(os.open(path, os.O_RDONLY), "rb") as open_file:
        read = to_media(open_file)
    assert isinstance(read, File)
    assert read.name == ""


@pytest.mark.parametrize("source", [io.StringIO("text"), io.StringIO("")], ids=["text", "empty"])
def test_a_file_open_for_text_is_refused(source: Any) -> None:
    """Its letters are not its bytes; the error says how to open it."""
    with pytest.raises(ConfigurationError, match=r"in binary mode, got .*; open it with mode 'rb'"):
        to_media(source)


class Trickle(io.RawIOBase):
    """A pipe that gives three bytes at a time, however many are asked for."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        """Can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bring three bytes at most."""
        part = self._content.read(min(3, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


def test_a_pipe_is_read_to_its_end() -> None:
    """One read may bring a part only; what would be left out silently is read too."""
    source: Any = Trickle(b"0123456789")
    assert to_media(source) == File(b"0123456789")


def closed_file() -> Any:
    """Return a file that its owner has closed."""
    file = io.BytesIO(b"abc")
    file.close()
    return file


class Moody:
    """Something with a `read` that raises what it likes, and shows itself to nobody."""

    def read(self, _: int) -> bytes:
        """Refuse."""
        raise EOFError("no more")

    def __repr__(self) -> str:
        raise LookupError


def write_only() -> Any:
    """Return a file that can be written only."""
    return io.BufferedWriter(io.BytesIO())


@pytest.mark.parametrize("make", [closed_file, write_only, Moody])
def test_a_file_that_is_not_open_for_reading_is_refused(make: Any) -> None:
    """Whatever its `read` raises is the caller's mistake, told as such."""
    with pytest.raises(ConfigurationError, match=r"cannot read .*open for reading"):
        to_media(make())


class Asynchronous:
    """A file of some asynchronous library."""

    async def read(self, _: int) -> bytes:
        """Read, some time."""
        return b""


def test_a_path_of_bytes_is_a_path() -> None:
    """As the system's own functions take it; its name need not be text."""

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
def test_other_things_are_no_media(source: Any) -> None:
    """The error shows what was given and what can be."""
    with pytest.raises(ConfigurationError, match="expected a URL, path, bytes or open binary file"):
        to_media(source)


@pytest.mark.parametrize("source", ["https://example.com", b"abc", {"a": 1}, 7, None])
def test_one_thing_is_no_list_of_media(source: Any) -> None:
    """A url is not a list of letters."""
    with pytest.raises(ConfigurationError, match=r"\[\.\.\.\]"):
        media_list(source)


@pytest.mark.usefixtures("small_limits")
def test_an_open_file_is_read_no_further_than_could_be_uploaded() -> None:
    """One byte more than the largest of all tells that it is too large."""
    read = to_media(io.BytesIO(b"x" * 1000))
    assert isinstance(read, File)
    assert len(read.content) == 41


def test_a_file_on_disk_is_read_no_further_than_could_be_uploaded(tmp_path: Path) -> None:
    """The same for a path."""
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 1000)
    assert (len(read_file(path, 40).content), read_file(path, 40).name) == (41, "a.png")


@pytest.mark.parametrize("name", ["not-there.png", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    """Path and reason, and that nothing was sent."""
    with pytest.raises(ConfigurationError) as caught:
        read_file(tmp_path / name)
    assert str(caught.value).startswith(f"cannot read {tmp_path / name}: ")
    assert "Nothing was sent" in str(caught.value)


@pytest.mark.parametrize(
    "path", [Path("~nosuchuser/a.png"), Path("a\0.png"), Path("\ud800.png")], ids=["no home", "nul", "half a pair"]
)
def test_a_path_that_cannot_be_is_the_callers_mistake(path: Path) -> None:
    """Whatever the system says of a path, it is a ConfigurationError: in a stream it ends one request, not all."""
    with pytest.raises(ConfigurationError, match=r"cannot read .*Nothing was sent"):
        validate_upload(path)


def test_a_name_that_is_no_text_is_cleaned() -> None:
    """A file name whose bytes are no UTF-8 costs these bytes only, in the upload and in an error."""
    name = os.fsdecode(b"a\xff.png")
    assert validate_upload(File(SORTS["png"][0], name)).name == "a�.png"
    with pytest.raises(ConfigurationError, match=r"^a�\.png is empty"):
        validate_upload(File(b"", name))


def test_a_digest_is_made_once_where_the_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a while for a large file, so it is ready when the thread that reads is: asking for it costs nothing."""
    path = tmp_path / "a.png"
    path.write_bytes(SORTS["png"][0])
    ready = validate_upload(path)
    monkeypatch.setattr("hashlib.sha256", None)
    assert ready.digest == ready.digest != ""


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"abc")
    assert read_file(Path("~/a.png")) == File(b"abc", "a.png")


def test_files_of_equal_content_are_equal() -> None:
    """The name does not matter for equality, hash and digest, so that nothing is uploaded twice."""
    one, other = File(b"abc", "a.png"), File(b"abc", "b.png")
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest != File(b"abd").digest
    assert "abc" not in repr(one)
    assert pickle.loads(pickle.dumps(one)).name == "a.png"  # noqa: S301 - our own bytes


@pytest.mark.parametrize("sort", SORTS)
def test_each_signature_has_its_kind_and_ending(sort: str) -> None:
    """Content alone decides where there is no name: ending, kind and media type follow."""
    content, ending, _, kind, content_type = SORTS[sort]
    file = File(content)
    assert validate_upload(file) == UploadFile(content, f"file{ending}", kind, content_type, file.digest)  # type: ignore[arg-type]
    assert validate_upload(File(content, "holiday")).name == f"holiday{ending}"
    assert validate_upload(File(content, "holiday.photo")).name == f"holiday{ending}"
    assert validate_upload(File(content), kind).kind == kind  # type: ignore[arg-type]


@pytest.mark.parametrize(("sort", "ending"), [(sort, end) for sort, row in SORTS.items() for end in (row[1], *row[2])])
def test_an_ending_that_fits_the_content_stays(sort: str, ending: str) -> None:
    """Families share a signature: then the name's ending says which of them it is, in small letters."""
    ready = validate_upload(File(SORTS[sort][0], f"My.File{ending.upper()}"))
    assert (ready.name, ready.kind) == (f"My.File{ending}", KIND_OF[ending])


@pytest.mark.parametrize(
    ("sort", "ending"),
    [(sort, ending) for sort, row in SORTS.items() for ending in KIND_OF if ending not in (row[1], *row[2])],
)
def test_an_ending_that_lies_is_refused(sort: str, ending: str) -> None:
    """The service compares content and ending; the error says what the file really is."""
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(SORTS[sort][0], f"a{ending}"))
    assert str(caught.value) == f"a{ending} has the content of a {SORTS[sort][1]} file. Nothing was sent: rename it"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is no image (jpg, png, webp), video or audio file of a known type"),
        (b"%PDF-1.7", "is no image"),
        (b"\xff\xd8", "is no image"),
        (b"RIFF....AVI ", "is no image"),
        (b" \x89PNG\r\n\x1a\n", "is no image"),
    ],
)
def test_what_is_no_known_medium_is_refused(content: bytes, says: str) -> None:
    """An empty or unknown file is refused with what can be done, with or without a name."""
    for name, called in (("a.png", "a.png"), ("", "the file")):
        with pytest.raises(ConfigurationError) as caught:
            validate_upload(File(content, name))
        assert str(caught.value).startswith(f"{called} {says}")
        assert "Nothing was sent: convert it first" in str(caught.value)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("wanted", ["image", "video", "audio"])
def test_the_wrong_kind_is_refused(sort: str, wanted: Any) -> None:
    """A sound where a picture belongs costs no upload."""
    content, ending, _, kind, _ = SORTS[sort]
    if kind == wanted:
        assert validate_upload(File(content), wanted).kind == wanted
        return
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(content, f"a{ending}"), wanted)
    assert str(caught.value) == f"a{ending} must be of kind {wanted}, got {kind}. Nothing was sent: pass another file"


@pytest.mark.parametrize(("sort", "limit"), [("png", 20), ("mp4", 30), ("flac", 40)])
def test_a_file_must_be_smaller_than_its_kinds_limit(sort: str, limit: int) -> None:
    """The limit itself is too large already; the error names both numbers."""
    content, ending, *_ = SORTS[sort]
    limits: dict[AssetKind, int] = {"image": 20, "video": 30, "audio": 40}
    assert validate_upload(File(content.ljust(limit - 1, b"\0")), limits=limits).kind
    with pytest.raises(ConfigurationError) as caught:
        validate_upload(File(content.ljust(limit, b"\0"), f"a{ending}"), limits=limits)
    assert str(caught.value).startswith(f"a{ending} must have fewer than {limit} bytes (")
    assert f"got {limit} or more. Nothing was sent: reduce it" in str(caught.value)


@pytest.mark.usefixtures("small_limits")
def test_validate_upload_kind_without_limit_has_the_general_one(tmp_path: Path) -> None:
    """A provider that limits images only still has its videos limited by what the library holds in memory."""
    content, ending, *_ = SORTS["mp4"]
    path = tmp_path / f"a{ending}"
    path.write_bytes(content.ljust(40, b"\0"))
    assert validate_upload(path, limits={"image": 20}).kind == "video"
    path.write_bytes(content.ljust(99, b"\0"))
    with pytest.raises(ConfigurationError, match=r"must have fewer than 41 bytes \(video\), got 41 or more"):
        validate_upload(path, limits={"image": 20})


@given(content=st.binary(max_size=30) | st.sampled_from([row[0] for row in SORTS.values()]), name=st.text(max_size=12))
def test_any_file_is_ready_or_refused(content: bytes, name: str) -> None:
    """Whatever it holds and is called: a name with the right ending, or a ConfigurationError."""
    try:
        ready = validate_upload(File(content, name))
    except ConfigurationError:
        return
    assert KIND_OF[Path(ready.name).suffix] == ready.kind
    assert ready.content == content
    assert ready.digest == File(content).digest
