"""What the sandbox is going to answer: plain values, made and altered before a byte is sent."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class PlannedResponse:
    """One answer and the manner of its delivery.

    `body` is bytes, or anything JSON can say, or a `Refused` until a provider's face has put it into its own shape.
    Everything happens after `delay` seconds. `reset` ends the connection before the first byte; `hang` keeps silent
    for so many seconds and then closes; `cut` resets the connection after this share of the body; `trickle` spreads
    the body over so many seconds. `accepts` marks the answer to a submission that was taken.
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
        """The body as it goes over the wire."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def code(self) -> int | None:
        """The own status of WeryAI's envelope, None when there is no such envelope."""
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
        """The refusal, yet to be worded."""
        return PlannedResponse(self, http=self.http)


def success(data: Any) -> PlannedResponse:
    """Put `data` into the envelope of a success."""
    return PlannedResponse({"status": 0, "desc": "success", "message": "success", "data": data})


def podcast_success(data: Any) -> PlannedResponse:
    """Put `data` into the envelope that the podcast pages show."""
    return PlannedResponse({"status": 200, "desc": "Success", "message": "Success", "success": True, "data": data})


def parameter_error(message: str) -> Refused:
    """Say which parameter is wrong, and why."""
    return Refused(1001, message, desc="Parameter error")


def not_found(message: str, *, http: int = 200) -> Refused:
    """Say what does not exist."""
    return Refused(1003, message, desc="Not found", http=http)
