"""The words of the house as frozen values: what is asked, what was seen, what came of it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeVar

import attrs

from aiowery._base.snapshot import Asset, Kind, Snapshot, TaskState, total_credits
from aiowery._core.fields import FrozenMapping, short_repr, wire_names
from aiowery.errors import AioweryError, ConfigurationError

R_co = TypeVar("R_co", bound="Result", covariant=True)


class Unset(enum.Enum):
    """The type of `DEFAULT`, so that `None` stays free to mean "none at all"."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Unset.DEFAULT

Timeout = float | None | Literal[Unset.DEFAULT]
"""Seconds of patience counted from acceptance; `None` waits without end; `DEFAULT` goes by the request's kind."""


@attrs.frozen(kw_only=True)
class Result:
    """The outcome of a finished job.

    `assets` are the outputs in task order, `text` what the tasks said in words, `credits` the sum that the provider
    reported (None when it reported none), `seconds` the time from acceptance to the answer that showed the end (from
    sending, for a job that was resumed), `request_id` the submission's id in the provider's call history. `failures`
    holds the snapshots of tasks that failed while others of the same job succeeded: such a job has a result, because
    what was paid for is worth keeping. `raw` is each task's part of its last answer.
    """

    task_ids: tuple[str, ...]
    assets: tuple[Asset, ...] = ()
    text: str | None = None
    credits: float | None = None
    seconds: float | None = None
    failures: tuple[Snapshot, ...] = ()
    request_id: str | None = None
    raw: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)

    @classmethod
    def from_snapshots(cls, snapshots: Sequence[Snapshot], *, seconds: float | None, request_id: str | None) -> Self:
        """Gather what the tasks of a job have brought; all have ended, at least one of them well."""
        return cls(
            task_ids=tuple(snapshot.task_id for snapshot in snapshots),
            assets=tuple(asset for snapshot in snapshots for asset in snapshot.assets),
            text="\n\n".join(snapshot.text for snapshot in snapshots if snapshot.text) or None,
            credits=total_credits(snapshots),
            seconds=seconds,
            failures=tuple(snapshot for snapshot in snapshots if snapshot.state is TaskState.FAILED),
            request_id=request_id,
            raw=tuple(snapshot.raw for snapshot in snapshots),
            **cls._extra_fields(snapshots),
        )

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:  # noqa: ARG003 - for the classes below
        """Return the values of the fields that a subclass adds."""
        return {}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """Return what a look means for a job that waits for such a result: for most, just what it says."""
        return snapshot

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What else is worth keeping beside the outputs, as JSON has it; for most results nothing."""
        return {}

    @property
    def is_empty(self) -> bool:
        """Whether the provider reported success and brought nothing."""
        return not (self.assets or self.text)

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of all assets."""
        return tuple(asset.url for asset in self.assets)


# The sorts below have no field of their own. A decorator would only make again, at every start, what they inherit.


class MediaResult(Result):
    """Something to look at or to listen to: at least one asset."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is no asset."""
        return not self.assets

    @property
    def url(self) -> str:
        """The first asset's address."""
        return self.assets[0].url

    @property
    def cover_url(self) -> str | None:
        """The first still picture that belongs to a video or a song."""
        return next((asset.cover_url for asset in self.assets if asset.cover_url), None)


class ImageResult(MediaResult):
    """Pictures, as `assets` of kind `"image"`."""

    __slots__ = ()


class VideoResult(MediaResult):
    """Videos, as `assets` of kind `"video"`, with their covers where the provider makes them."""

    __slots__ = ()


class AudioResult(MediaResult):
    """Sounds, as `assets` of kind `"audio"`; a song comes with `lyrics` and a cover."""

    __slots__ = ()

    @property
    def lyrics(self) -> str | None:
        """The words of a song."""
        return self.text


class TextResult(Result):
    """Words: a transcript, or a prompt found for a picture."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        """Whether there are no words."""
        return not self.text

    def __str__(self) -> str:
        return self.text or ""


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
