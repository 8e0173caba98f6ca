"""Misfortunes of the connection, of bodies and of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from aiowery.sandbox._response import PlannedResponse, not_found

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import FaultTarget, PlannedDelivery, Scope


class FaultBehavior:
    """Base of the kinds: lets every call through and spoils nothing; what spoils answers spoils deliveries alike."""

    scope: ClassVar[Scope] = "both"

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - the shape of `Kind`
        """Let the call through."""
        return None

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Leave the answer as it is."""
        return response

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Spoil what is delivered as if it were an response."""
        return (attrs.evolve(delivery, message=self.alter_response(delivery.message)),)


class RequestFaultBehavior(FaultBehavior):
    """Base of the kinds that need a caller: they answer in the place of the world, or are rude on its connection."""

    scope: ClassVar[Scope] = "requests"


@attrs.frozen
class LostAnswer(RequestFaultBehavior):
    """The call is processed and charged; then silence for `seconds`, and the connection closes."""

    seconds: float = 30.0

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Never response."""
        return attrs.evolve(response, hang=self.seconds)


@attrs.frozen
class Reset(RequestFaultBehavior):
    """The connection is reset (TCP RST): before processing, or with `processed` after it, charged."""

    processed: bool = False

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - the shape of `Kind`
        """Reset before the world hears of it."""
        return None if self.processed else PlannedResponse(b"", reset=True)

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Reset in the place of an response."""
        return attrs.evolve(response, reset=True)


@attrs.frozen
class SlowBody(RequestFaultBehavior):
    """The body trickles in over `seconds`."""

    seconds: float = 2.0

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Spread the body over time."""
        return attrs.evolve(response, trickle=self.seconds)


@attrs.frozen
class NotFoundYet(RequestFaultBehavior):
    """Tasks are unknown (this HTTP status, WeryAI's code 1003) until `seconds` after their acceptance."""

    seconds: float = 1.0
    http: int = 404

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:
        """Deny what is too young."""
        is_young = target.age is not None and target.age < self.seconds
        return not_found(target.unknown_task_message, http=self.http).response if is_young else None


@attrs.frozen
class Truncated(FaultBehavior):
    """The body ends early, after this `share` of it, in an otherwise correct response."""

    share: float = 0.6

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Drop the end."""
        content = response.content
        return attrs.evolve(response, body=content[: int(len(content) * self.share)])


@attrs.frozen
class Empty(FaultBehavior):
    """The body is empty; the HTTP status stays."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Drop the body."""
        return attrs.evolve(response, body=b"")


@attrs.frozen
class NotJson(FaultBehavior):
    """The body is `text`; the HTTP status stays, and the content type with it."""

    text: str = "OK"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the body."""
        return attrs.evolve(response, body=self.text.encode())


@attrs.frozen
class TruncatedFile(RequestFaultBehavior):
    """The connection is reset after this `share` of the body; Content-Length promised all of it."""

    share: float = 0.5

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Cut the body."""
        return attrs.evolve(response, cut=self.share)


@attrs.frozen
class ContentType(FaultBehavior):
    """The answer says it is of this `media_type`."""

    media_type: str = "text/html"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Relabel the body."""
        others = tuple(header for header in response.headers if header[0] != "content-type")
        return attrs.evolve(response, headers=(*others, ("content-type", self.media_type)))


@attrs.frozen
class Redirect(RequestFaultBehavior):
    """The answer is a redirect to `url`."""

    url: str
    http: int = 302

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - the shape of `Kind`
        """Send the caller elsewhere."""
        return PlannedResponse(b"", http=self.http, headers=(("location", self.url),))
