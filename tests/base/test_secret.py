"""A secret is shown nowhere: not in a repr, a text, a container, a pickle, or a traceback with local variables."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest

from aiowery._base.secret import HoldsSecret, Secret, hide

TEXT = "sk-made-up-key-0123456789"


@attrs.frozen
class Settings:
    """A value that has a secret."""

    key: Secret


def test_secret_is_revealed_by_its_method_alone() -> None:
    """No way of making a text of it, or of what contains it, shows it."""
    secret = Secret(TEXT)
    assert secret.reveal() == TEXT
    shown = (repr(secret), str(secret), f"{secret}", repr([secret]), repr(Settings(secret)))
    assert [text for text in shown if TEXT in text] == []


def test_secret_pickle_does_not_contain_it() -> None:
    """Unpickled, it is empty, so that nothing is sent with it."""
    data = pickle.dumps(Settings(Secret(TEXT)))
    assert TEXT.encode() not in data
    assert not pickle.loads(data).key  # noqa: S301 - bytes that this test pickled
    assert copy.copy(Secret(TEXT)) == copy.deepcopy(Secret(TEXT)) == Secret(TEXT)


def test_secret_compares_and_hashes_by_its_text() -> None:
    """It can be a key of a mapping; it differs from the plain text."""
    assert Secret(TEXT) in {Secret(TEXT): 1}
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT
    assert not Secret()


def test_hide_hides_texts_only() -> None:
    """A callable that returns a key, and None, stay as they are."""
    assert hide(TEXT) == Secret(TEXT)
    assert hide(None) is None
    assert hide(len) is len


def test_object_that_holds_a_secret_is_not_pickled() -> None:
    """An object with the secret in another form refuses, instead of writing that form."""
    with pytest.raises(TypeError, match="holds a secret"):
        pickle.dumps(HoldsSecret())
