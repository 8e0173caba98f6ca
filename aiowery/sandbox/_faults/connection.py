"""Fault behaviors of connections, bodies and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from aiowery.sandbox._response import PlannedResponse, not_found

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import FaultTarget, PlannedDelivery, Scope


class FaultBehavior:
    """Base class of the fault behaviors. It changes nothing; an override of `alter_response` changes deliveries too."""

    scope: ClassVar[Scope] = "both"

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - signature of `Kind`
        """Let the request through."""
        return None

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Return the response unchanged."""
        return response

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Change the message of the delivery as if it were a response."""
        return (attrs.evolve(delivery, message=self.alter_response(delivery.message)),)


class RequestFaultBehavior(FaultBehavior):
    """Base class of the fault behaviors that need a request: they replace its response or break its connection."""

    scope: ClassVar[Scope] = "requests"


@attrs.frozen
class LostAnswer(RequestFaultBehavior):
    """The request is processed and charged. Nothing is sent for `seconds`, then the connection closes."""

    seconds: float = 30.0

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Send nothing."""
        return attrs.evolve(response, hang=self.seconds)


@attrs.frozen
class Reset(RequestFaultBehavior):
    """The connection is reset (TCP RST) before processing, or with `processed` after processing and charging."""

    processed: bool = False

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - signature of `Kind`
        """Reset the connection before the request is processed."""
        return None if self.processed else PlannedResponse(b"", reset=True)

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Reset the connection instead of a response."""
        return attrs.evolve(response, reset=True)


@attrs.frozen
class SlowBody(RequestFaultBehavior):
    """The body is sent in pieces over `seconds`."""

    seconds: float = 2.0

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Spread the body over time."""
        return attrs.evolve(response, trickle=self.seconds)


@attrs.frozen
class NotFoundYet(RequestFaultBehavior):
    """Tasks are unknown until `seconds` after their acceptance: this HTTP status, with WeryAI's code 1003."""

    seconds: float = 1.0
    http: int = 404

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:
        """Refuse the request if the task is too young."""
        is_young = target.age is not None and target.age < self.seconds
        return not_found(target.unknown_task_message, http=self.http).response if is_young else None


@attrs.frozen
class Truncated(FaultBehavior):
    """The body ends after this `share` of its bytes, in an otherwise correct response."""

    share: float = 0.6

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Remove the end of the body."""
        content = response.content
        return attrs.evolve(response, body=content[: int(len(content) * self.share)])


@attrs.frozen
class Empty(FaultBehavior):
    """The body is empty. The HTTP status stays."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Remove the body."""
        return attrs.evolve(response, body=b"")


@attrs.frozen
class NotJson(FaultBehavior):
    """The body is `text`. The HTTP status and the content type stay."""

    text: str = "OK"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the body."""
        return attrs.evolve(response, body=self.text.encode())


@attrs.frozen
class TruncatedFile(RequestFaultBehavior):
    """The connection is reset after this `share` of the body, although Content-Length announces all of it."""

    share: float = 0.5

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Cut the body."""
        return attrs.evolve(response, cut=self.share)


@attrs.frozen
class ContentType(FaultBehavior):
    """The response has the content type `media_type`."""

    media_type: str = "text/html"

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Replace the content type."""
        others = tuple(header for header in response.headers if header[0] != "content-type")
        return attrs.evolve(response, headers=(*others, ("content-type", self.media_type)))


@attrs.frozen
class Redirect(RequestFaultBehavior):
    """The response is a redirect to `url`."""

    url: str
    http: int = 302

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:  # noqa: ARG002 - signature of `Kind`
        """Return the redirect."""
        return PlannedResponse(b"", http=self.http, headers=(("location", self.url),))
