"""Parts of a ledger in memory that do not depend on the state machine; each is limited in size."""

from __future__ import annotations

from collections import deque

from aiowery._core.durations import KINDS, REMEMBERED, Interval
from aiowery.ledger._records import MAX_DELIVERIES, Duration, WebhookDelivery

_MAX_PRICES = 1000


class DeliveryLog:
    """Webhook deliveries, kept by submission id and task id."""

    def __init__(self) -> None:
        self._by_submission: dict[str, dict[str, WebhookDelivery]] = {}
        self._last_id = 0

    def store(self, submission_id: str, task_id: str, *, finished: bool) -> None:
        """Keep a delivery if it is the first of its task, or the first that reports the task as finished."""
        by_task = self._by_submission.setdefault(submission_id, {})
        previous = by_task.get(task_id)
        is_first = previous is None and len(by_task) < MAX_DELIVERIES
        if is_first or (previous is not None and finished and not previous.finished):
            self._last_id += 1
            by_task[task_id] = WebhookDelivery(self._last_id, submission_id, task_id, finished)

    def discard(self, submission_id: str) -> None:
        """Delete the deliveries of a submission."""
        self._by_submission.pop(submission_id, None)

    def clear(self) -> None:
        """Delete all deliveries; later ones get higher ids all the same."""
        self._by_submission.clear()

    def submissions_with(self, task_id: str) -> list[str]:
        """Return the submissions for which this task was named."""
        return [submission_id for submission_id, by_task in self._by_submission.items() if task_id in by_task]

    def after(self, delivery_id: int, submission_id: str | None) -> list[WebhookDelivery]:
        """Return the deliveries with a higher id, in order; of one submission if it is given."""
        groups = self._by_submission.values() if submission_id is None else [self._by_submission.get(submission_id, {})]
        found = (delivery for by_task in groups for delivery in by_task.values() if delivery.id > delivery_id)
        return sorted(found, key=lambda delivery: delivery.id)


class LatestDurations:
    """Latest durations of each kind, of the kinds that were added last."""

    def __init__(self) -> None:
        self._by_kind: dict[str, deque[Interval]] = {}

    def add(self, duration: Duration) -> None:
        """Append a duration to those of its kind."""
        intervals = self._by_kind.pop(duration.kind, None)
        self._by_kind[duration.kind] = intervals = deque(maxlen=REMEMBERED) if intervals is None else intervals
        intervals.append((duration.lower, duration.upper))
        if len(self._by_kind) > KINDS:
            del self._by_kind[next(iter(self._by_kind))]

    def by_kind(self) -> dict[str, list[Interval]]:
        """Return the bounds of each kind, the latest last."""
        return {kind: list(intervals) for kind, intervals in self._by_kind.items()}


class LatestPrices:
    """Latest price of each price key, of the keys that were set last."""

    def __init__(self) -> None:
        self._by_key: dict[str, float] = {}

    def set(self, price_key: str, credits_: float) -> None:
        """Store the price of a key."""
        self._by_key.pop(price_key, None)
        self._by_key[price_key] = credits_
        if len(self._by_key) > _MAX_PRICES:  # keys contain callers' text, so their number must be limited
            del self._by_key[next(iter(self._by_key))]

    def get(self, price_key: str) -> float | None:
        """Return the price of a key, None if it is unknown."""
        return self._by_key.get(price_key)
