"""Names of files that are made from texts in any script, for file systems of any encoding."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._base.text import clean_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mo\u0308wen im Flug", "M\u00f6wen-im-Flug"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0936", "\u0939\u093f\u0928\u094d\u0926\u0940-\u0936"),
        ("\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48", "\u0e17\u0e35\u0e48\u0e19\u0e35\u0e48"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"),
        ("x\u0302 y", "x\u0302-y"),
        (" \u0302\u0302 cat", "cat"),
        ("\u0302", "file"),
        ("a \U0001f3a8\ufe0f b", "a-b"),
    ],
)  # fmt: skip
def test_clean_name_keeps_the_marks_of_letters(text: str, name: str) -> None:
    """Marks belong to their letters, so that words of all scripts stay whole; marks alone are no name."""
    assert clean_name(text) == name


@given(st.text(st.sampled_from("ao\u0308\u0302\u093f\u200c .-_/\u00f6\ufb01\u00bd\u0132\uff0f\U0001f3a8")))
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_clean_name_fits_the_encoding_of_the_file_system(encoding: str, text: str) -> None:
    """A name that cannot be encoded would be an error after the output was paid for. Cleaning twice changes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "getfilesystemencoding", lambda: encoding)
        name = clean_name(text)
        assert name.encode(encoding)
        assert unicodedata.is_normalized("NFC", name)
        assert not set(name) & set("/\\ ")
        assert clean_name(name) == name


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("ascii", "zwolf-file-12"), ("latin-1", "zw\u00f6lf-file-\u00bd"), ("utf-8", "zw\u00f6lf-\ufb01le-\u00bd")],
)
def test_clean_name_uses_similar_letters(encoding: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A letter that the encoding lacks becomes those of its parts that it has."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    assert clean_name("zw\u00f6lf \ufb01le \u00bd") == name
