"""Fault scripts: which calls a misfortune strikes. What it does to them is said in `faults`."""

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
"""Which calls: those that begin a task ("submit"), those that answer at once ("call": chat, a picture's
description, documents for research), an "upload", a task's "status", a "batch", the "balance", what there is to
choose from ("models": registries, chat models, speakers), a "file" that was made or uploaded, or "any" of them.
Research with a model begins no task and yet is a "submit": its address is the same. Of BetterWaifu's calls both POSTs
are a "submit", a generation is a "status", and the account is the "balance". A "delivery" to a `webhook_url` is no
call, and none of "any": it is applies when its task is accepted, so that deliveries count in the order of acceptance.
"""

Scope = Literal["requests", "deliveries", "both"]
"""What a kind can strike."""


@attrs.frozen
class FaultTarget:
    """One call as faults see it.

    `text` holds what `Fault.match` searches (ids, what is said to a model, the path); `age` is the number of seconds
    since the youngest task concerned was accepted, None where no task is concerned; `unknown` what the provider says
    of a task that it does not know.
    """

    on: On
    text: str = ""
    age: float | None = None
    unknown_task_message: str = "task not exist"


@attrs.frozen
class PlannedDelivery:
    """One webhook delivery as faults see it: the `message` about `task`, sent `at` this reading of the sandbox's clock.

    `success_at` returns the message of a success whose outputs are addresses under a base URL.
    """

    task: Task
    at: float
    message: PlannedResponse
    success_at: Callable[[str], PlannedResponse]


class Kind(Protocol):
    """A sort of misfortune."""

    scope: ClassVar[Scope]

    def intercept(self, target: FaultTarget) -> PlannedResponse | None:
        """PlannedResponse in the place of the world, which then never hears of the call; None lets it through."""

    def alter_response(self, response: PlannedResponse) -> PlannedResponse:
        """Spoil the answer to a call that the world has processed."""

    def replace_delivery(self, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Say what is sent in the place of a delivery."""


@attrs.frozen
class Fault:
    """A misfortune, and the calls or deliveries it strikes.

    `kind` is one of `aiowery.sandbox.faults`. Of the calls named by `on` whose ids, prompt or path
    contain `match`, it strikes the `nth` (counted from 1), or a random `share` (0-1, from the sandbox's
    seed), or, without either, all; and no more than `times`. Faults that strike the same call add up.
    The same goes for deliveries, of which the path is that of the `webhook_url`: each fault strikes all
    that those before it have made of one. ValueError says that the kind cannot strike what `on` names.
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
            raise TypeError(f"a fault wants a value such as faults.{kind.__name__}(), not the class")

    @on.validator
    def _check_scope(self, _attribute: attrs.Attribute[On], on: On) -> None:
        scope = "deliveries" if on == "delivery" else "requests"
        if self.kind.scope not in {scope, "both"}:
            raise ValueError(f"faults.{type(self.kind).__name__} applies to {self.kind.scope} only, got on={on!r}")

    def matches(self, target: FaultTarget) -> bool:
        """Tell whether the call is one of those it chooses from."""
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
    """The faults of one sandbox, with the count of what each has applies."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rules: list[_FaultRule] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Append faults; safe from any thread."""
        for fault in faults:
            chance = random.Random(f"{self._seed}/{len(self._rules)}")  # noqa: S311 - repeatable on purpose
            self._rules.append(_FaultRule(fault, chance))

    def apply(self, target: FaultTarget) -> tuple[Kind, ...]:
        """Return the kinds that strike this call, in the order of the script."""
        return tuple(rule.fault.kind for rule in self._rules.copy() if rule.applies_to(target))

    def plan_deliveries(self, target: FaultTarget, delivery: PlannedDelivery) -> tuple[PlannedDelivery, ...]:
        """Return what is sent in the place of a delivery; `call` is what the faults are told of it."""
        sent: tuple[PlannedDelivery, ...] = (delivery,)
        for kind in self.apply(target):
            sent = tuple(chain.from_iterable(map(kind.replace_delivery, sent)))
        return sent
