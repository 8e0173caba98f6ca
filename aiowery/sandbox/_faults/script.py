"""Fault scripts: the requests and deliveries to which a fault applies. The module `faults` defines its effects."""

from __future__ import annotations

import random
from itertools import chain
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiowery.sandbox._response import PlannedResponse
    from aiowery.sandbox._tasks import Task

On = Literal["submit", "call", "upload", "status", "batch", "balance", "models", "file", "any", "delivery"]
"""Requests that a fault can apply to.

- "submit": requests that start a task. Research with a model starts none, but has the same path.
- "call": requests with a direct result: chat, an image's description, documents for research.
- "upload", "status", "batch", "balance": these requests.
- "models": model listings, speakers, chat models.
- "file": a generated or uploaded file.
- "any": all of these.
- "delivery": deliveries to a `webhook_url`, which "any" does not include. The fault is applied when the task is
  accepted, so deliveries count in the order of acceptance.

At BetterWaifu both POSTs are a "submit", a generation is a "status", and the account is the "balance".
"""

Scope = Literal["requests", "deliveries", "both"]
"""What a fault behavior can apply to."""


@attrs.frozen
class FaultTarget:
    """A request or delivery as faults see it.

    `text` is searched for `Fault.match`: ids, prompt, path. `age` is the number of seconds since the youngest task
    concerned was accepted, None if there is no such task. `unknown_task_message` is the provider's message for an
    unknown task.
    """

    on: On
    text: str = ""
    age: float | None = None
    unknown_task_message: str = "task not exist"


@attrs.frozen
class PlannedDelivery:
    """A webhook delivery before it is sent: the `message` about `task`, due when the sandbox's clock reads `at`.

    `success_at` returns the message of a success whose outputs are URLs under a base URL.
    """

    task: Task
    at: float
    message: PlannedResponse
    success_at: Callable[[str], PlannedResponse]


class Kind(Protocol):
    """Interface of the fault behaviors."""

    scope: ClassVar[Scope]

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:
        """Return a response that replaces the processing of the request, None to process it."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Return the changed response to a processed request."""

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return the deliveries that replace a delivery."""


@attrs.frozen
class Fault:
    """A fault behavior, and the requests or deliveries to which it applies.

    - `kind`: a value from `aiowery.sandbox.faults`.
    - `on`: the kind of requests, or "delivery".
    - `match`: only those whose ids, prompt or path contain this text. A delivery's path is that of its `webhook_url`.
    - `nth`: only the nth of these, counted from 1.
    - `share`: a random share of these (0-1), from the sandbox's seed.
    - `times`: at most this many.

    Without `nth` and `share` it applies to all. Several faults can apply to the same request, in the order in which
    they were added. For deliveries, each fault applies to all deliveries that the earlier ones made of one.

    Raises ValueError if the fault behavior cannot apply to `on`.
    """

    kind: Kind = attrs.field()
    on: On = attrs.field(default="any", kw_only=True)
    match: str = attrs.field(default="", kw_only=True)
    nth: int | None = attrs.field(default=None, kw_only=True)
    share: float = attrs.field(
        default=1.0, kw_only=True, validator=[attrs.validators.ge(0.0), attrs.validators.le(1.0)]
    )
    times: int | None = attrs.field(default=None, kw_only=True)

    @kind.validator
    def _check_kind(self, _attribute: attrs.Attribute[Kind], kind: Kind) -> None:
        if isinstance(kind, type):
            raise TypeError(f"kind must be a value such as faults.{kind.__name__}(), got the class")

    @on.validator
    def _check_scope(self, _attribute: attrs.Attribute[On], on: On) -> None:
        scope = "deliveries" if on == "delivery" else "requests"
        if self.kind.scope not in {scope, "both"}:
            raise ValueError(f"faults.{type(self.kind).__name__} applies to {self.kind.scope} only, got on={on!r}")

    def matches(self, target: FaultTarget) -> bool:
        """Return True if the target is one that the fault can apply to, before counts and shares."""
        is_chosen = self.on == target.on or (self.on == "any" and target.on != "delivery")
        return is_chosen and self.match in target.text


@attrs.define
class _FaultRule:
    fault: Fault
    chance: random.Random
    seen: int = 0
    applied: int = 0

    def applies_to(self, target: FaultTarget) -> bool:
        fault = self.fault
        if not fault.matches(target):
            return False
        self.seen += 1
        if fault.times is not None and self.applied >= fault.times:
            return False
        applies = self.chance.random() < fault.share and fault.nth in {None, self.seen}
        self.applied += applies
        return applies


class FaultScript:
    """Faults of one sandbox, each with the number of times it was applied."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rules: list[_FaultRule] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Append faults. Any thread may do it."""
        for fault in faults:
            chance = random.Random(f"{self._seed}/{len(self._rules)}")  # noqa: S311 - repeatable on purpose
            self._rules.append(_FaultRule(fault, chance))

    def apply(self, target: FaultTarget) -> tuple[Kind, ...]:
        """Return the fault behaviors that apply to this target, in the order in which the faults were added."""
        return tuple(rule.fault.kind for rule in self._rules.copy() if rule.applies_to(target))

    def plan_deliveries(self, target: FaultTarget, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return the deliveries that replace `delivery`. `target` describes it for the faults."""
        sent: tuple[PlannedDelivery, ...] = (delivery,)
        for kind in self.apply(target):
            sent = tuple(chain.from_iterable(map(kind.replace_delivery, sent)))
        return sent
