"""The outcome of a finished job: its outputs, what it cost, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from aiowery._base.snapshot import Asset, Snapshot, TaskState, total_credits


@attrs.frozen(kw_only=True)
class Result:
    """The result of a finished job."""

    task_ids: tuple[str, ...]
    """The ids of the job's tasks."""
    assets: tuple[Asset, ...] = ()
    """The output files, in the order of the tasks."""
    text: str | None = None
    """The text that the tasks returned, joined by blank lines; None if there is none."""
    credits: float | None = None
    """The credits that the provider reports as charged, in total; None (not 0) if it reports nothing."""
    seconds: float | None = None
    """The seconds from acceptance to the status check that showed the end. For a resumed job they count from
    sending."""
    failures: tuple[Snapshot, ...] = ()
    """The snapshots of failed tasks. A job with at least one successful task has a result, because it was paid for."""
    request_id: str | None = None
    """The submission's id in the provider's call history; None if the response had none."""
    raw: tuple[Mapping[str, Any], ...] = attrs.field(default=(), repr=False)
    """Each task's part of its last decoded response."""

    @classmethod
    def from_snapshots(cls, snapshots: Sequence[Snapshot], *, seconds: float | None, request_id: str | None) -> Self:
        """Return the result of a job whose tasks are all finished, at least one of them successfully."""
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
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:  # noqa: ARG003 - for subclasses
        """Return the values of the fields that a subclass adds."""
        return {}

    @classmethod
    def interpret(cls, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot as a job with this result type understands it: for most types, unchanged."""
        return snapshot

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Further facts to keep beside the outputs, as JSON values; empty for most results."""
        return {}

    @property
    def is_empty(self) -> bool:
        """True if the provider reported success but returned no output."""
        return not (self.assets or self.text)

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of all assets."""
        return tuple(asset.url for asset in self.assets)


# The classes below add no fields. A decorator would only build the inherited methods again at each import.


class MediaResult(Result):
    """A result with at least one asset."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        """True if there is no asset."""
        return not self.assets

    @property
    def url(self) -> str:
        """The URL of the first asset."""
        return self.assets[0].url

    @property
    def cover_url(self) -> str | None:
        """The URL of the first still picture of a video or song; None if there is none."""
        return next((asset.cover_url for asset in self.assets if asset.cover_url), None)


class ImageResult(MediaResult):
    """A result with images: `assets` of kind `"image"`."""

    __slots__ = ()


class VideoResult(MediaResult):
    """A result with videos: `assets` of kind `"video"`, with a `cover_url` if the provider makes one."""

    __slots__ = ()


class AudioResult(MediaResult):
    """A result with audio: `assets` of kind `"audio"`. A song also has `lyrics` and a `cover_url`."""

    __slots__ = ()

    @property
    def lyrics(self) -> str | None:
        """The lyrics of a song; None if there are none."""
        return self.text


class TextResult(Result):
    """A result with text, such as a transcript, or a prompt that describes an image."""

    __slots__ = ()

    @property
    def is_empty(self) -> bool:
        """True if there is no text."""
        return not self.text

    def __str__(self) -> str:
        return self.text or ""
