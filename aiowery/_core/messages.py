"""HTTP requests and responses as values, independent of any HTTP library."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import attrs

from aiowery._base.text import MAX_ID, safe_text, some_of
from aiowery._core.codec import lenient_number, named_ids
from aiowery._core.fields import replace_surrogates
from aiowery.errors import ConfigurationError, UnexpectedResponse

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "x-trace-id", "trace-id", "x-amzn-requestid", "cf-ray")
_REQUEST_ID_FIELDS = ("request_id", "requestId", "trace_id", "traceId")
_GATEWAY_CODES = ("status", "statusCode", "code")
_MAX_EXCERPT = 300
_MAX_CHARACTER = 4  # bytes of UTF-8
_MAX_SEARCHED = 300
MAIN_HOST = "main"
"""The name of the provider's default host."""


@attrs.frozen(kw_only=True)
class MultipartForm:
    """A multipart/form-data body with one file and some text fields; the file is the part `file`."""

    filename: str
    """The name of the file."""
    content: bytes = attrs.field(repr=False)
    """The bytes of the file."""
    content_type: str
    """The media type of the file."""
    fields: Mapping[str, str] = attrs.field(factory=dict)
    """The text fields by name."""


@attrs.frozen
class HttpRequest:
    """One HTTP request to a provider. It has a body, or a form, or neither."""

    method: Literal["GET", "POST"]
    """The HTTP method."""
    path: str
    """The path below the base URL of `host`; it begins with a slash."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """The JSON body; None if there is none."""
    form: MultipartForm | None = attrs.field(default=None, kw_only=True)
    """The multipart body; None if there is none."""
    host: str = attrs.field(default=MAIN_HOST, kw_only=True)
    """The name of one of the provider's hosts."""
    timeout: float | None = attrs.field(default=None, kw_only=True)
    """The read timeout in seconds; None for the client's own."""


def json_body(values: Mapping[str, Any]) -> bytes:
    """Return the values as JSON. Raises ConfigurationError for a value that JSON cannot hold."""
    try:
        return json.dumps(values, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise ConfigurationError(
            f"the request cannot be written as JSON: {fault}. Nothing was sent: check `extra`"
        ) from fault


@attrs.frozen
class HttpResponse:
    """One complete HTTP response."""

    http_status: int
    """The HTTP status code."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The headers, with names in lower case. Not in the repr: a server may quote the API key."""
    body: bytes = attrs.field(repr=False)
    """The whole body. Not in the repr either."""

    @property
    def success(self) -> bool:
        """True if the HTTP status is 2xx."""
        return 200 <= self.http_status < 300  # noqa: PLR2004 - HTTP's range of success

    @property
    def redirect(self) -> bool:
        """True if the HTTP status is 3xx, a redirect."""
        return 300 <= self.http_status < 400  # noqa: PLR2004 - HTTP's range of redirects

    def json(self) -> Any:
        """Return the decoded JSON body; all its texts can be encoded. Raises UnexpectedResponse if it is not JSON."""
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
        """Return the decoded JSON body, or None if it is not JSON."""
        try:
            return self.json()
        except UnexpectedResponse:
            return None

    def unexpected(self, what: str, fault: str, raw: Any = None, request_id: str | None = None) -> UnexpectedResponse:
        """Return the error for a response outside the contract. `fault` names the path and what is expected there."""
        return UnexpectedResponse(
            f"HTTP {self.http_status}: {what}",
            http_status=self.http_status,
            raw=raw,
            faults=(fault,),
            request_id=request_id or self.request_id,
        )

    def check_task(
        self, task_id: str, named: Iterable[str], where: str, raw: Any = None, request_id: str | None = None
    ) -> None:
        """Raise UnexpectedResponse if a status response names tasks, and `task_id` is not among them.

        It then belongs to another request, whatever it reports. `where` is the path at which the id is expected.
        """
        ids = tuple(dict.fromkeys(named))
        if ids and task_id not in ids:
            what = f"the status of task {task_id} was requested, the response is about {some_of(named_ids(ids))}"
            raise self.unexpected(what, f"{where}: {task_id!r} is expected", raw, request_id)

    def redirect_error(self, raw: Any, request_id: str | None = None) -> UnexpectedResponse:
        """Return the error for a redirect. None is followed: the key and a paid POST are for this host alone."""
        target = self.headers.get("location", "no address")[:_MAX_EXCERPT]
        what = f"redirects to {target}; if that is the provider's address, set base_url to it"
        return self.unexpected(what, "$: no redirect is expected", raw, request_id)

    @property
    def excerpt(self) -> str:
        """The first 300 characters of the body, without newlines, and with a ? for each control character."""
        return safe_text(self.body[: _MAX_CHARACTER * _MAX_EXCERPT].decode("utf-8", "replace")[:_MAX_EXCERPT].strip())

    @property
    def request_id(self) -> str | None:
        """The id of the response in the provider's history, from the headers; None if they have none."""
        found = (safe_text(self.headers[name], MAX_ID) for name in _REQUEST_ID_HEADERS if self.headers.get(name))
        return next(found, None)

    def request_id_in(self, *bodies: Any) -> str | None:
        """Return the first request id in these decoded objects, else the one in the headers."""
        return next(_request_ids(bodies), self.request_id)

    def retry_after(self, now: datetime | None = None) -> float | None:
        """Return the seconds in the Retry-After header, which may hold a number or an HTTP date; None without one."""
        return parse_retry_after(self.headers.get("retry-after"), now or datetime.now(UTC))


def mentions(text: str, pattern: re.Pattern[str]) -> bool:
    """Return True if the first 300 characters of a foreign text contain a match of the pattern."""
    return pattern.search(text, 0, _MAX_SEARCHED) is not None


def names_http_status(*parts: Any) -> bool:
    """Return True if one of these objects has an HTTP status as its code: gateways write that, as number or text."""
    codes = (part.get(name) for part in parts if isinstance(part, Mapping) for name in _GATEWAY_CODES)
    return any(is_http_status(code) for code in codes)


def is_http_status(code: Any) -> bool:
    """Return True for the number of an HTTP status, also if it is written as text."""
    number = lenient_number(code)
    return number is not None and 100 <= number < 600  # noqa: PLR2004 - HTTP's range of statuses


def _repaired_json(body: bytes) -> Any:
    """Decode JSON, with U+FFFD in place of each invalid character, such as half of an emoji."""
    is_utf8 = body.startswith(b'{"')  # the beginning of an object in UTF-8 only
    text = body.decode("utf-8" if is_utf8 else json.detect_encoding(body), "replace")
    value = json.loads(text)
    if "\\ud" in text.lower():  # only an escape can be a lone surrogate
        value = json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))
    return value


def _request_ids(bodies: Iterable[Any]) -> Iterator[str]:
    for body in bodies:
        if isinstance(body, Mapping):
            for name in _REQUEST_ID_FIELDS:
                value = body.get(name)
                if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                    yield safe_text(str(value), MAX_ID)


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds to wait, never negative; None if the text is neither a number nor a date to come.

    Of a repeated header, whose values are joined by commas, the first number counts.
    """
    if text is None:
        return None
    number = text.partition(",")[0]
    try:
        seconds = float(number)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        seconds = (date - now).total_seconds()
    # float() accepts NaN and infinity, but a timer does not.
    return seconds if 0 <= seconds < 1e9 else None  # noqa: PLR2004 - thirty years
