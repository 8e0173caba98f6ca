"""API keys are never shown: not in a repr, not in a log record, not in an error."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import RedactionFilter, WeryAI
from aiowery._base.secret import Secret
from aiowery._core.events import log
from aiowery._core.redaction import redact, redact_key
from aiowery._http.api_key import ApiKeySource
from aiowery.errors import ConfigurationError

KEY = "sk-4f9c-Secret_77"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Collect the output of a plain handler of the logger `aiowery`."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield stream
    log.removeHandler(handler)
    log.setLevel(level)


def key_error(source: ApiKeySource) -> Exception:
    """Return the error of an API key source without a valid key."""
    with pytest.raises(ConfigurationError) as caught:
        asyncio.run(source.key())
    return caught.value


@pytest.mark.parametrize("source", [KEY, lambda: KEY], ids=["string", "callable"])
def test_client_repr_hides_the_key(source: str | Callable[[], str]) -> None:
    """Neither the client nor its key source, nor any attribute of either, has a repr that contains the key."""
    client = WeryAI(source)
    assert KEY not in repr(client)
    assert KEY not in repr(client._config.api_key)
    for value in (*vars(client).values(), *attrs.asdict(client._config, recurse=False).values()):
        assert KEY not in repr(value)


def test_api_key_source_repr_after_use_hides_the_key() -> None:
    """The repr hides the key also after the key was read."""
    source = ApiKeySource(KEY)
    assert asyncio.run(source.key()).reveal() == KEY
    assert repr(source) == str(source) == "ApiKeySource(***)"


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\u20ac", f"{KEY}\x00", " "], ids=ascii)
def test_api_key_source_invalid_key_is_not_quoted(key: str) -> None:
    """The error explains the fault of the key, and its traceback does not repeat the key."""
    error = key_error(ApiKeySource(lambda: key))
    assert "api_key" in str(error)
    assert KEY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (f"key {KEY} refused", "key *** refused"),
        (f"Authorization: Bearer {KEY}", "Authorization: ***"),
        ("authorization: bearer abc.def/ghi=", "authorization: ***"),
        (f"{{'key': '{KEY}'}}", "{'key': '***'}"),
        (f"{KEY},{KEY}", "***,***"),
        ("BW_live-0001 and SK-ABCD", "*** and ***"),
        ("task_k3m9 at https://cdn.example/r/1.png", "task_k3m9 at https://cdn.example/r/1.png"),
        ("a risk-averse mask-maker", "a risk-averse mask-maker"),
        ("", ""),
    ],
)
def test_redact_hides_keys_and_nothing_else(text: str, safe: str) -> None:
    """Bearer tokens and both providers' keys become stars. Ids, URLs and other texts stay."""
    assert redact(text) == safe


@given(
    before=st.text(" \t\"'=:,({[", max_size=3), key=st.from_regex(r"\A(sk-|bw_)[A-Za-z0-9_-]{4,40}\Z"), after=st.text()
)
def test_redact_any_surroundings_hides_the_key(before: str, key: str, after: str) -> None:
    """Whatever stands around a key, it is removed, and a second redaction changes nothing."""
    safe = redact(f"{before}{key.strip()} {after}")
    assert key.strip() not in safe or key.strip() in after
    assert redact(safe) == safe


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (f"refused {KEY}", ()),
        ("refused %s", (KEY,)),
        ("refused %s and %r", ("task_1", {"authorization": f"Bearer {KEY}"})),
        ("refused %(key)s", ({"key": KEY},)),
        ("refused %s", (ValueError(f"bad key {KEY}"),)),
    ],
    ids=["message", "argument", "nested", "named", "exception"],
)
def test_log_record_contains_no_key(written: io.StringIO, message: str, args: tuple[Any, ...]) -> None:
    """The filter on the logger redacts the finished text, wherever the key came from."""
    log.warning(message, *args)
    assert KEY not in written.getvalue()
    assert written.getvalue().startswith("refused ")
    assert "***" in written.getvalue()


def test_log_record_without_key_keeps_its_arguments(written: io.StringIO) -> None:
    """Handlers that group records by message get it unchanged."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign,assignment]
    log.addHandler(handler)
    log.warning("task %s", "task_1")
    log.removeHandler(handler)
    assert (seen[0].msg, seen[0].args) == ("task %s", ("task_1",))
    assert written.getvalue() == "task task_1\n"


def test_redaction_filter_works_for_other_loggers() -> None:
    """The filter is exported, for handlers and loggers of other packages."""
    record = logging.LogRecord("other", logging.INFO, "file", 1, "key %s", (KEY,), None)
    assert RedactionFilter().filter(record) is True
    assert record.getMessage() == "key ***"


def test_log_traceback_contains_no_key(written: io.StringIO) -> None:
    """A logged traceback repeats the exception's text, which may quote a header."""
    log.error("unforeseen", exc_info=ValueError(f"header authorization: Bearer {KEY}"))
    assert "unforeseen" in written.getvalue()
    assert "ValueError" in written.getvalue()
    assert KEY not in written.getvalue()


@pytest.mark.parametrize(
    "base_url",
    [
        pytest.param(f"https://user:{KEY}@api.example", id="https"),
        pytest.param(f"http://user:{KEY}@api.example", id="http"),
        pytest.param(f"ftp://user:{KEY}@api.example", id="ftp"),
    ],
)
def test_client_base_url_with_credentials_is_refused_without_quoting(base_url: str) -> None:
    """Credentials do not belong in the URL, and the error does not repeat them."""
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        WeryAI("sk-other", base_url=base_url)
    assert KEY not in str(caught.value)


def test_redact_key_of_few_characters_leaves_text_unchanged() -> None:
    """A key of a few characters would occur within ordinary text, so only longer ones are replaced."""
    for key in ("sk", "task", "acme_made-up-key-of-this-test"):
        redact_key(Secret(key))
    assert redact("a task with acme_made-up-key-of-this-test") == "a task with ***"


def test_redact_key_that_begins_another_replaces_the_whole_of_both() -> None:
    """Of a long key, nothing remains although a shorter one, known earlier, is its beginning."""
    for key in ("plain-beginning", "plain-beginning-and-more"):
        redact_key(Secret(key))
    assert redact("plain-beginning-and-more, plain-beginning") == "***, ***"
