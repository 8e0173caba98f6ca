"""What a batch is going to send and what that will cost, told before anything is sent."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from aiowery import BetterWaifu, WeryAI
from aiowery._client.client import Client
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.requests import prompt_of
from aiowery.cli.output.progress import write_line
from aiowery.cli.output.tables import print_table
from aiowery.cli.queries import fetch_balance
from aiowery.errors import AioweryError, ConfigurationError
from aiowery.ledger import State

_PROMPT: Final = 60
_WORDS: Final = {
    None: "to send",
    State.NEW: "to send",
    State.CLAIMED: "another process has it",
    State.SENDING: "another process has it",
    State.ACCEPTED: "to be polled on",
    State.DONE: "done before",
    State.FAILED: "failed before",
    State.IN_DOUBT: "in doubt",
}


@attrs.frozen(kw_only=True)
class Step:
    """What is to be done about an item: its state in the ledger, what is wrong with it, and its price if known."""

    item: InputItem
    state: State | None = None
    fault: str | None = None
    price: float | None = None

    @property
    def sends(self) -> bool:
        """Whether it costs something."""
        return self.fault is None and self.state in {None, State.NEW}

    @property
    def words(self) -> str:
        """What is to be done, in words."""
        return _WORDS[self.state] if self.fault is None else self.fault


@attrs.frozen
class Plan:
    """What is to be done about all items."""

    steps: tuple[Step, ...]

    @property
    def sending(self) -> tuple[Step, ...]:
        """The items that cost something."""
        return tuple(step for step in self.steps if step.sends)

    @property
    def estimate(self) -> float:
        """The credits that those of known price will cost."""
        return sum(step.price for step in self.sending if step.price is not None)

    @property
    def unknown(self) -> int:
        """How many will cost nobody knows what."""
        return sum(step.price is None for step in self.sending)

    def __str__(self) -> str:
        others = {step.words: 0 for step in self.steps if not step.sends and step.fault is None}
        for step in self.steps:
            if step.words in others:
                others[step.words] += 1
        faulty = sum(step.fault is not None for step in self.steps)
        parts = [f"{len(self.sending):,} to send", *(f"{number:,} {words}" for words, number in others.items())]
        return ", ".join(parts + [f"{faulty:,} faulty"] * bool(faulty))

    def cost(self, price_per_credit: float | None) -> str:
        """Return the estimate in words."""
        priced = self.estimate if self.unknown < len(self.sending) or not self.sending else None
        known = "" if priced is None else f"about {credits_text(priced, price_per_credit)}"
        unknown = f"{self.unknown:,} of unknown price" if self.unknown else ""
        return " and ".join(filter(None, (known, unknown)))


def credits_text(number: float, price_per_credit: float | None) -> str:
    """Return credits, and the money they cost where that is known."""
    money = "" if price_per_credit is None else f" ({number * price_per_credit:,.2f} at {price_per_credit:g} each)"
    return f"{number:,g} credits{money}"


async def make_plan(client: Client, name: str, items: Sequence[InputItem], faults: Mapping[int, str]) -> Plan:
    """Look into the ledger, and send and enter nothing; `faults` are what is wrong with items, by their lines."""
    requests = [item.request for item in items if item.request is not None]
    states = iter(await client.batches.entry_states(name, requests))
    steps = []
    for item in items:
        if item.request is None:
            steps.append(Step(item=item, fault=item.fault))
            continue
        price = await client.batches.price(item.request)
        steps.append(Step(item=item, state=next(states), fault=faults.get(item.line), price=price))
    return Plan(tuple(steps))


async def print_plan(client: WeryAI | BetterWaifu, plan: Plan, price_per_credit: float | None) -> None:
    """Print every item, the estimate and the balance."""
    rows = []
    for step in plan.steps:
        request = step.item.request
        what = "" if request is None else f"{request.type_name} {request.model_name or ''}".strip()
        price = "?" if step.price is None else f"{step.price:,g}"
        prompt = "" if request is None else " ".join(prompt_of(request).split())[:_PROMPT]
        rows.append((str(step.item.index), step.words, price if step.sends else "", what, prompt))
    print_table(("#", "what", "credits", "request", "prompt"), rows)
    print(f"{plan}.")
    if plan.sending:
        print(f"Estimate: {plan.cost(price_per_credit)}.")
    try:
        balance = await fetch_balance(client)
    except AioweryError as error:
        print(f"Balance: unknown ({error}).")
    else:
        print("Balance: unknown." if balance is None else f"Balance: {credits_text(balance, price_per_credit)}.")
    print("Nothing was sent.")


def confirm(plan: Plan, price_per_credit: float | None, *, yes: bool) -> None:
    """Tell what is going to be spent; on a terminal, ask where that is unknown. ConfigurationError for a no."""
    if not plan.sending:
        return
    write_line(sys.stderr, f"{plan}: {plan.cost(price_per_credit)}.")
    if yes or not plan.unknown or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    sys.stderr.write("Send them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise ConfigurationError("nothing was sent; --yes sends without asking, --price MODEL=CREDITS says the price")
