"""What the sandbox is going to answer: plain values, made and altered before a byte is sent."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class Answer:
    """One answer and the manner of its delivery.

    `body` is bytes, or anything JSON can say. `reset` ends the connection before the first byte;
    `hang` keeps silent for so many seconds and then closes; `cut` resets the connection after this
    share of the body; `trickle` spreads the body over so many seconds. `accepts` marks the answer to a
    submission that was taken.
    """

    body: Any
    http: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    reset: bool = False
    hang: float | None = None
    cut: float | None = None
    trickle: float = 0.0
    accepts: bool = False

    @property
    def content(self) -> bytes:
        """The body as it goes over the wire."""
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def code(self) -> int | None:
        """The envelope's own status, None when there is no envelope."""
        return self.body.get("status") if isinstance(self.body, dict) else None


class Refused(Exception):
    """The service declines a call: an envelope code, its text and an HTTP status."""

    def __init__(self, code: int, message: str, *, desc: str | None = None, http: int = 200) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.desc = desc or message
        self.http = http

    @property
    def answer(self) -> Answer:
        """The refusal in its envelope."""
        body = {"status": self.code, "desc": self.desc, "message": self.message, "data": None}
        return Answer(body, http=self.http)


def success(data: Any) -> Answer:
    """Put `data` into the envelope of a success."""
    return Answer({"status": 0, "desc": "success", "message": "success", "data": data})


def podcast_answer(data: Any) -> Answer:
    """Put `data` into the envelope that the podcast pages show."""
    return Answer({"status": 200, "desc": "Success", "message": "Success", "success": True, "data": data})


def parameter_error(message: str) -> Refused:
    """Say which parameter is wrong, and why."""
    return Refused(1001, message, desc="Parameter error")


def not_found(message: str, *, http: int = 200) -> Refused:
    """Say what does not exist."""
    return Refused(1003, message, desc="Not found", http=http)
