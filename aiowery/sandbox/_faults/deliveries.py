"""Fault behaviors of webhook deliveries: how often, when and by which sender they are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from aiowery.sandbox._faults.connection import FaultBehavior

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import PlannedDelivery, Scope


class DeliveryFaultBehavior(FaultBehavior):
    """Base of the kinds that strike nothing but deliveries."""

    scope: ClassVar[Scope] = "deliveries"


@attrs.frozen
class DuplicateDelivery(DeliveryFaultBehavior):
    """The delivery is sent, and after `apart` seconds once more."""

    apart: float = 0.0

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Repeat it."""
        return (delivery, attrs.evolve(delivery, at=delivery.at + self.apart))


@attrs.frozen
class DelayedDelivery(DeliveryFaultBehavior):
    """The delivery is sent `seconds` later; with `nth` or a `share` others overtake it, and all come out of order."""

    seconds: float = 1.0

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Put it off."""
        return (attrs.evolve(delivery, at=delivery.at + self.seconds),)


@attrs.frozen
class DroppedDelivery(DeliveryFaultBehavior):
    """The delivery is never sent, nor counted."""

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:  # noqa: ARG002 - the shape of `Kind`
        """Drop it."""
        return ()


@attrs.frozen
class ForgedDelivery(DeliveryFaultBehavior):
    """A delivery that says SUCCESS is sent as soon as the task is being processed; the true one comes as well.

    Its outputs are addresses under `base_url`, which ends in a slash. How the task really ends makes no difference:
    one that fails, or never ends, is reported as a success too.
    """

    base_url: str = "https://forged.invalid/"

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Send a forged success ahead."""
        forged = attrs.evolve(delivery, at=delivery.task.starts_at, message=delivery.success_at(self.base_url))
        return (forged, delivery)
