"""The outcome of a finished job: its outputs, what it cost, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from aiowery._base.snapshot import Asset, Snapshot, TaskState, total_credits


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
