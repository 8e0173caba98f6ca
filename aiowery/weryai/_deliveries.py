"""WeryAI's webhook deliveries, for receivers and for applications that read them by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiowery._base.snapshot import Snapshot
from aiowery._core.webhook_config import TaskDelivery
from aiowery.errors import UnexpectedResponse
from aiowery.webhook._parsing import LARGEST, check_body, not_a_delivery
from aiowery.weryai import _decode
from aiowery.weryai._provider import WeryAIProvider

_PROVIDER: Final = WeryAIProvider()


def decode_delivery(body: bytes) -> TaskDelivery:
    """Return the task that a delivery is about, for `Receiver(ledger=..., decode=decode_delivery)`.

    Raises UnexpectedResponse for a body that is no delivery.
    """
    return _PROVIDER.decode_delivery(body)


def parse_delivery(body: bytes, headers: Mapping[str, str] | None = None, *, largest: int = LARGEST) -> Snapshot:
    """Return a task's status from a webhook delivery (WeryAI's guide, "Webhook Response"; contract section 11.1).

    It is a hint, because any program can send such a request: read `client.status(snapshot.task_id)` before you act on
    it.

    `headers`: the request's, whose content type is checked if they are given. Raises WebhookError for what is no
    delivery: no JSON (`http_status` 415), more than `largest` bytes (413), anything but an envelope that names a task
    (400).
    """
    check_body(body, headers, largest=largest)
    try:
        return _decode.decode_delivery(body)
    except UnexpectedResponse as error:
        raise not_a_delivery(error) from error
