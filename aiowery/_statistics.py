"""What a client can say of itself at one moment, as frozen values."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class LaneStatistics:
    """A lane at one moment. `capacity` and `in_use` count tasks, `waiting` and `submitting` requests.

    `paused_for` is in seconds; `refusals` counts the submissions that were refused because of load.
    """

    capacity: int
    in_use: int
    waiting: int
    submitting: int
    paused_for: float
    refusals: int


@attrs.frozen(kw_only=True)
class PollStatistics:
    """Status checks at one moment: looks `made` and `under_way`, jobs `watched`, jobs due but not yet looked at.

    `held_for` is how many seconds the provider has asked us to rest.
    """

    made: int
    under_way: int
    watched: int
    due: int
    held_for: float


@attrs.frozen(kw_only=True)
class ClientStatistics:
    """A client at one moment: its lane, its status checks, and what became of its submissions since it opened.

    `submitted` counts submissions begun, `accepted` those with task ids, `refused` those without, `in_doubt`
    those that may have been charged without our knowing; `finished` and `failed` count jobs that ended,
    `under_way` those that have not.
    """

    lane: LaneStatistics
    polls: PollStatistics
    submitted: int
    accepted: int
    refused: int
    in_doubt: int
    finished: int
    failed: int
    under_way: int
