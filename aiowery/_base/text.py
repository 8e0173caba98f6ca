"""Texts from outside, made safe and short for files, logs, events and errors.

This is the only module that cleans them. What is reported of a response, such as a status, a reason or a message,
passes `safe_text`. What the caller asked for, such as lyrics and ids, stays as it came; in URLs, unprintable characters
are escaped.
"""

from __future__ import annotations

import re
import secrets
import sys
import unicodedata
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

MAX_ID: Final = 256
"""The most characters of an id from outside; a longer one is refused, because a part of it would be another id."""
MAX_STATUS: Final = 64
"""The most characters that are kept of a raw status, or of a code."""
MAX_MESSAGE: Final = 2_000
"""The most characters that are kept of a message or a reason."""
MAX_LABEL: Final = 300
"""The most characters of a label in logs, events and errors."""
MAX_OUTPUTS: Final = 1_000
"""The most output files of one task that are kept."""

_MAX_NAME: Final = 80
_MAX_BEGINNING: Final = 50
_MAX_SHOWN: Final = 5
_UNSAFE: Final = re.compile(r"[^\w.]+")
_MAX_READ: Final = 4_000
_JOINERS: Final = "\u200c\u200d"
_GAP: Final = " ... "
_END_SHARE: Final = 4
# Devices of Windows, with any suffix.
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³")}
)


def bounded(text: str, longest: int = MAX_MESSAGE) -> str:
    """Return a text from outside with at most so many characters: what is too long loses its middle."""
    if len(text) <= longest:
        return text
    end = longest // _END_SHARE
    return text[: longest - end - len(_GAP)] + _GAP + text[-end:]


def safe_text(text: str, longest: int = MAX_MESSAGE) -> str:
    """Return a text from outside as one printable line of text with at most so many characters."""
    text = bounded(text, longest)
    return text if text.isprintable() else printable(" ".join(text.split()))


def safe_or_none(text: str | None, longest: int = MAX_MESSAGE) -> str | None:
    """Return an optional text from outside as `safe_text` does."""
    return None if text is None else safe_text(text, longest)


def printable(text: str, kept: str = "") -> str:
    """Return a text with a ? for each unprintable character, except those `kept`.

    These are control characters, escapes, line breaks, marks of direction, and lone surrogates.
    """
    return text if text.isprintable() else "".join(one if one.isprintable() or one in kept else "?" for one in text)


def printable_url(url: str) -> str:
    """Return a URL with percent-escapes for its unprintable characters, so that it is printable and still the same."""
    if url.isprintable():
        return url
    return "".join(one if one.isprintable() else quote(one, safe="", errors="replace") for one in url)


def clean_name(text: str, max_bytes: int = _MAX_NAME) -> str:
    """Return the text as one safe path component: letters, digits, dots and dashes, never hidden or empty.

    Letters keep their accents. Those that the encoding of the file system lacks become similar ones or are left out.
    The name of a device of Windows, such as "nul", gets a suffix.
    """
    whole = composed(text[:_MAX_READ].encode("utf-8", "ignore").decode())
    joined = composed(_UNSAFE.sub(_joined, whole))
    name = _cut_name(_encodable(_cut_name(joined, max_bytes)), max_bytes)
    base, dot, rest = name.partition(".")
    return _cut_name(f"{base}-file{dot}{rest}", max_bytes) if base.lower() in _RESERVED else name


def composed(text: str) -> str:
    """Return a text in Unicode's form NFC, in which equal letters are equal code points."""
    return unicodedata.normalize("NFC", text)


def _joined(found: re.Match[str]) -> str:
    """Return what replaces characters that are no letters: the accents of the letter before them, and a dash."""
    accents, letter = "", found.string[max(0, found.start() - 1) : found.start()]
    for character in found[0]:
        is_accent = unicodedata.category(character).startswith("M")
        if not letter.isalnum() or not (is_accent or character in _JOINERS):
            return f"{accents}-"
        accents += character if is_accent else ""
    return accents


def _encodable(name: str) -> str:
    """Return a name in characters that the file system's encoding has."""
    encoding = sys.getfilesystemencoding()
    try:
        name.encode(encoding)
    except UnicodeEncodeError:
        return _UNSAFE.sub("-", "".join(_similar(character, encoding) for character in name))
    return name


def _similar(character: str, encoding: str) -> str:
    """Return a character, or those of its parts that an encoding has: "o" for "ö" in ASCII."""
    if not character.encode(encoding, "ignore"):
        character = unicodedata.normalize("NFKD", character)
    return character.encode(encoding, "ignore").decode(encoding)


def _cut_name(name: str, max_bytes: int) -> str:
    return name.strip("-._").encode()[:max_bytes].decode("utf-8", "ignore").rstrip("-._") or "file"


def shorten(text: str) -> str:
    """Return the beginning of a text: at most 50 printable characters on one line of text."""
    short = printable(" ".join(text.split()))
    return short if len(short) <= _MAX_BEGINNING else short[: _MAX_BEGINNING - 3] + "..."


def some_of(ids: Sequence[str]) -> str:
    """Return the first five ids as text, and the number of further ones."""
    more = f" and {len(ids) - _MAX_SHOWN} more" if len(ids) > _MAX_SHOWN else ""
    return f"{', '.join(ids[:_MAX_SHOWN])}{more}"


def synchronous_task_id() -> str:
    """Return a new task id, made by the client for a direct response that contains none."""
    return f"answered-at-once-{secrets.token_hex(6)}"
