"""What a call says, if it says anything."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiowery._base.snapshot import Snapshot
from aiowery.errors import UnexpectedResponse, WebhookError
from aiowery.weryai._decode import decode_delivery

LARGEST: Final = 256 * 1024


def parse_delivery(body: bytes, headers: Mapping[str, str] | None = None, *, largest: int = LARGEST) -> Snapshot:
    """Return what a call to a webhook says of a task (WeryAI's guide, "Webhook Response"; contract section 11.1).

    It is a hint, for anybody can send such a call: ask `client.status(snapshot.task_id)` before you act on it.

    `headers`: the call's, whose content type is checked if they are given. Raises WebhookError for what is no delivery:
    no JSON (`http_status` 415), more than `largest` bytes (413), anything but an envelope that names a task (400).
    """
    if headers is not None and not _is_json(content_type(headers)):
        raise WebhookError("a delivery is JSON; the content type says otherwise", http_status=415)
    if len(body) > largest:
        raise too_large(largest)
    try:
        return decode_delivery(body)
    except UnexpectedResponse as error:
        raise WebhookError(f"not a delivery: {error}", http_status=HTTPStatus.BAD_REQUEST) from error


def too_large(largest: int) -> WebhookError:
    """Return why a call is not read to its end."""
    return WebhookError(f"more than {largest} bytes; Receiver(largest=...) allows more", http_status=413)


def content_type(headers: Mapping[str, str]) -> str:
    """Return the media type, in lower case and without parameters; names of headers may be in any case."""
    told = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return told.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")
