"""Misfortunes of the connection, of bodies and of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from aiowery.sandbox._answer import Answer, not_found

if TYPE_CHECKING:
    from aiowery.sandbox._faults.script import FaultCall, PlannedDelivery, Scope


class FaultBehavior:
    """Base of the kinds: lets every call through and spoils nothing; what spoils answers spoils deliveries alike."""

    scope: ClassVar[Scope] = "both"

    def before(self, call: FaultCall) -> Answer | None:  # noqa: ARG002 - the shape of `Kind`
        """Let the call through."""
        return None

    def after(self, answer: Answer) -> Answer:
        """Leave the answer as it is."""
        return answer

    def deliveries(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Spoil what is delivered as if it were an answer."""
        return (attrs.evolve(delivery, message=self.after(delivery.message)),)


class CallFaultBehavior(FaultBehavior):
    """Base of the kinds that need a caller: they answer in the place of the world, or are rude on its connection."""

    scope: ClassVar[Scope] = "calls"


@attrs.frozen
class LostAnswer(CallFaultBehavior):
    """The call is processed and charged; then silence for `seconds`, and the connection closes."""

    seconds: float = 30.0

    def after(self, answer: Answer) -> Answer:
        """Never answer."""
        return attrs.evolve(answer, hang=self.seconds)


@attrs.frozen
class Reset(CallFaultBehavior):
    """The connection is reset (TCP RST): before processing, or with `processed` after it, charged."""

    processed: bool = False

    def before(self, call: FaultCall) -> Answer | None:  # noqa: ARG002 - the shape of `Kind`
        """Reset before the world hears of it."""
        return None if self.processed else Answer(b"", reset=True)

    def after(self, answer: Answer) -> Answer:
        """Reset in the place of an answer."""
        return attrs.evolve(answer, reset=True)


@attrs.frozen
class SlowBody(CallFaultBehavior):
    """The body trickles in over `seconds`."""

    seconds: float = 2.0

    def after(self, answer: Answer) -> Answer:
        """Spread the body over time."""
        return attrs.evolve(answer, trickle=self.seconds)


@attrs.frozen
class NotFoundYet(CallFaultBehavior):
    """Tasks are unknown (this HTTP status, WeryAI's code 1003) until `seconds` after their acceptance."""

    seconds: float = 1.0
    http: int = 404

    def before(self, call: FaultCall) -> Answer | None:
        """Deny what is too young."""
        is_young = call.age is not None and call.age < self.seconds
        return not_found(call.unknown, http=self.http).answer if is_young else None


@attrs.frozen
class Truncated(FaultBehavior):
    """The body ends early, after this `share` of it, in an otherwise correct answer."""

    share: float = 0.6

    def after(self, answer: Answer) -> Answer:
        """Drop the end."""
        content = answer.content
        return attrs.evolve(answer, body=content[: int(len(content) * self.share)])


@attrs.frozen
class Empty(FaultBehavior):
    """The body is empty; the HTTP status stays."""

    def after(self, answer: Answer) -> Answer:
        """Drop the body."""
        return attrs.evolve(answer, body=b"")


@attrs.frozen
class NotJson(FaultBehavior):
    """The body is `text`; the HTTP status stays, and the content type with it."""

    text: str = "OK"

    def after(self, answer: Answer) -> Answer:
        """Replace the body."""
        return attrs.evolve(answer, body=self.text.encode())


@attrs.frozen
class TruncatedFile(CallFaultBehavior):
    """The connection is reset after this `share` of the body; Content-Length promised all of it."""

    share: float = 0.5

    def after(self, answer: Answer) -> Answer:
        """Cut the body."""
        return attrs.evolve(answer, cut=self.share)


@attrs.frozen
class ContentType(FaultBehavior):
    """The answer says it is of this `media_type`."""

    media_type: str = "text/html"

    def after(self, answer: Answer) -> Answer:
        """Relabel the body."""
        others = tuple(header for header in answer.headers if header[0] != "content-type")
        return attrs.evolve(answer, headers=(*others, ("content-type", self.media_type)))


@attrs.frozen
class Redirect(CallFaultBehavior):
    """The answer is a redirect to `url`."""

    url: str
    http: int = 302

    def before(self, call: FaultCall) -> Answer | None:  # noqa: ARG002 - the shape of `Kind`
        """Send the caller elsewhere."""
        return Answer(b"", http=self.http, headers=(("location", self.url),))
