"""Pictures, videos and sounds that a request works on: a url, or a local file to be uploaded first."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from aiowery._base.snapshot import AssetKind
from aiowery._core.fields import items, replace_surrogates, short_repr
from aiowery.errors import ConfigurationError

LARGEST: Final[dict[AssetKind, int]] = {
    "image": 10 * 1024**2,
    "video": 50 * 1024**2,
    "audio": 50 * 1024**2,
}
"""Bytes: a file must be smaller (contract: upload-file)."""

_LARGEST_OF_ALL: Final = max(LARGEST.values())
_URL: Final = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
_SUFFIXES: Final[dict[str, tuple[AssetKind, str]]] = {
    ".jpg": ("image", "image/jpeg"),
    ".jpeg": ("image", "image/jpeg"),
    ".png": ("image", "image/png"),
    ".webp": ("image", "image/webp"),
    ".mp4": ("video", "video/mp4"),
    ".mov": ("video", "video/quicktime"),
    ".webm": ("video", "video/webm"),
    ".mp3": ("audio", "audio/mpeg"),
    ".wav": ("audio", "audio/wav"),
    ".m4a": ("audio", "audio/mp4"),
    ".ogg": ("audio", "audio/ogg"),
    ".flac": ("audio", "audio/flac"),
}
# Of each family of endings, which share a signature, the first is given to a file without one.
_SIGNATURES: Final[tuple[tuple[re.Pattern[bytes], tuple[str, ...]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), (".jpg", ".jpeg")),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), (".png",)),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), (".webp",)),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), (".wav",)),
    (re.compile(rb"....ftypqt", re.DOTALL), (".mov", ".mp4")),
    (re.compile(rb"....ftypM4[AB]", re.DOTALL), (".m4a", ".mp4")),
    (re.compile(rb"....ftyp", re.DOTALL), (".mp4", ".mov", ".m4a")),
    (re.compile(rb"\x1aE\xdf\xa3"), (".webm",)),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), (".mp3",)),
    (re.compile(rb"OggS"), (".ogg",)),
    (re.compile(rb"fLaC"), (".flac",)),
)


@attrs.frozen
class File:
    """A file's content, and its name if it has one. Equal content makes equal files."""

    content: bytes = attrs.field(repr=False)
    name: str = attrs.field(default="", eq=False)

    @property
    def digest(self) -> str:
        """A name for the content."""
        return hashlib.sha256(self.content).hexdigest()


Media = str | Path | File
"""What a media field holds: a url, a path, or a file in memory."""
MediaSource = str | os.PathLike[str] | bytes | bytearray | BinaryIO | File
"""What a media field takes: a url as `str`, a local file as `pathlib.Path`, bytes, or an open binary file."""


@attrs.frozen
class UploadFile:
    """A file that may be uploaded: its kind and media type are known, its name ends as its content says.

    `digest` is a name for the content.
    """

    content: bytes = attrs.field(repr=False)
    name: str
    kind: AssetKind
    content_type: str
    digest: str


def is_url(text: str) -> bool:
    """Whether this text is a url of a sort that a provider could fetch or read."""
    return _URL.match(text) is not None


def to_media(value: MediaSource) -> Media:
    """Convert what a media field takes. A `str` is a url: a text from elsewhere must never open a local file.

    An open file is read here, from where it stands, and stays the caller's to close.
    """
    if isinstance(value, (Path, File)):
        return value
    if isinstance(value, str):
        if not is_url(value):
            raise ConfigurationError(
                f"{short_repr(value)} is no url; a local file is given as pathlib.Path({short_repr(value)})"
            )
        return value
    if isinstance(value, (bytes, bytearray)):
        return File(bytes(value))
    if isinstance(value, os.PathLike):
        return Path(os.fsdecode(value))
    return _read_open(value)


def local_media(value: MediaSource) -> Media:
    """Convert what is to be uploaded. Here a `str` is a path: whoever calls means a file of their own."""
    return Path(value) if isinstance(value, str) and not is_url(value) else to_media(value)


def optional_media(value: MediaSource | None) -> Media | None:
    """Convert what a media field that may be left out takes."""
    return None if value is None else to_media(value)


def media_list(values: Iterable[MediaSource]) -> tuple[Media, ...]:
    """Convert what a field for several media takes."""
    return tuple(map(to_media, items(values)))


def _read_open(file: BinaryIO) -> File:
    read = getattr(file, "read", None)
    if not callable(read) or inspect.iscoroutinefunction(read):
        raise ConfigurationError(f"{short_repr(file)} is no url, path, bytes or open file; give one of these")
    try:
        content = _read_all(read)
    except TypeError as fault:
        raise ConfigurationError(f"{short_repr(file)} is open for text; open it with mode 'rb'") from fault
    except Exception as fault:
        raise ConfigurationError(
            f"{short_repr(file)} cannot be read ({fault}); give one that is open for reading"
        ) from fault
    name = getattr(file, "name", "")
    return File(content, Path(name).name if isinstance(name, str) else "")


def _read_all(read: Callable[[int], bytes]) -> bytes:
    """Read to the end, no more than could be uploaded; a pipe gives less at a time than it is asked for."""
    parts: list[bytes] = []
    left = _LARGEST_OF_ALL + 1
    while left > 0:
        part = memoryview(read(left))  # TypeError for text
        if not part:
            break
        parts.append(part.tobytes())
        left -= len(part)
    return b"".join(parts)


def read_file(path: Path) -> File:
    """Read a local file, no more of it than could be uploaded. Blocks."""
    try:
        with path.expanduser().open("rb") as file:
            return File(file.read(_LARGEST_OF_ALL + 1), path.name)
    except (OSError, RuntimeError, ValueError) as fault:  # no such home, a name that no system can have
        reason = getattr(fault, "strerror", None) or fault
        raise ConfigurationError(f"cannot read {path}: {reason}; nothing was sent") from fault


def validate_upload(source: Path | File, wanted: AssetKind | None = None) -> UploadFile:
    """Return a file ready for upload, or say why the provider would refuse it. Blocks.

    Images are jpg, jpeg, png or webp under 10 MB, videos and sounds under 50 MB, and the content must be what the
    name's ending says (contract: upload-file).
    """
    file = read_file(source) if isinstance(source, Path) else source
    name = replace_surrogates(file.name)  # on disk it need not be text
    called = name or "the file"
    endings = next((found for signature, found in _SIGNATURES if signature.match(file.content)), ())
    if not endings:
        what = "is empty" if not file.content else "is no image (jpg, png, webp), video or sound that is known"
        raise ConfigurationError(f"{called} {what}; nothing was sent: convert it first")
    suffix = Path(name).suffix.lower()
    if suffix in _SUFFIXES and suffix not in endings:
        raise ConfigurationError(f"{called} is a {endings[0]} by its content; rename it so that its ending says so")
    suffix = suffix if suffix in endings else endings[0]
    kind, content_type = _SUFFIXES[suffix]
    if wanted is not None and kind != wanted:
        raise ConfigurationError(f"{called} is of kind {kind}, where {wanted} is needed; nothing was sent")
    if len(file.content) >= LARGEST[kind]:
        raise ConfigurationError(
            f"{called} has {len(file.content):,} bytes or more; {kind} files must be under {LARGEST[kind]:,}: reduce it"
        )
    stem = Path(name).stem or "file"
    return UploadFile(file.content, stem + suffix, kind, content_type, file.digest)
