"""Texts of requests: what can be neither seen nor sent is refused, and BOMs are taken out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from aiowery.errors import ConfigurationError

_BOM: Final = "\ufeff"
_FAULTS: Final[Mapping[str, str]] = {
    "\0": "a NUL character: the text may be UTF-16; save it as UTF-8",
    "\x1a": "the control character Ctrl-Z, an old mark of the end of a file; remove it",
}
_FAULTY: Final = re.compile(r"[\x00\x1a\ud800-\udfff]")
# Letters and a symbol by their category, which show nothing.
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def clean_values(value: Any, name: str = "the request") -> Any:
    """Return the texts in a JSON value without BOMs. Raises ConfigurationError for one that is unusable."""
    if isinstance(value, str):
        return clean_text(value, name)
    if isinstance(value, Mapping):
        return {key: clean_values(member, str(key)) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_values(member, name) for member in value]
    return value


def clean_text(text: str, name: str) -> str:
    """Return a text without BOMs.

    Raises ConfigurationError for NUL characters, Ctrl-Z and lone surrogates, and for a text that shows nothing although
    it is not blank.
    """
    found = _FAULTY.search(text)
    if found is not None:
        what = _FAULTS.get(found[0], "an invalid character (a lone surrogate); write it anew")
        raise ConfigurationError(f"{name} holds {what}")
    text = text.replace(_BOM, "")
    if text.strip() and not any(map(_is_visible, text)):
        raise ConfigurationError(f"{name} holds only characters that cannot be seen; write a text, or leave it out")
    return text


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] not in "CMZ" and character not in _BLANKS
