"""Types of media files: by the signature of the content, then by the media type, then by the suffix of a name."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import BinaryIO, Final

import attrs

from aiowery._base.snapshot import AssetKind

SVG_SUFFIX: Final = ".svg"
UNKNOWN_SUFFIX: Final = ".bin"
_HEAD: Final = 4096
_TAG: Final = b"ID3"
_TAG_HEAD: Final = 10
_TAG_HAS_FOOTER: Final = 0x10
_MAX_TAGS: Final = 4


@attrs.frozen
class FileType:
    """A type of media file.

    The first of `suffixes` and of `media_types` is the usual one. `convert_to` names the type that providers accept
    instead; it is empty for a type that they accept.
    """

    name: str
    kind: AssetKind
    suffixes: tuple[str, ...]
    media_types: tuple[str, ...]
    convert_to: str = ""

    @property
    def suffix(self) -> str:
        """The usual suffix."""
        return self.suffixes[0]


_JPEG: Final = FileType("JPEG", "image", (".jpg", ".jpeg"), ("image/jpeg", "image/jpg", "image/pjpeg"))
_PNG: Final = FileType("PNG", "image", (".png",), ("image/png", "image/x-png", "image/apng"))
_WEBP: Final = FileType("WebP", "image", (".webp",), ("image/webp", "image/x-webp"))
_GIF: Final = FileType("GIF", "image", (".gif",), ("image/gif",), "png")
_BMP: Final = FileType("BMP", "image", (".bmp",), ("image/bmp", "image/x-bmp", "image/x-ms-bmp"), "png")
_TIFF: Final = FileType("TIFF", "image", (".tiff", ".tif"), ("image/tiff", "image/tif", "image/x-tiff"), "png")
_HEIC: Final = FileType(
    "HEIC",
    "image",
    (".heic", ".heif"),
    ("image/heic", "image/heif", "image/heic-sequence", "image/heif-sequence"),
    "jpg",
)
_AVIF: Final = FileType("AVIF", "image", (".avif",), ("image/avif", "image/avif-sequence"), "jpg")
_CR3: Final = FileType("a raw photo of Canon", "image", (".cr3",), ("image/x-canon-cr3",), "jpg")
_JXL: Final = FileType("JPEG XL", "image", (".jxl",), ("image/jxl",), "jpg")
_MP4: Final = FileType("MP4", "video", (".mp4",), ("video/mp4", "video/x-m4v", "application/mp4", "video/mpeg4"))
_MOV: Final = FileType("QuickTime", "video", (".mov",), ("video/quicktime", "video/mov"))
_3GP: Final = FileType("3GP", "video", (".3gp", ".3g2"), ("video/3gpp", "video/3gpp2", "audio/3gpp"), "mp4")
_WEBM: Final = FileType("WebM", "video", (".webm",), ("video/webm", "audio/webm"))
_MKV: Final = FileType("Matroska", "video", (".mkv", ".mka"), ("video/x-matroska", "audio/x-matroska"), "mp4")
_AVI: Final = FileType("AVI", "video", (".avi",), ("video/x-msvideo", "video/avi", "video/msvideo"), "mp4")
_MP3: Final = FileType(
    "MP3", "audio", (".mp3",), ("audio/mpeg", "audio/mp3", "audio/mpeg3", "audio/x-mp3", "audio/x-mpeg")
)
_M4A: Final = FileType("M4A", "audio", (".m4a",), ("audio/mp4", "audio/m4a", "audio/x-m4a", "audio/mp4a-latm"))
_WAV: Final = FileType("WAV", "audio", (".wav",), ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"))
_OGG: Final = FileType("Ogg", "audio", (".ogg", ".oga", ".opus"), ("audio/ogg", "application/ogg", "audio/opus"))
_FLAC: Final = FileType("FLAC", "audio", (".flac",), ("audio/flac", "audio/x-flac"))
_AAC: Final = FileType("AAC", "audio", (".aac",), ("audio/aac", "audio/aacp", "audio/x-aac"), "mp3")
_AIFF: Final = FileType("AIFF", "audio", (".aiff", ".aif"), ("audio/aiff", "audio/x-aiff"), "wav")

_TYPES: Final = (
    *(_JPEG, _PNG, _WEBP, _GIF, _BMP, _TIFF, _HEIC, _AVIF, _CR3, _JXL),
    *(_MP4, _MOV, _3GP, _WEBM, _MKV, _AVI),
    *(_MP3, _M4A, _WAV, _OGG, _FLAC, _AAC, _AIFF),
)
_BY_SUFFIX: Final = {suffix: one for one in _TYPES for suffix in one.suffixes}
_BY_MEDIA_TYPE: Final = {media_type: one for one in _TYPES for media_type in one.media_types}

# Types that share a signature stand together, the likeliest first.
_SIGNATURES: Final[tuple[tuple[re.Pattern[bytes], tuple[FileType, ...]], ...]] = (
    (re.compile(rb"\xff\xd8\xff"), (_JPEG,)),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), (_PNG,)),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), (_WEBP,)),
    (re.compile(rb"GIF8[79]a"), (_GIF,)),
    (re.compile(rb"BM....\0\0\0\0", re.DOTALL), (_BMP,)),
    (re.compile(rb"II\*\0|MM\0\*"), (_TIFF,)),
    (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n"), (_JXL,)),
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), (_AVIF,)),
    (re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms]|avc[is]|vvi[cs]|jpeg|jpgs|j2ki)", re.DOTALL), (_HEIC,)),
    (re.compile(rb"....ftypcrx ", re.DOTALL), (_CR3,)),
    (re.compile(rb"....ftypqt", re.DOTALL), (_MOV, _MP4)),
    (re.compile(rb"....ftypM4[ABP]", re.DOTALL), (_M4A, _MP4)),
    (re.compile(rb"....ftyp3[gs]", re.DOTALL), (_3GP,)),
    (re.compile(rb"....ftyp", re.DOTALL), (_MP4, _MOV, _M4A)),
    (re.compile(rb"....(?:moov|mdat|wide)", re.DOTALL), (_MOV, _MP4)),
    (re.compile(rb"(?:RIFF|RF64)....WAVE", re.DOTALL), (_WAV,)),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), (_AVI,)),
    (re.compile(rb"OggS"), (_OGG,)),
    (re.compile(rb"fLaC"), (_FLAC,)),
    (re.compile(rb"FORM....AIF[CF]", re.DOTALL), (_AIFF,)),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), (_AAC,)),
    (re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), (_MP3,)),
)
_STILLS: Final = re.compile(rb"....ftyp(?:mif|msf|miaf)", re.DOTALL)
_MATROSKA: Final = b"\x1aE\xdf\xa3"
_PACKED: Final = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd|\xfd7zXZ\0|BZh[1-9]1AY")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_WIDE_TEXT: Final = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_PLAIN_START: Final = 12
_SVG: Final = re.compile(rb"<svg[\s>/]", re.IGNORECASE)
_HTML: Final = re.compile(rb"<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_SVG_STARTS: Final = (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")
_BYTE_ORDER: Final = b"\xef\xbb\xbf"


class NoMedia(ValueError):
    """A file that is no picture, film or sound; the message names what it is."""


def types_in(file: BinaryIO) -> tuple[FileType, ...]:
    """Return the types that a file may have by its content, the likeliest first; () for an unknown content. Blocks."""
    file.seek(0)
    head = file.read(_HEAD)
    if head[:_PLAIN_START].isascii() and _is_plain(head):  # a text may begin like any signature made of letters
        return ()
    if head.startswith(_TAG):  # several may stand before a sound of any type, and each may hold a whole picture
        types = _types_of(_behind_tags(file, head))
        return types if types and types[0].kind == "audio" else (_MP3,)
    return _types_of(head)


def _types_of(head: bytes) -> tuple[FileType, ...]:
    """Return the types that a file may have by its beginning, the likeliest first; () for an unknown one."""
    if _STILLS.match(head):
        return (_AVIF,) if b"avi" in _compatible_brands(head) else (_HEIC,)
    if head.startswith(_MATROSKA):
        return (_MKV,) if b"matroska" in head else (_WEBM,)
    return next((types for signature, types in _SIGNATURES if signature.match(head)), ())


def type_of_suffix(suffix: str) -> FileType | None:
    """Return the type of files with this suffix, in any case; None for an unknown one."""
    return _BY_SUFFIX.get(suffix.lower())


def suffixes_of(kind: AssetKind) -> frozenset[str]:
    """Return the suffixes of all types of a kind."""
    return frozenset(suffix for suffix, one in _BY_SUFFIX.items() if one.kind == kind)


def suffix_of_output(file: BinaryIO, media_type: str, path: str) -> str:
    """Return the suffix of an output by its content, else by its media type, else by the path of its URL. Blocks.

    Raises NoMedia for an empty file, for compressed data, and for text other than an SVG picture: a page, not a file.
    """
    file.seek(0)
    head = file.read(_HEAD)
    declared, named = _BY_MEDIA_TYPE.get(media_type), type_of_suffix(PurePosixPath(path).suffix)
    if types := types_in(file):
        return next((one for one in (declared, named) if one in types), types[0]).suffix
    if not head:
        raise NoMedia("an empty file")
    if _PACKED.match(head):
        raise NoMedia("compressed data instead of a file")
    if _is_svg(head):
        return SVG_SUFFIX
    if _is_text(head) or _is_text_type(media_type):
        raise NoMedia(f"a page ({media_type[:100] or 'of no type'}) instead of a file")
    known = declared or named
    return UNKNOWN_SUFFIX if known is None else known.suffix


def _behind_tags(file: BinaryIO, head: bytes) -> bytes:
    """Return what follows the ID3 tags at the beginning of a file, of which a few are skipped."""
    end = 0
    for _ in range(_MAX_TAGS):
        if not head.startswith(_TAG):
            break
        end += _tag_length(head)
        file.seek(end)
        head = file.read(_HEAD)
    return head


def _tag_length(head: bytes) -> int:
    """Return the length of an ID3 tag in bytes: four numbers of seven bits each."""
    length = 0
    for byte in head[6:_TAG_HEAD]:
        length = length << 7 | byte & 0x7F
    has_footer = bool(head[5:6]) and head[5] & _TAG_HAS_FOOTER
    return length + (2 * _TAG_HEAD if has_footer else _TAG_HEAD)


def _compatible_brands(head: bytes) -> bytes:
    """Return the brands in the first box of a file, after the major one."""
    return head[16 : int.from_bytes(head[:4], "big")]


def _is_svg(head: bytes) -> bool:
    is_markup = _text_start(head)[:20].lower().startswith(_SVG_STARTS)
    return bool(is_markup and _SVG.search(head) and not _HTML.search(head))


def _is_text(head: bytes) -> bool:
    return _is_plain(head) or _is_json(_text_start(head)) or _HTML.search(head) is not None


def _is_json(start: bytes) -> bool:
    """Return True for the beginning of an object or array in JSON, which may hold any byte in a text."""
    return start[:1] in {b"{", b"["} and start[1:].lstrip()[:1] in {b'"', b"{", b"[", b"]", b"}"}


def _text_start(head: bytes) -> bytes:
    return head.removeprefix(_BYTE_ORDER).lstrip()


def _is_plain(head: bytes) -> bool:
    """Return True for a text without control characters, which the beginning of a media file holds."""
    return head.startswith(_WIDE_TEXT) or not _CONTROL.search(head)


def _is_text_type(media_type: str) -> bool:
    kind, _, name = media_type.partition("/")
    return kind in {"text", "multipart", "message"} or (
        kind == "application" and name.endswith(("json", "xml", "javascript"))
    )
