"""Fault behaviors of webhook deliveries: repeated, delayed, dropped and forged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from aiowery.sandbox._faults.connection import FaultBehavior

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import PlannedDelivery, Scope


class DeliveryFaultBehavior(FaultBehavior):
    """Base class of the fault behaviors that apply to deliveries only."""

    scope: ClassVar[Scope] = "deliveries"


@attrs.frozen
class DuplicateDelivery(DeliveryFaultBehavior):
    """The delivery is sent, and once more after `apart` seconds."""

    apart: float = 0.0

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return the delivery twice."""
        return (delivery, attrs.evolve(delivery, at=delivery.at + self.apart))


@attrs.frozen
class DelayedDelivery(DeliveryFaultBehavior):
    """The delivery is sent `seconds` later.

    With `nth` or `share`, later deliveries overtake it, so that deliveries arrive out of order.
    """

    seconds: float = 1.0

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return the delivery with a later time."""
        return (attrs.evolve(delivery, at=delivery.at + self.seconds),)


@attrs.frozen
class DroppedDelivery(DeliveryFaultBehavior):
    """The delivery is neither sent nor counted."""

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:  # noqa: ARG002 - signature of `Kind`
        """Return no delivery."""
        return ()


@attrs.frozen
class ForgedDelivery(DeliveryFaultBehavior):
    """A delivery with status SUCCESS is sent when the task starts to be processed. The true one is sent as well.

    Its outputs are URLs under `base_url`, which ends in a slash. The forged delivery does not depend on the real
    result: a task that fails or never ends is reported as a success too.
    """

    base_url: str = "https://forged.invalid/"

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return a forged success before the true delivery."""
        forged = attrs.evolve(delivery, at=delivery.task.starts_at, message=delivery.success_at(self.base_url))
        return (forged, delivery)
