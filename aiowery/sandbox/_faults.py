"""Fault scripts: which calls a misfortune strikes. What it does to them is said in `faults`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiowery.sandbox._answer import Answer

On = Literal["submit", "call", "upload", "status", "batch", "balance", "models", "file", "any"]
"""Which calls: those that begin a task ("submit"), those that answer at once ("call": chat, a picture's
description, documents for research), an "upload", a task's "status", a "batch", the "balance", what there is to
choose from ("models": registries, chat models, speakers), a "file" that was made or uploaded, or "any" of them.
Research with a model begins no task and yet is a "submit": its address is the same. Of BetterWaifu's calls both POSTs
are a "submit", a generation is a "status", and the account is the "balance".
"""


@attrs.frozen
class Call:
    """One call as faults see it.

    `text` holds what `Fault.match` searches (ids, what is said to a model, the path); `age` is the number of seconds
    since the youngest task concerned was accepted, None where no task is concerned; `unknown` what the provider says
    of a task that it does not know.
    """

    on: On
    text: str = ""
    age: float | None = None
    unknown: str = "task not exist"


class Kind(Protocol):
    """A sort of misfortune."""

    def before(self, call: Call) -> Answer | None:
        """Answer in the place of the world, which then never hears of the call; None lets it through."""

    def after(self, answer: Answer) -> Answer:
        """Spoil the answer to a call that the world has processed."""


@attrs.frozen
class Fault:
    """A misfortune, and the calls it strikes.

    `kind` is one of `aiowery.sandbox.faults`. Of the calls named by `on` whose ids, prompt or path
    contain `match`, it strikes the `nth` (counted from 1), or a random `share` (0-1, from the sandbox's
    seed), or, without either, all; and no more than `times`. Faults that strike the same call add up.
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
    def _is_a_value(self, _attribute: attrs.Attribute[Kind], kind: Kind) -> None:
        if isinstance(kind, type):
            raise TypeError(f"a fault wants a value such as faults.{kind.__name__}(), not the class")


@attrs.define
class _Line:
    fault: Fault
    chance: random.Random
    calls: int = 0
    strikes: int = 0

    def strikes_at(self, call: Call) -> bool:
        fault = self.fault
        if fault.on not in {"any", call.on} or fault.match not in call.text:
            return False
        self.calls += 1
        if fault.times is not None and self.strikes >= fault.times:
            return False
        struck = self.chance.random() < fault.share and fault.nth in {None, self.calls}
        self.strikes += struck
        return struck


class Script:
    """The faults of one sandbox, with the count of what each has struck."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._lines: list[_Line] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Append faults; safe from any thread."""
        for fault in faults:
            chance = random.Random(f"{self._seed}/{len(self._lines)}")  # noqa: S311 - repeatable on purpose
            self._lines.append(_Line(fault, chance))

    def strike(self, call: Call) -> tuple[Kind, ...]:
        """Return the kinds that strike this call, in the order of the script."""
        return tuple(line.fault.kind for line in self._lines.copy() if line.strikes_at(call))
