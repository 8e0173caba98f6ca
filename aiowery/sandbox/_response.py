"""Responses as plain values, built and changed before a byte is sent."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class PlannedResponse:
    """A response, and how it is going to be sent.

    `body` is bytes or any JSON value. It is a `Refused` until a provider's facade has converted it into its own format.
    `delay` is the number of seconds before anything is sent. `reset` resets the connection before the first byte.
    `hang` sends nothing for this number of seconds and then closes the connection. `cut` resets the connection after
    this share of the body. `trickle` spreads the body over this number of seconds. `accepts` marks the response to an
    accepted submission.
    """

    body: Any
    http: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    hang: float | None = None
    cut: float | None = None
    trickle: float = 0.0
    delay: float = 0.0
    accepts: bool = False

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def code(self) -> int | None:
        """Status of WeryAI's envelope, None if the body has no such envelope."""
        status = self.body.get("status") if isinstance(self.body, dict) else None
        return status if isinstance(status, int) else None


class Refused(Exception):
    """A refusal by the simulated provider: a code, a message and an HTTP status.

    WeryAI's codes are numbers, BetterWaifu's are texts. BetterWaifu also names the invalid `parameter`, and the
    seconds to wait before a retry (`retry_after`). `acceptance_body` is the body of an acceptance whose ids the
    refusal carries too.
    """

    def __init__(
        self,
        code: int | str,
        message: str,
        *,
        desc: str | None = None,
        http: int = 200,
        parameter: str | None = None,
        retry_after: float | None = None,
        acceptance_body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.desc = desc or message
        self.http = http
        self.parameter = parameter
        self.retry_after = retry_after
        self.acceptance_body = acceptance_body or {}

    @property
    def response(self) -> PlannedResponse:
        """A response with this refusal as its body, before a facade has converted it."""
        return PlannedResponse(self, http=self.http)


def success(data: Any) -> PlannedResponse:
    """Return a response with `data` in the envelope of a success."""
    return PlannedResponse({"status": 0, "desc": "success", "message": "success", "data": data})


def podcast_success(data: Any) -> PlannedResponse:
    """Return a response with `data` in the envelope of the podcast endpoints."""
    return PlannedResponse({"status": 200, "desc": "Success", "message": "Success", "success": True, "data": data})


def parameter_error(message: str) -> Refused:
    """Return the refusal of an invalid parameter (code 1001)."""
    return Refused(1001, message, desc="Parameter error")


def not_found(message: str, *, http: int = 200) -> Refused:
    """Return the refusal of a resource that does not exist (code 1003)."""
    return Refused(1003, message, desc="Not found", http=http)
