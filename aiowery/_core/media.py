"""Media inputs of requests: a URL, or a local file that is uploaded first."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Final, get_args

import attrs

from aiowery._base.snapshot import AssetKind
from aiowery._base.text import printable_url
from aiowery._core.fields import items, replace_surrogates, short_repr, wrong_request
from aiowery.errors import ConfigurationError

MAX_FILE_BYTES: Final = 256 * 1024**2
"""The size in bytes that no local file may exceed, whatever its provider accepts, because it is held in memory."""

_NO_LIMITS: Final[Mapping[AssetKind, int]] = {}
_URL: Final = re.compile(r"(?:https?://|data:)", re.IGNORECASE)
# White space, control characters, and those without a width, such as a byte order mark.
_BLANK: Final = (
    "".join(
        map(
            chr,
            (*range(0x21), *range(0x7F, 0xA1), *range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2061)),
        )
    )
    + "\u3000\ufeff"
)
_WEB_HOST: Final = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)


@attrs.frozen
class File:
    """A file in memory. Files with equal content are equal."""

    content: bytes = attrs.field(repr=False)
    """The bytes of the file."""
    name: str = attrs.field(default="", eq=False)
    """The file name; empty if there is none. Ignored in comparisons."""

    @property
    def digest(self) -> str:
        """The SHA-256 hash of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


Media = str | Path | File
"""The value of a media field: a URL, a path, or a file in memory."""
MediaSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | File
"""An argument for a media field: a URL as `str`, a local file as `pathlib.Path`, bytes, or an open binary file."""


@attrs.frozen
class UploadFile:
    """A file that passed the checks before an upload."""

    content: bytes = attrs.field(repr=False)
    """The bytes of the file."""
    name: str
    """The file name; its suffix fits the content."""
    kind: AssetKind
    """The kind of media."""
    content_type: str
    """The media type, such as `image/png`."""
    digest: str
    """The SHA-256 hash of the content, in hexadecimal."""


def is_url(text: str) -> bool:
    """Return True if the text is an http, https or data URL, which a provider can read."""
    return _URL.match(text) is not None


def clean_url(value: object) -> str | None:
    """Return a URL in a response, made printable; None for anything but http, https and data.

    Such as "null", base64 alone, or a list that is written as text. The blank characters around a URL are dropped.
    """
    url = value.strip(_BLANK) if isinstance(value, str) else ""
    is_data = url[:5].lower() == "data:" and "," in url
    return printable_url(url) if is_data or _WEB_HOST.match(url) else None


def to_media(value: MediaSource) -> Media:
    """Return the value for a media field. A `str` must be a URL, so that foreign text never opens a local file.

    An open file is read to its end from its present position, to which it returns if it can; at its end it is read from
    its beginning. The caller closes it.
    """
    if isinstance(value, (Path, File)):
        return value
    if isinstance(value, str):
        if not is_url(value):
            raise wrong_request(
                f"expected a URL, got {short_repr(value)}; pass a local file as pathlib.Path({short_repr(value)})"
            )
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return File(bytes(value))
    if isinstance(value, os.PathLike):
        return Path(os.fsdecode(value))
    return _read_open(value)


def local_media(value: MediaSource) -> Media:
    """Return the value for an upload. Here a `str` that is no URL is a path, because the caller named a local file."""
    return Path(value) if isinstance(value, str) and not is_url(value) else to_media(value)


def optional_media(value: MediaSource | None) -> Media | None:
    """Return the value for an optional media field."""
    return None if value is None else to_media(value)


def media_list(values: Iterable[MediaSource]) -> tuple[Media, ...]:
    """Return the values for a field with several media."""
    return tuple(map(to_media, items(values)))


def _read_open(file: BinaryIO) -> File:
    read = getattr(file, "read", None)
    if not callable(read) or inspect.iscoroutinefunction(read):
        raise wrong_request(f"expected a URL, path, bytes or open binary file, got {short_repr(file)}")
    try:
        content = _read_rewound(file, read)
    except ConfigurationError:
        raise
    except TypeError as fault:
        raise wrong_request(
            f"expected a file in binary mode, got {short_repr(file)}; open it with mode 'rb'"
        ) from fault
    except Exception as fault:
        raise wrong_request(f"cannot read {short_repr(file)}: {fault}; pass a file that is open for reading") from fault
    name = getattr(file, "name", "")
    return File(content, Path(name).name if isinstance(name, str) else "")


