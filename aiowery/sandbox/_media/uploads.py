"""Uploaded files: validated, kept in memory, served again."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from aiowery.sandbox._response import parameter_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

LARGEST_UPLOAD = 50 * 1024**2 + 65_536
"""Largest body of an upload in bytes. A larger one is refused with HTTP 413."""
_LARGEST_IMAGE = 10 * 1024**2
_LARGEST_OTHER = 50 * 1024**2
_KEPT = 256 * 1024**2
_LONGEST_NAME = 100
_TAG = b"ID3"
_TAG_HEAD = 10
_TAG_HAS_FOOTER = 0x10
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SIGNATURES = (
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", {"jpg", "jpeg"}),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", {"png"}),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", {"webp"}),
    (re.compile(rb"GIF8[79]a"), "image/gif", {"gif"}),
    (re.compile(rb"BM"), "image/bmp", {"bmp"}),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff", {"tif", "tiff"}),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav", {"wav"}),
    (re.compile(rb"....ftypM4[AB]", re.DOTALL), "audio/mp4", {"m4a", "mp4"}),
    (re.compile(rb"....ftyp", re.DOTALL), "video/mp4", {"mp4", "mov", "m4v", "m4a"}),
    (re.compile(rb"\x1aE\xdf\xa3"), "video/webm", {"webm"}),
    (re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "audio/mpeg", {"mp3"}),
    (re.compile(rb"OggS"), "audio/ogg", {"ogg"}),
    (re.compile(rb"fLaC"), "audio/flac", {"flac"}),
)
# Texts have no signature: the extension decides.
_TEXTS = {
    "txt": "text/plain",
    "md": "text/markdown",
    "json": "application/json",
    "csv": "text/csv",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}


@attrs.frozen
class Upload:
    """An uploaded file."""

    name: str
    content: bytes = attrs.field(repr=False)
    media_type: str


class Uploads:
    """Uploaded files of one sandbox: the newest 256 MB."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, Upload] = OrderedDict()

    def __len__(self) -> int:
        return len(self._files)

    def keep(self, upload: Upload) -> str:
        """Store a file and return the path under which it is served."""
        id_ = secrets.token_hex(8)
        self._files[id_] = upload
        while sum(len(file.content) for file in self._files.values()) > _KEPT:
            self._files.popitem(last=False)
        return f"uploads/{id_}/{upload.name}"

    def find(self, id_: str) -> Upload | None:
        """Return the file with this id, None if it does not exist."""
        return self._files.get(id_)


async def read_upload(body: bytes, headers: Mapping[str, str]) -> Upload:
    """Return the file of a multipart body. Raises `Refused` (1001) if the service would not accept it."""

    async def stream() -> AsyncIterator[bytes]:
        yield body

    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise parameter_error("file cannot be empty")
    try:
        form = await MultiPartParser(Headers(headers), stream(), max_part_size=LARGEST_UPLOAD).parse()  # type: ignore[arg-type]
    except (MultiPartException, KeyError) as fault:
        raise parameter_error(f"request body must be valid: {fault}") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise parameter_error("file cannot be empty")
        return _checked(file.filename or "file", await file.read())
    finally:
        await form.close()


def _checked(name: str, content: bytes) -> Upload:
    if not content:
        raise parameter_error("file cannot be empty")
    media_type = _media_type(PurePosixPath(name).suffix.lower().lstrip("."), content)
    is_image = media_type.startswith("image/")
    if len(content) >= (_LARGEST_IMAGE if is_image else _LARGEST_OTHER):
        raise parameter_error("image must be under 10MB" if is_image else "video or audio must be under 50MB")
    return Upload(_cleaned(name), content, media_type)


def _media_type(extension: str, content: bytes) -> str:
    """Return the media type of a file. Raises `Refused` (1001) for one that the service would not accept."""
    if extension in _TEXTS and _is_text(content):
        return _TEXTS[extension]
    beginning = _behind_tag(content)
    for signature, media_type, extensions in _SIGNATURES:
        if signature.match(beginning):
            if extension and extension not in extensions:
                raise parameter_error("file content does not match extension")
            return media_type
    raise parameter_error("only support image, video and audio")


def _behind_tag(content: bytes) -> bytes:
    """Return the beginning of a file: of FLAC behind an ID3 tag, which may hold a whole picture, what follows it."""
    if not content.startswith(_TAG) or len(content) < _TAG_HEAD:
        return content
    length = _TAG_HEAD * (2 if content[5] & _TAG_HAS_FOOTER else 1)
    length += sum((byte & 0x7F) << shift for byte, shift in zip(content[6:_TAG_HEAD], (21, 14, 7, 0), strict=True))
    return content[length:] if content.startswith(b"fLaC", length) else content


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def _cleaned(name: str) -> str:
    """Return the end of a file name in URL-safe characters, without leading dots."""
    return _UNSAFE.sub("_", PurePosixPath(name).name)[-_LONGEST_NAME:].lstrip(".") or "file"
