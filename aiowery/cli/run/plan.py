"""The plan of a batch: the requests to send and their cost, shown before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from aiowery._client.client import Client
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.requests import prompt_of
from aiowery.cli.output.tables import print_table
from aiowery.cli.terminal import is_interactive, print_notice, print_text, request_consent
from aiowery.errors import AioweryError, ConfigurationError
from aiowery.ledger import State

_MAX_PROMPT: Final = 60
_ACTIONS: Final = {
    None: "to send",
    State.NEW: "to send",
    State.CLAIMED: "in progress in another process",
    State.SENDING: "in progress in another process",
    State.ACCEPTED: "to be polled",
    State.DONE: "done before",
    State.FAILED: "failed before",
    State.IN_DOUBT: "in doubt",
}


@attrs.frozen(kw_only=True)
class Step:
    """A planned item: its state in the ledger, its fault, and its price, or None if that is unknown."""

    item: InputItem
    state: State | None = None
    fault: str | None = None
    price: float | None = None

    @property
    def will_send(self) -> bool:
        """True if the item will be sent and charged."""
        return self.fault is None and self.state in {None, State.NEW}

    @property
    def action(self) -> str:
        """Planned action as text."""
        return _ACTIONS[self.state] if self.fault is None else self.fault


@attrs.frozen
class Plan:
    """Planned steps of all items."""

    steps: tuple[Step, ...]

    @property
    def to_send(self) -> tuple[Step, ...]:
        """Steps that will be sent and charged."""
        return tuple(step for step in self.steps if step.will_send)

    @property
    def estimate(self) -> float:
        """Credits for the requests of known price."""
        return sum(step.price for step in self.to_send if step.price is not None)

    @property
    def unknown_count(self) -> int:
        """Number of requests of unknown price."""
        return sum(step.price is None for step in self.to_send)

    def __str__(self) -> str:
        counts = {step.action: 0 for step in self.steps if not step.will_send and step.fault is None}
        for step in self.steps:
            if step.action in counts:
                counts[step.action] += 1
        faulty = sum(step.fault is not None for step in self.steps)
        parts = [f"{len(self.to_send):,} to send", *(f"{number:,} {action}" for action, number in counts.items())]
        return ", ".join(parts + [f"{faulty:,} faulty"] * bool(faulty))

    def cost(self, price_per_credit: float | None) -> str:
        """Return the estimate as text."""
        priced = self.estimate if self.unknown_count < len(self.to_send) or not self.to_send else None
        known = "" if priced is None else f"about {credits_text(priced, price_per_credit)}"
        unknown = f"{self.unknown_count:,} of unknown price" if self.unknown_count else ""
        return " and ".join(filter(None, (known, unknown)))


def credits_text(number: float, price_per_credit: float | None) -> str:
    """Return credits as text, with their price in money if `price_per_credit` is given."""
    money = "" if price_per_credit is None else f" ({number * price_per_credit:,.2f} at {price_per_credit:g} each)"
    return f"{number:,g} credits{money}"


async def make_plan(client: Client, name: str, items: Sequence[InputItem], faults: Mapping[int, str]) -> Plan:
    """Return the plan, made from the ledger without sending or storing. `faults` are keyed by line number."""
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


async def print_plan(client: Client, plan: Plan, price_per_credit: float | None) -> None:
    """Print every item, the estimate and the balance."""
    rows = []
    for step in plan.steps:
        request = step.item.request
        what = "" if request is None else f"{request.type_name} {request.model_name or ''}".strip()
        price = "?" if step.price is None else f"{step.price:,g}"
        prompt = "" if request is None else " ".join(prompt_of(request).split())[:_MAX_PROMPT]
        rows.append((str(step.item.index), step.action, price if step.will_send else "", what, prompt))
    print_table(("#", "what", "credits", "request", "prompt"), rows)
    print_text(f"{plan}.")
    if plan.to_send:
        print_text(f"Estimate: {plan.cost(price_per_credit)}.")
    try:
        balance = await client.balance()
    except AioweryError as error:
        print_text(f"Balance: unknown ({error}).")
    else:
        print_text("Balance: unknown." if balance is None else f"Balance: {credits_text(balance, price_per_credit)}.")
    print_text("Nothing was sent.")


def confirm(plan: Plan, price_per_credit: float | None, *, yes: bool) -> None:
    """Print the estimate. If a price is unknown, request consent on a terminal.

    Raises ConfigurationError if the user declines.
    """
    if not plan.to_send:
        return
    print_notice(f"{plan}: {plan.cost(price_per_credit)}.")
    if yes or not plan.unknown_count or not is_interactive():
        return
    if not request_consent("Send them?"):
        raise ConfigurationError(
            "the requests were declined; nothing was sent: --yes sends without a question,"
            " --price MODEL=CREDITS gives the price"
        )
