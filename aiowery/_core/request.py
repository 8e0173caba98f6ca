"""The words of the house as frozen values: what is asked, what was seen, what came of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeVar

import attrs

from aiowery._base.snapshot import Kind, Snapshot
from aiowery._core.fields import FrozenMapping, short_repr, wire_names
from aiowery._core.result import Result
from aiowery.errors import AioweryError, ConfigurationError

R_co = TypeVar("R_co", bound=Result, covariant=True)


class Unset(enum.Enum):
    """The type of `DEFAULT`, so that `None` stays free to mean "none at all"."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Unset.DEFAULT

Timeout = float | None | Literal[Unset.DEFAULT]
"""Seconds of patience counted from acceptance; `None` waits without end; `DEFAULT` goes by the request's kind."""


def _frozen(extra: Any) -> FrozenMapping:
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise ConfigurationError(f"extra is {short_repr(extra)}; parameters by name are needed, such as {{'seed': 7}}")
    return FrozenMapping(extra)


@attrs.frozen(kw_only=True)
class Request(Generic[R_co]):
    """What is asked: one frozen value per endpoint, which knows its endpoint, its kind and its result type.

    `type_name` names the class in files and on the command line.

    `extra` holds parameters that the class has no field for (new or undocumented ones); they are sent as they
    are. A name that is a field of the class is refused there, so that one value has one place.
    """

    type_name: ClassVar[str]
    endpoint: ClassVar[str]
    kind: ClassVar[Kind]
    result_type: ClassVar[type[Result]]

    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen)

    @extra.validator
    def _extra_has_no_fields(self, _: attrs.Attribute[Any], extra: Mapping[str, Any]) -> None:
        fields = {spelling: field.name for field in attrs.fields(type(self)) for spelling in wire_names(field)}
        for name in sorted(fields.keys() & extra.keys()):
            raise ConfigurationError(
                f"extra[{name!r}]: {type(self).__name__} has a field for it; write {fields[name]}=... instead"
            )

    def with_uploads(self, urls: Mapping[str, Any], sizes: Mapping[str, int]) -> Self:  # noqa: ARG002 - for subclasses
        """Return the request with urls in the place of local files; `sizes` are theirs in bytes, by field."""
        return attrs.evolve(self, **urls)

    @property
    def task_count(self) -> int:
        """How many tasks this request starts, as far as it can be known before it is sent."""
        return 1

    @property
    def direct_timeout(self) -> float | None:
        """Seconds to wait for the answer of an endpoint that starts no task and answers with the work itself."""
        return None

    @property
    def timing_key(self) -> tuple[str, ...]:
        """What the time that such a job takes depends on; jobs with equal keys teach each other."""
        return (self.endpoint,)

    @property
    def model_name(self) -> str | None:
        """The model that does the work, where the request names one."""
        return None

    @property
    def label(self) -> str:
        """A short text for logs and progress: at most 50 characters."""
        return type(self).__name__


ResultT = TypeVar("ResultT", bound=Result)


@attrs.frozen(kw_only=True)
class Outcome(Generic[ResultT]):
    """An item of a stream: the request, its position in the input, and either its result or its error.

    `entry_id` is its number in the ledger, where it belongs to a batch.
    """

    index: int
    request: Request[ResultT]
    entry_id: int | None = None
    result: ResultT | None = None
    error: AioweryError | None = None

    def unwrap(self) -> ResultT:
        """Return the result, or raise the error."""
        if self.result is None:
            raise self.error or AioweryError("this outcome holds neither a result nor an error")
        return self.result


@attrs.frozen(kw_only=True)
class Accepted:
    """What the provider said when it took a request: task ids, perhaps a batch id, perhaps first snapshots."""

    task_ids: tuple[str, ...]
    provider_batch_id: str | None = None
    snapshots: tuple[Snapshot, ...] = ()
    request_id: str | None = None
