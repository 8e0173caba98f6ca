"""The caller's options of one submission."""

from __future__ import annotations

import attrs

from aiowery._core.request import DEFAULT, Timeout


@attrs.frozen(kw_only=True)
class SubmitOptions:
    """The caller's options of a submission.

    `job_timeout` and `start_within` are in seconds. `entry_id` is the request's claimed ledger entry, if it has one.
    `budget` is the limit of its batch in credits. `name` is the caller's number or name for it, in logs, events and
    errors.
    """

    job_timeout: Timeout = DEFAULT
    start_within: float | None = None
    entry_id: int | None = None
    budget: float | None = None
    name: str = ""
