"""Validation of request parameters, with the error messages of the provider."""

from __future__ import annotations

import base64
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import attrs

from aiowery.sandbox._response import parameter_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiowery.sandbox._tasks import TaskSpec

Shape = Literal["batch", "task", "podcast", "research"]
"""Format of the response to a submission: a batch, one task, or one of two special formats."""

_OTHER_FILES = frozenset(
    {"gif", "bmp", "tif", "tiff", "svg", "ico", "heic", "heif", "avif", "psd"}
    | {"mp4", "mov", "m4v", "avi", "mkv", "webm", "mp3", "wav", "m4a", "aac", "ogg", "flac"}
    | {"txt", "pdf", "md", "csv", "json", "xml", "html", "htm", "doc", "docx", "xlsx", "pptx", "zip", "exe"}
)
_INT64 = range(-(2**63), 2**63)
_SPACE = re.compile(r"\s")


@attrs.frozen
class Field:
    """A documented parameter: its name, its label in error messages, and its rules.

    `max_length` bounds a text, `minimum` and `maximum` a number, `min_items` and `max_items` a list. Each item of a
    list is checked by `item`. `check_value` returns the provider's error message for a value that it rejects. The
    values in `spellings` are accepted although their type is another one.
    """

    name: str
    label: str
    type: type = str
    required: bool = False
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_items: int = 0
    max_items: int | None = None
    choices: Collection[Any] | None = None
    allowed: Callable[[Any], bool] | None = None
    check_value: Callable[[Any], str | None] | None = None
    item: Field | None = None
    spellings: tuple[Any, ...] = ()

    def check(self, params: Mapping[str, Any]) -> None:
        """Raise `Refused` (code 1001) if the parameter breaks a rule. null and blank text count as missing."""
        value = params.get(self.name)
        is_blank = is_empty(value)
        if self.required and (is_blank or value in ([], {})):
            raise parameter_error(f"{self.label} cannot be empty")
        if value is None or (is_blank and self.type is str) or value in self.spellings:
            return
        if not self._fits(value):
            raise parameter_error(f"{self.label} is not supported")
        self._check_limits(value)
        for item in value if self.item and isinstance(value, list) else ():
            self.item.check({self.item.name: item})  # type: ignore[union-attr]

    def _fits(self, value: Any) -> bool:
        """Return True if the value has the field's type. Booleans are no numbers, and integers have at most 64 bits."""
        if type(value) is int:
            return self.type in {int, float} and value in _INT64
        return type(value) is self.type

    def _check_limits(self, value: Any) -> None:
        if self.max_length is not None and len(value) > self.max_length:
            raise parameter_error(f"{self.label} exceeds the limit of {self.max_length} characters")
        if isinstance(value, list) and not self.min_items <= len(value) <= (self.max_items or len(value)):
            raise parameter_error(f"{self.label} exceeds the limit")
        if self._out_of_bounds(value):
            raise parameter_error(f"{self.label} is not supported")
        problem = self.check_value(value) if self.check_value else None
        if problem:
            raise parameter_error(problem)

    def _out_of_bounds(self, value: Any) -> bool:
        return (
            (self.minimum is not None and value < self.minimum)
            or (self.maximum is not None and value > self.maximum)
            or (self.choices is not None and value not in self.choices)
            or (self.allowed is not None and not self.allowed(value))
        )


@attrs.frozen
class Endpoint:
    """A submission endpoint.

    `to_spec` converts parameters that `fields` and `rule` have accepted. `rule` checks several parameters together.
    An endpoint with `has_webhook` sends deliveries to `webhook_url`.
    """

    path: str
    fields: tuple[Field, ...]
    to_spec: Callable[[Mapping[str, Any]], TaskSpec]
    shape: Shape = "task"
    rule: Callable[[Mapping[str, Any]], None] | None = None
    has_webhook: bool = True

    def read(self, params: Any) -> TaskSpec:
        """Validate a decoded body and convert it into a specification. Unknown parameters are accepted.

        Raises `Refused` with code 1001.
        """
        check(self.fields, self.rule, params)
        spec = self.to_spec(params)
        return attrs.evolve(spec, webhook_url=webhook_url_of(params)) if self.has_webhook else spec


def check(fields: tuple[Field, ...], rule: Callable[[Mapping[str, Any]], None] | None, params: Any) -> None:
    """Raise `Refused` (code 1001) for the first parameter that breaks a rule."""
    if not isinstance(params, dict):
        raise parameter_error("request body must be a JSON object")
    for field in fields:
        field.check(params)
    if rule is not None:
        rule(params)


def is_empty(value: Any) -> bool:
    """Return True if the parameter is missing, null or blank text."""
    return value is None or (isinstance(value, str) and not value.strip())


def webhook_url_of(params: Mapping[str, Any]) -> str | None:
    """Return the URL for webhook deliveries, None if there is none."""
    url: str | None = params.get("webhook_url")
    return None if is_empty(url) else url


def all_of(*rules: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """Return a rule that applies several rules in order."""

    def rule(params: Mapping[str, Any]) -> None:
        for one in rules:
            one(params)

    return rule


def one_of(*names: str) -> Callable[[Mapping[str, Any]], None]:
    """Return a rule that requires at least one of these parameters."""

    def rule(params: Mapping[str, Any]) -> None:
        if all(is_empty(params.get(name)) or params[name] in ([], {}) for name in names):
            raise parameter_error(f"{' and '.join(names)} cannot both be empty")

    return rule


def parse_url(value: str) -> SplitResult | None:
    """Split an HTTP or HTTPS URL into its parts. Returns None if it is invalid."""
    try:
        parts = urlsplit(value)
        is_web_url = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_web_url and not _SPACE.search(parts.netloc) else None


def extension_of(parts: SplitResult) -> str:
    """Return the file extension in lower case, without its dot."""
    return PurePosixPath(unquote(parts.path)).suffix.lower().lstrip(".")


def url(name: str, label: str, *, required: bool = True, images_only: bool = False) -> Field:
    """Return a field for a URL. With `images_only`, extensions of other kinds of files are refused."""

    def find_problem(value: str) -> str | None:
        parts = parse_url(value)
        if parts is None:
            return f"{label} error"
        if images_only and extension_of(parts) in _OTHER_FILES:
            return "only support jpg, jpeg, png, webp"
        return None

    return Field(name, label, required=required, check_value=find_problem)


def urls(
    name: str,
    label: str,
    *,
    required: bool = True,
    images_only: bool = False,
    min_items: int = 0,
    max_items: int | None = None,
) -> Field:
    """Return a field for a list of URLs."""
    item = url(name, label, images_only=images_only)
    return Field(name, label, list, required=required, min_items=min_items, max_items=max_items, item=item)


def matching(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    """Return a function that checks if a text matches `pattern` completely."""
    return lambda value: pattern.fullmatch(value) is not None


def is_base64(value: str) -> bool:
    """Return True if a text is base64, with or without the prefix of a data URL."""
    content = value.partition(";base64,")[2] if value.startswith("data:") else value
    try:
        return bool(base64.b64decode(content, validate=True))
    except ValueError:
        return False


def texts_of(params: Mapping[str, Any], *names: str) -> str:
    """Return the texts of these parameters, joined and with URLs unquoted, so that markers in them are found."""
    values = [params.get(name) for name in names]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return " ".join(unquote(text) for text in texts if isinstance(text, str))


CALLER = Field("caller_id", "caller id", int)
COMMON = (url("webhook_url", "webhook url", required=False), CALLER)
