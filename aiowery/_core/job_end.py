"""How a job ended: the one value that the journal, the events and the log share."""

from __future__ import annotations

import attrs

from aiowery._base.snapshot import Snapshot
from aiowery._core.durations import Interval
from aiowery.errors import JobError


@attrs.frozen(kw_only=True)
class JobEnd:
    """The end of a job, well or badly.

    `seconds` is the time from acceptance to the status check that showed the end. `interval` holds the bounds, in
    seconds, between which the duration lies; None if the job's end was not observed. `timing_key` groups jobs of
    similar duration. `error` is None if the job has a result.
    """

    snapshots: tuple[Snapshot, ...]
    seconds: float
    timing_key: tuple[str, ...] = ()
    credits: float | None = None
    error: JobError | None = None
    interval: Interval | None = None
