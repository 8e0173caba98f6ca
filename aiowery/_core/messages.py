"""What goes over the wire, as values that know no HTTP library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import attrs

from aiowery._core.fields import replace_surrogates
from aiowery.errors import ConfigurationError, InvalidRequest, UnexpectedResponse

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-trace-id", "trace-id", "x-amzn-requestid", "cf-ray")
_REQUEST_ID_FIELDS = ("request_id", "requestId", "trace_id", "traceId")
_SHOWN = 200
_SEARCHED = 300
# Redirects that prove that nothing was done: the same request belongs elsewhere.
_UNTOUCHED = frozenset({301, 302, 307, 308})
MAIN_HOST = "main"


@attrs.frozen(kw_only=True)
class MultipartForm:
    """A file and a few texts, sent as multipart/form-data; the file is the part called `file`."""

    filename: str
    content: bytes = attrs.field(repr=False)
    content_type: str
    fields: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class HttpRequest:
    """One HTTP call: `path` begins with a slash and is relative to the provider's host, or to another of its `host`s.

    `body` is JSON; a call has a body, or a form, or neither. `timeout`: seconds, where the client's own would not do.
    """

    method: Literal["GET", "POST"]
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    form: MultipartForm | None = attrs.field(default=None, kw_only=True)
    host: str = attrs.field(default=MAIN_HOST, kw_only=True)
    timeout: float | None = attrs.field(default=None, kw_only=True)


def json_body(values: Mapping[str, Any]) -> bytes:
    """Return the values as JSON; ConfigurationError for what JSON cannot hold."""
    try:
        return json.dumps(values, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise ConfigurationError(f"the request cannot be written as JSON: {fault}; check `extra`") from fault


@attrs.frozen
class HttpResponse:
    """One whole HTTP answer; header names are in lower case."""

    http_status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def success(self) -> bool:
        """Whether the HTTP status is a 2xx."""
        return 200 <= self.http_status < 300  # noqa: PLR2004 - the range that HTTP calls successful

    @property
    def redirect(self) -> bool:
        """Whether the server points elsewhere."""
        return 300 <= self.http_status < 400  # noqa: PLR2004 - the range that HTTP calls redirection

    def json(self) -> Any:
        """Return the body's JSON, whose texts can all be written; UnexpectedResponse when there is none."""
        try:
            return _repaired_json(self.body)
        except (ValueError, RecursionError) as fault:
            what = "an empty body" if not self.body.strip() else f"a body that is not JSON ({self.excerpt!r})"
            raise UnexpectedResponse(
                f"HTTP {self.http_status} with {what}; if this persists, check base_url and any proxy",
                http_status=self.http_status,
                raw=self.excerpt,
                faults=("$: JSON is expected",),
                request_id=self.request_id,
            ) from fault

    def json_or_none(self) -> Any:
        """Return the body's JSON, None when there is none."""
        try:
            return self.json()
        except UnexpectedResponse:
            return None

    def unexpected(self, what: str, fault: str, raw: Any = None, request_id: str | None = None) -> UnexpectedResponse:
        """Return the error for an answer outside the contract: what is wrong, and where."""
        return UnexpectedResponse(
            f"HTTP {self.http_status}: {what}",
            http_status=self.http_status,
            raw=raw,
            faults=(fault,),
            request_id=request_id or self.request_id,
        )

    def redirect_error(self, raw: Any, request_id: str | None = None) -> InvalidRequest | UnexpectedResponse:
        """Return the error for a redirect, which is not followed: the key is for this host, and a paid POST too."""
        target = self.headers.get("location", "nowhere")
        if self.http_status not in _UNTOUCHED:
            return self.unexpected(f"points to {target}", "$: an answer of this address is expected", raw, request_id)
        return InvalidRequest(
            f"HTTP {self.http_status} points to {target}; set base_url to the final address",
            http_status=self.http_status,
            raw=raw,
            request_id=request_id or self.request_id,
        )

    @property
    def excerpt(self) -> str:
        """The body's beginning as one line of text."""
        return " ".join(self.body[:_SHOWN].decode("utf-8", "replace").split())

    @property
    def request_id(self) -> str | None:
        """The id under which the provider's call history may know this exchange, from headers only."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if self.headers.get(name)), None)

    def request_id_in(self, *bodies: Any) -> str | None:
        """Return the first request id that one of these decoded objects carries, else the headers'."""
        return next(_named_ids(bodies), self.request_id)

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Return the seconds that a Retry-After header asks for: seconds, decimals or an HTTP date."""
        return parse_retry_after(self.headers.get("retry-after"), now or datetime.now(UTC))


def mentions(text: str, words: re.Pattern[str]) -> bool:
    """Return True if the first 300 characters of a text from outside contain a match of the pattern."""
    return words.search(text, 0, _SEARCHED) is not None


def _repaired_json(body: bytes) -> Any:
    """Read JSON; a mark stands for what is no character, such as an emoji that was cut in two."""
    usual = body.startswith(b'{"')  # which no other encoding than UTF-8 begins with
    text = body.decode("utf-8" if usual else json.detect_encoding(body), "replace")
    value = json.loads(text)
    if "\\ud" in text.lower():  # half a character has no other way in
        value = json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))
    return value


def _named_ids(bodies: Iterable[Any]) -> Iterator[str]:
    for body in bodies:
        if isinstance(body, Mapping):
            for name in _REQUEST_ID_FIELDS:
                value = body.get(name)
                if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                    yield str(value)


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return seconds to wait, never negative; None when the text says nothing usable."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    # NaN and infinity are numbers to float(), but not to a timer.
    return max(0.0, seconds) if abs(seconds) < 1e9 else None  # noqa: PLR2004 - thirty years
