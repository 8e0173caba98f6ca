"""The words of the house as frozen values: what is asked, what was seen, what came of it."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

import attrs

from aiowery._tasks import Asset, AssetKind, Snapshot
from aiowery.errors import AioweryError, ConfigurationError

R_co = TypeVar("R_co", bound="Result", covariant=True)


class Unset(enum.Enum):
    """The type of `DEFAULT`, so that `None` stays free to mean "none at all"."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Unset.DEFAULT

Deadline = float | None | Literal[Unset.DEFAULT]
"""Seconds of patience counted from acceptance; `None` waits without end; `DEFAULT` goes by the request's kind."""


@attrs.frozen(kw_only=True)
class Result:
    """The outcome of a finished job.

    `assets` are the outputs in task order, `credits` the sum that the provider reported (None when it reported
    none), `seconds` the time from acceptance to the answer that showed the end, `request_id` the submission's
    id in the provider's call history. `failures` holds the snapshots of tasks that failed while others of the
    same job succeeded: such a job has a result, because what was paid for is worth keeping.
    """

    task_ids: tuple[str, ...]
    assets: tuple[Asset, ...] = ()
    credits: float | None = None
    seconds: float | None = None
    failures: tuple[Snapshot, ...] = ()
    request_id: str | None = None
    raw: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of all assets."""
        return tuple(asset.url for asset in self.assets)


@attrs.frozen(kw_only=True)
class ImageResult(Result):
    """Pictures, as `assets` of kind `"image"`."""

    @property
    def url(self) -> str:
        """The first picture's address."""
        return self.assets[0].url


class FrozenMapping(Mapping[str, Any]):
    """A read-only copy of a mapping that, unlike MappingProxyType, pickles and hashes."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values))

    def __repr__(self) -> str:
        return repr(self._values)


def _frozen(extra: Any) -> FrozenMapping:
    if not isinstance(extra, Mapping) or not all(isinstance(name, str) for name in extra):
        raise ConfigurationError(f"extra is {extra!r}; parameters by name are needed, such as {{'seed': 7}}")
    return FrozenMapping(extra)


@attrs.frozen(kw_only=True)
class Request(Generic[R_co]):
    """What is asked: one frozen value per endpoint, which knows its endpoint, its kind and its result type.

    `extra` holds parameters that the class has no field for (new or undocumented ones); they are sent as they
    are. A name that is a field of the class is refused there, so that one value has one place.
    """

    endpoint: ClassVar[str]
    kind: ClassVar[AssetKind]
    result_type: ClassVar[type[Result]]

    extra: Mapping[str, Any] = attrs.field(factory=dict, converter=_frozen)

    @extra.validator
    def _extra_has_no_fields(self, _: attrs.Attribute[Any], extra: Mapping[str, Any]) -> None:
        taken = {field.name for field in attrs.fields(type(self))}.intersection(extra)
        if taken:
            name = min(taken)
            raise ConfigurationError(
                f"extra[{name!r}]: {type(self).__name__} has a field of that name; write {name}=... instead"
            )

    @property
    def places(self) -> int:
        """How many tasks this request starts, as far as it can be known before it is sent."""
        return 1

    @property
    def duration_key(self) -> tuple[str, ...]:
        """What the time that such a job takes depends on; jobs with equal keys teach each other."""
        return (self.endpoint,)

    @property
    def model_key(self) -> str | None:
        """The model that does the work, where the request names one."""
        return None

    @property
    def label(self) -> str:
        """A short text for logs and progress: at most 50 characters."""
        return type(self).__name__


ResultT = TypeVar("ResultT", bound=Result)


@attrs.frozen(kw_only=True)
class Outcome(Generic[ResultT]):
    """An item of a stream: the request, its position in the input, and either its result or its error."""

    index: int
    request: Request[ResultT]
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
    batch_id: str | None = None
    snapshots: tuple[Snapshot, ...] = ()
    request_id: str | None = None
