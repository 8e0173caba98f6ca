"""HTTP requests and responses, written and read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf, isfinite, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiowery._core.messages import HttpResponse, json_body, parse_retry_after
from aiowery.errors import ConfigurationError, UnexpectedResponse

NOW = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        (".25", 0.25),
        ("1e2", 100.0),
        ("5, 7", 5.0),
        ("-3", None),
        ("-0.5", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e400", None),
        ("99999999999", None),
        ("Mon, 05 Jan 2026 12:00:30 GMT", 30.0),
        ("Mon, 05 Jan 2026 12:00:30", 30.0),
        ("Mon, 05 Jan 2026 13:00:30 +0100", 30.0),
        ("Monday, 05-Jan-26 12:01:00 GMT", 60.0),
        ("Mon Jan  5 12:00:05 2026", 5.0),
        ("Mon, 05 Jan 2026 12:00:00 GMT", 0.0),
        ("Mon, 05 Jan 2026 11:59:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("Mon, 32 Jan 2026 12:00:00 GMT", None),
        ("Mon, 05 Jan 2026 12:00:00 +9999", None),
        ("", None),
        ("soon", None),
        ("1,5", 1.0),
        ("0x10", None),
        ("12 seconds", None),
        ("2026-01-05T12:00:30Z", None),
    ],
)
def test_parse_retry_after_each_form(text: str | None, seconds: float | None) -> None:
    """Seconds, decimals and HTTP dates are read. A past moment and a value beyond any timer are None."""
    assert parse_retry_after(text, NOW) == seconds


dates = st.from_regex(
    r"\A(\w{3,9},? )?\d{1,2}[ -](Jan|Feb|Dec|Foo)[ -]\d{1,5} \d{1,3}:\d\d(:\d\d)? ?([+-]\d{4}|GMT|-0000)?\Z",
    fullmatch=True,
)


@given(text=st.text(max_size=30) | st.floats().map(str) | dates | st.text("0123456789-+.:, eE", max_size=25))
@example(text="01 Jan 0001 00:00:00 +2359")
@example(text="01 Jan 0000 00:00:00")
@example(text="\x00")
def test_parse_retry_after_any_text_is_a_usable_pause_or_none(text: str) -> None:
    """For any text of a server, the result is None or a pause that a timer accepts."""
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or (isfinite(seconds) and 0 <= seconds < 1e9)


@given(away=st.integers(-(10**6), 10**6))
def test_parse_retry_after_date_is_the_time_until_then(away: int) -> None:
    """A future date is the time until then, and a past date is no pause at all."""
    moment = format_datetime(NOW + timedelta(seconds=away), usegmt=True)
    assert parse_retry_after(moment, NOW) == (away if away >= 0 else None)


def test_response_retry_after_date_counts_from_now() -> None:
    """Without a given moment, a date counts from now."""
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    seconds = HttpResponse(429, {"retry-after": later}, b"").retry_after()
    assert seconds is not None
    assert 3500 < seconds <= 3600
    assert HttpResponse(429, {}, b"").retry_after() is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values=st.dictionaries(st.text(), json_values, max_size=4))
@example(values={"half a pair": "\ud800"})
def test_json_body_is_ascii_with_equal_values(values: dict[str, Any]) -> None:
    """The values are read as they were given, from ASCII that every proxy can carry."""
    body = json_body(values)
    assert body.isascii()
    assert json.loads(body) == values


def circle() -> list[Any]:
    """Return a list that contains itself."""
    items: list[Any] = []
    items.append(items)
    return items


def deep() -> Any:
    """Return a list that is nested too deeply for any parser."""
    items: Any = 0
    for _ in range(100_000):
        items = [items]
    return items


@pytest.mark.parametrize(
    "make",
    [lambda: nan, lambda: -inf, lambda: b"x", lambda: {1}, object, circle, deep, lambda: 10**5000, lambda: {(1, 2): 3}],
    ids=["nan", "infinity", "bytes", "set", "object", "circle", "deep", "huge", "tuple-key"],
)
def test_json_body_value_without_json_raises_configuration_error(make: Any) -> None:
    """The error comes before anything is sent, and names `extra`, the only possible source."""
    with pytest.raises(ConfigurationError, match=r"cannot be written as JSON: .*check `extra`"):
        json_body({"a": make()})


@pytest.mark.parametrize(
    ("status", "success", "redirect"),
    [
        (100, False, False),
        (199, False, False),
        (200, True, False),
        (299, True, False),
        (300, False, True),
        (399, False, True),
        (400, False, False),
        (500, False, False),
    ],
)
def test_response_success_and_redirect_by_status(status: int, success: bool, redirect: bool) -> None:
    """2xx is a success and 3xx a redirect, and no status is both."""
    response = HttpResponse(status, {}, b"")
    assert (response.success, response.redirect) == (success, redirect)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "an empty body"),
        (b" \r\n", "an empty body"),
        (b"<p>no</p>", "a body that is not JSON ('<p>no</p>')"),
        (b'{"a": ', "a body that is not JSON ('{\"a\":')"),
        (b"\xff\xfe\xfd", "a body that is not JSON ('"),
        (b"[" * 100_000, "a body that is not JSON ('[["),
        (b"9" * 5000, "a body that is not JSON ('99"),
    ],
    ids=["empty", "blank", "html", "truncated", "no-text", "deep", "huge-number"],
)
def test_response_json_invalid_body_raises_short_error(body: bytes, what: str) -> None:
    """The error has the status, the beginning of the body and the request id, and is short."""
    with pytest.raises(UnexpectedResponse) as caught:
        HttpResponse(200, {"cf-ray": "ray-1"}, body).json()
    error = caught.value
    assert f"HTTP 200 with {what}" in str(error)
    assert (error.http_status, error.request_id, error.faults) == (200, "ray-1", ("$: JSON is expected",))
    assert len(str(error)) < 1000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_response_json_any_unicode_encoding_is_read(encoding: str) -> None:
    """JSON in another Unicode encoding is read too."""
    assert HttpResponse(200, {}, '{"a": "é"}'.encode(encoding)).json() == {"a": "é"}


@given(body=st.binary(max_size=900))
def test_response_excerpt_is_one_short_text_line(body: bytes) -> None:
    """An excerpt has at most 200 characters and no line breaks, for any bytes."""
    excerpt = HttpResponse(200, {}, body).excerpt
    assert len(excerpt) <= 200
    assert len(excerpt.splitlines()) <= 1
    assert excerpt.encode().decode() == excerpt


@pytest.mark.parametrize(
    ("headers", "bodies", "request_id"),
    [
        ({}, [], None),
        ({"x-request-id": "h"}, [], "h"),
        ({"cf-ray": "edge", "x-request-id": "h"}, [], "h"),
        ({"cf-ray": "edge", "x-request-id": ""}, [], "edge"),
        ({"trace-id": "t"}, [None, [1], "x"], "t"),
        ({"x-request-id": "h"}, [{"request_id": "b"}], "b"),
        ({"x-request-id": "h"}, [{}, {"requestId": "d"}], "d"),
        ({"x-request-id": "h"}, [{"trace_id": "b"}, {"request_id": "d"}], "b"),
        ({}, [{"traceId": 0}], "0"),
        ({"x-request-id": "h"}, [{"request_id": ""}], "h"),
        ({"x-request-id": "h"}, [{"request_id": None, "traceId": True}], "h"),
        ({"x-request-id": "h"}, [{"request_id": ["x"]}], "h"),
    ],
    ids=str,
)
def test_request_id_in_prefers_body_to_headers(
    headers: dict[str, str], bodies: list[Any], request_id: str | None
) -> None:
    """The body comes before the headers, the envelope before the data, and an empty id counts as none."""
    assert HttpResponse(200, headers, b"").request_id_in(*bodies) == request_id


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"msg": "half \\ud83d"}', {"msg": "half \ufffd"}),
        (b'{"msg": "whole \\ud83d\\ude00"}', {"msg": "whole \U0001f600"}),
        (b'["\\UD83D", "\\uD83D"]', None),
        (b'{"\\udc00": [{"a": "x\\udc00"}]}', {"\ufffd": [{"a": "x\ufffd"}]}),
        (b'{"msg": "raw \xed\xa0\x80"}', {"msg": "raw \ufffd\ufffd\ufffd"}),
        (b'{"id": "t1", "msg": "cut \xf0\x9f"}', {"id": "t1", "msg": "cut \ufffd"}),
        ('{"msg": "half \\ud83d"}'.encode("utf-16"), {"msg": "half \ufffd"}),
        (b'{"msg": "no escape: \\\\ud83d"}', {"msg": "no escape: \\ud83d"}),
        ('{"msg": "\ud55c\uad6d"}'.encode(), {"msg": "\ud55c\uad6d"}),
    ],
    ids=[
        "half an emoji",
        "a whole one",
        "no json",
        "in names",
        "raw bytes",
        "cut bytes",
        "utf-16",
        "no escape",
        "korean",
    ],
)
def test_response_json_lone_surrogate_is_replaced(body: bytes, value: Any) -> None:
    """Texts that are cut within an emoji can be written and shown, and ids beside them are not lost."""
    assert HttpResponse(200, {}, body).json_or_none() == value


def test_response_unexpected_has_status_fault_and_request_id() -> None:
    """The error has the status, the path of the fault, and the id for the provider's request history."""
    error = HttpResponse(200, {"x-request-id": "r1"}, b"[]").unexpected(
        "no models", "$.models: an array is expected", []
    )
    assert (str(error), error.http_status, error.faults) == (
        "HTTP 200: no models",
        200,
        ("$.models: an array is expected",),
    )
    assert error.request_id == "r1"
