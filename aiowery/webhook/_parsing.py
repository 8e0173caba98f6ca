"""Check the body of a webhook delivery before a provider decodes it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiowery.errors import UnexpectedResponse, WebhookError

LARGEST: Final = 256 * 1024


def check_body(body: bytes, headers: Mapping[str, str] | None, *, largest: int) -> None:
    """Raise WebhookError for a body that cannot be a delivery.

    `http_status` is 415 if the content type (checked if `headers` are given) is not JSON, 413 for more than `largest`
    bytes.
    """
    if headers is not None and not _is_json(content_type(headers)):
        raise WebhookError("the content type of a delivery must be JSON", http_status=415)
    if len(body) > largest:
        raise too_large(largest)


def not_a_delivery(error: UnexpectedResponse) -> WebhookError:
    """Return the error for a body that the provider's decoder does not accept."""
    return WebhookError(f"not a delivery: {error}", http_status=HTTPStatus.BAD_REQUEST)


def too_large(largest: int) -> WebhookError:
    """Return the error for a body that is not read to its end."""
    return WebhookError(
        f"the body must have at most {largest} bytes; Receiver(largest=...) allows more", http_status=413
    )


def content_type(headers: Mapping[str, str]) -> str:
    """Return the media type in lower case, without parameters; header names may be in any case."""
    value = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    return value.partition(";")[0].strip().lower()


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")
