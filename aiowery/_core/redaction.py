"""Take API keys out of texts that leave the client: errors, log records, `raw`, the ledger.

A server may quote a key in five spellings: plain, with the escapes of JSON, percent-encoded, with the entities of HTML,
or within base64. Each is found in capital and small letters alike.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping
from operator import attrgetter
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits
from typing import Any, Final, TypeVar
from urllib.parse import quote, quote_plus

from aiowery._base.secret import HoldsSecret, Secret

Text = TypeVar("Text", str, bytes)

MIN_KEY_LENGTH: Final = 8
"""The fewest characters of an API key. A shorter one would be found inside ordinary words."""
_STARS: Final = "***"
_MIN_PART: Final = 4
_MAX_KEYS: Final = 100
_SECRETS: Final = re.compile(r"(?i)\bbearer\s+\S+|\b(?:sk-|bw_)[\w-]{4,}")
_FORMS: Final = ("\\u{:04x}", "%{:02x}", "&#{};", "&#x{:x};")
"""An escaped character in JSON, in a URL and in HTML."""
_KEPT: Final = (f"{ascii_letters}{digits}-_", f"{ascii_letters}{digits}", "")
"""The characters that an encoder does not escape: the usual ones, only letters and digits, none."""
_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)
# The first characters of base64 that also depend on the bytes before, by the number of these in its group of three.
_BASE64_STARTS: Final = (0, 2, 3)


class KeyRedactor(HoldsSecret):
    """A redactor of one API key in all its spellings. It is made once for each key, not for each text."""

    def __init__(self, key: str) -> None:
        spellings = spellings_as_text(key) | base64_spellings(key.encode())
        texts = {spelling.translate(_LOWER) for spelling in spellings}
        self._texts = tuple(sorted(texts, key=len, reverse=True))  # one may contain another
        self._bytes = tuple(text.encode() for text in self._texts)
        self._bare = tuple({text.replace(b"\\", b"") for text in self._bytes})

    def __repr__(self) -> str:
        return f"KeyRedactor({_STARS})"

    @property
    def length(self) -> int:
        """The number of characters of the longest spelling."""
        return len(self._texts[0])

    def occurs_in(self, data: bytes) -> bool:
        """Return True if the key is quoted in these bytes, also with escapes of JSON within those of JSON."""
        lowered = data.lower()
        for spelling in self._bytes:  # any() would cost more than the search, for each response
            if spelling in lowered:
                return True
        if b"\\" not in lowered:
            return False
        bare = lowered.replace(b"\\", b"")
        return any(spelling in bare for spelling in self._bare)

    def redact(self, text: str) -> str:
        """Return a text without the key."""
        for spelling in self._texts:
            text = _replaced(text, text.translate(_LOWER), spelling, _STARS)
        return text

    def redact_json(self, value: Any) -> Any:
        """Return a JSON value without the key in its texts."""
        return redact_json(value, self.redact)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return a body without the key."""
        for spelling in self._bytes:
            data = _replaced(data, data.lower(), spelling, _STARS.encode())
        return data

    def redact_cut(self, text: str) -> str:
        """Return a text without the key, and without a beginning of it at the end, where the text may have been cut."""
        text = self.redact(text)
        lowered = text.translate(_LOWER)
        for spelling in self._texts:
            for length in range(min(len(spelling), len(text)), _MIN_PART - 1, -1):
                if lowered.endswith(spelling[:length]):
                    return text[:-length] + _STARS
        return text


def spellings_as_text(key: str) -> set[str]:
    """Return a text plain, and with the escapes of JSON, of URLs and of HTML."""
    escaped = json.dumps(key)[1:-1]
    entities = html.escape(key)
    return {
        key,
        escaped,
        escaped.replace("/", "\\/"),
        quote(key),
        quote(key, safe=""),
        quote_plus(key),
        entities,
        entities.replace("&#x27;", "&#39;"),
        *(_each(key, form, kept) for form in _FORMS for kept in _KEPT),
    }


def _each(key: str, form: str, kept: str) -> str:
    """Return the key with each character but the kept ones in this form."""
    return "".join(one if one in kept else form.format(ord(one)) for one in key)


def base64_spellings(key: bytes) -> set[str]:
    """Return what of the key's base64 does not depend on the bytes around it, at each of three places."""
    found = set()
    for before, start in enumerate(_BASE64_STARTS):
        end = (before + len(key)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(before) + key).decode()[start:end])
    return found


def _replaced(text: Text, lowered: Text, spelling: Text, stars: Text) -> Text:
    """Return a text with stars in place of a spelling; `lowered` is the same text in small letters."""
    found = lowered.find(spelling)
    if found < 0:
        return text
    parts: list[Text] = []
    start = 0
    while found >= 0:
        parts += [text[start:found], stars]
        start = found + len(spelling)
        found = lowered.find(spelling, start)
    parts.append(text[start:])
    return text[:0].join(parts)


_keys: Final[dict[Secret, KeyRedactor]] = {}
_length: Final = attrgetter("length")


def redact_key(key: Secret) -> None:
    """Redact this key from now on, whatever its form, if it has at least 8 characters.

    The latest 100 keys are kept in memory for this.
    """
    if len(key.reveal()) >= MIN_KEY_LENGTH and key not in _keys:
        _keys[key] = KeyRedactor(key.reveal())
        if len(_keys) > _MAX_KEYS:
            del _keys[next(iter(_keys))]


def redact(text: str) -> str:
    """Return the text with stars in place of all keys in use and everything in the form of an API key."""
    for redactor in sorted(_keys.values(), key=_length, reverse=True):  # a key may begin like another
        text = redactor.redact(text)
    return _SECRETS.sub(_STARS, text)


def redact_json(value: Any, redact_text: Callable[[str], str] = redact) -> Any:
    """Return a JSON value with all its texts and names redacted."""
    match value:
        case str():
            return redact_text(value)
        case Mapping():
            return {redact_text(name): redact_json(member, redact_text) for name, member in value.items()}
        case list() | tuple():
            return [redact_json(member, redact_text) for member in value]
        case _:
            return value
