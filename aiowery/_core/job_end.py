"""The end of a job, as the value that the journal, the events and the log share."""

from __future__ import annotations

import attrs

from aiowery._base.snapshot import Snapshot
from aiowery._core.durations import Interval
from aiowery.errors import JobError


@attrs.frozen(kw_only=True)
class JobEnd:
    """The end of a job, with a result or an error."""

    snapshots: tuple[Snapshot, ...]
    """The last known status of each task."""
    seconds: float
    """The seconds from acceptance to the status check that showed the end."""
    timing_key: tuple[str, ...] = ()
    """What the duration depends on: endpoint, model, settings."""
    credits: float | None = None
    """The credits that the provider reports as charged; None if it reports nothing."""
    error: JobError | None = None
    """The job's error; None if it has a result."""
    interval: Interval | None = None
    """The bounds of the duration, in seconds; None if the job's end was not observed."""
