"""Requests, outcomes and accepted submissions, as frozen values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeVar

import attrs

from aiowery._base.snapshot import Kind, Snapshot
from aiowery._base.text import MAX_ID, safe_or_none
from aiowery._core.fields import FrozenMapping, short_repr, wire_names, wrong_request
from aiowery._core.result import Result
from aiowery.errors import AioweryError

R_co = TypeVar("R_co", bound=Result, covariant=True)


class Unset(enum.Enum):
    """The type of `DEFAULT`, which differs from None because None means "no limit"."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Unset.DEFAULT
"""The value of a parameter that was not given."""

Timeout = float | None | Literal[Unset.DEFAULT]
"""Seconds from acceptance; `None` waits without limit; `DEFAULT` depends on the request's kind (`PollPolicy`)."""


def check_timeout(timeout: object, name: str = "timeout") -> None:
    """Raise ConfigurationError unless the argument is DEFAULT, None, or a number of seconds >= 0."""
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not (timeout is DEFAULT or timeout is None or (is_number and timeout >= 0)):  # type: ignore[operator]
        raise wrong_request(
            f"{name} must be a number of seconds >= 0, or None to wait without end, got {short_repr(timeout)}"
        )


def _frozen(extra: Any) -> FrozenMapping:
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise wrong_request(f"extra must be a mapping with string keys, such as {{'seed': 7}}, got {short_repr(extra)}")
    return FrozenMapping(extra)


@attrs.frozen(kw_only=True)
class Request(Generic[R_co]):
    """A request as a frozen value. Each endpoint of a provider has one class."""

    type_name: ClassVar[str]
    """The name of the class in files and on the command line."""
    endpoint: ClassVar[str]
    """The path of the endpoint."""
    kind: ClassVar[Kind]
    """The kind of output."""
    result_type: ClassVar[type[Result]]
    """The class of the result."""
    text_suffix: ClassVar[str] = ".txt"
    """The suffix of a file that holds the text of the result."""
    next_type: ClassVar[str | None] = None
    """The `type_name` of a request that continues with the finished task, as its `task_id`."""

    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen)
    """Parameters without a field of the class, such as new or undocumented ones. They are sent unchanged. The name of a
    field raises ConfigurationError here."""

    @extra.validator
    def _extra_has_no_fields(self, _: attrs.Attribute[Any], extra: Mapping[str, Any]) -> None:
        fields = {spelling: field.name for field in attrs.fields(type(self)) for spelling in wire_names(field)}
        for name in sorted(fields.keys() & extra.keys()):
            raise wrong_request(
                f"extra[{name!r}]: {type(self).__name__} has a field for it; write {fields[name]}=... instead"
            )

    def with_uploads(self, urls: Mapping[str, Any], sizes: Mapping[str, int]) -> Self:  # noqa: ARG002 - for subclasses
        """Return the request with URLs instead of local files.

        `urls` maps field names to URLs; `sizes` maps them to the sizes of the files in bytes.
        """
        return attrs.evolve(self, **urls)

    @property
    def task_count(self) -> int:
        """The number of tasks that the request starts, as far as it is known before it is sent."""
        return 1

    @property
    def direct_timeout(self) -> float | None:
        """The read timeout in seconds of an endpoint that returns the result itself; None if it starts a task."""
        return None

    @property
    def timing_key(self) -> tuple[str, ...]:
        """The endpoint, model and settings on which the job's duration depends. Durations are learned for each key."""
        return (self.endpoint,)

    @property
    def model_name(self) -> str | None:
        """The name of the model; None if the request names none."""
        return None

    @property
    def label(self) -> str:
        """The beginning of the prompt, for displays of the caller's own: at most 50 characters."""
        return type(self).__name__

    @property
    def log_label(self) -> str:
        """The type and the model, for logs, events and errors, which never hold the prompt by default."""
        return " ".join(filter(None, (self.type_name, self.model_name)))


ResultT = TypeVar("ResultT", bound=Result)


def _request_id(text: str | None) -> str | None:
    return safe_or_none(text, MAX_ID)


@attrs.frozen(kw_only=True)
class Outcome(Generic[ResultT]):
    """An item of a stream: a request, and either its result or its error."""

    index: int
    """The position of the request in the input, from 0."""
    request: Request[ResultT]
    """The request."""
    entry_id: int | None = None
    """The id of the request's entry in the ledger; None if it belongs to no batch."""
    result: ResultT | None = None
    """The result; None if there is an error."""
    error: AioweryError | None = None
    """The error; None if there is a result."""

    def unwrap(self) -> ResultT:
        """Return the result. Raises the error if there is no result."""
        if self.result is None:
            raise self.error or AioweryError("this outcome has neither a result nor an error")
        return self.result


@attrs.frozen(kw_only=True)
class Accepted:
    """The response to a submission that the provider accepted."""

    task_ids: tuple[str, ...]
    """The ids of the tasks that the request started."""
    provider_batch_id: str | None = None
    """The id of the provider's group of these tasks; None if there is none."""
    snapshots: tuple[Snapshot, ...] = ()
    """The first status of the tasks; finished tasks if the response contains the result."""
    request_id: str | None = attrs.field(default=None, converter=_request_id)
    """The submission's id in the provider's call history; None if the response had none."""