def _read_rewound(file: BinaryIO, read: Callable[[int], bytes]) -> bytes:
    """Read a file from its position, or from its beginning if it is at its end; return to that position.

    A file that was written just now, or read before, is at its end.
    """
    seekable = getattr(file, "seekable", None)
    is_seekable = callable(seekable) and seekable() is True
    position = file.tell() if is_seekable else 0
    content = _read_all(read)
    if not content and position:
        file.seek(0)
        content = _read_all(read)
    if is_seekable:
        file.seek(position)
    elif not content:
        raise ConfigurationError(
            f"{short_repr(file)} holds nothing more: it is empty, or was read to its end before, and cannot be read"
            " again. Nothing was sent: open it anew"
        )
    return content


def _read_all(read: Callable[[int], bytes]) -> bytes:
    """Read to the end, but little more than any file may have. A pipe returns less than requested at a time."""
    parts: list[bytes] = []
    remaining = MAX_FILE_BYTES + 1
    while remaining > 0:
        part = memoryview(read(remaining))  # raises TypeError for text
        if not part:
            break
        parts.append(part.tobytes())
        remaining -= len(part)
    return b"".join(parts)


def read_file(path: Path, max_bytes: int = MAX_FILE_BYTES) -> File:
    """Read a local file, but at most one byte more than `max_bytes`. Blocks."""
    try:
        with path.expanduser().open("rb") as file:
            return File(file.read(max_bytes + 1), path.name)
    except (OSError, RuntimeError, ValueError) as fault:  # also an unknown home folder, and a name with a null byte
        reason = getattr(fault, "strerror", None) or fault
        raise ConfigurationError(f"cannot read {path}: {reason}. Nothing was sent: pass a readable file") from fault


def validate_upload(
    source: Path | File, expected: AssetKind | None = None, limits: Mapping[AssetKind, int] = _NO_LIMITS
) -> UploadFile:
    """Return a file that is ready for upload. Blocks.

    The content must be that of a known type of image (jpg, png, webp), video or audio, and the suffix must fit it; a
    picture gets the fitting one. `limits` are the provider's sizes in bytes below which a file of each kind must be.
    Raises ConfigurationError for any other file.
    """
    from aiowery._core.file_types import type_of_suffix, types_in  # noqa: PLC0415 - a request class does not need it

    largest = min(MAX_FILE_BYTES, max(limits.get(kind, MAX_FILE_BYTES) for kind in get_args(AssetKind)))
    file = read_file(source, largest) if isinstance(source, Path) else source
    name = replace_surrogates(file.name)  # a file name on disk need not be valid text
    label = name or "the file"
    types = types_in(io.BytesIO(file.content))
    if not types:
        if not file.content:
            raise ConfigurationError(f"{label} is empty. Nothing was sent: pass another file")
        raise ConfigurationError(
            f"{label} is no image (jpg, png, webp), video or audio file of a known type. Nothing was sent: convert it"
            " first"
        )
    suffix = Path(name).suffix.lower()
    named = type_of_suffix(suffix)
    found = next((one for one in types if one == named), types[0])
    if found.convert_to:
        raise ConfigurationError(f"{label} is {found.name}; convert it to {found.convert_to}. Nothing was sent")
    # A picture under another picture's name is sent under the right one.
    if named is not None and named not in types and {named.kind, found.kind} != {"image"}:
        raise ConfigurationError(f"{label} has the content of a {found.suffix} file. Nothing was sent: rename it")
    suffix = suffix if suffix in found.suffixes else found.suffix
    kind, content_type = found.kind, found.media_types[0]
    if expected is not None and kind != expected:
        raise ConfigurationError(f"{label} must be of kind {expected}, got {kind}. Nothing was sent: pass another file")
    limit = min(limits.get(kind, MAX_FILE_BYTES + 1), MAX_FILE_BYTES + 1)
    if len(file.content) >= limit:
        raise ConfigurationError(
            f"{label} must have fewer than {limit:,} bytes ({kind}), got {len(file.content):,} or more."
            " Nothing was sent: reduce it"
        )
    stem = Path(name).stem or "file"
    return UploadFile(file.content, stem + suffix, kind, content_type, file.digest)
