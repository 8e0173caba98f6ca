"""Fair turns: who begins when, in virtual time, without any network."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.testing import run_virtual
from examples.fair import Busy, FairTurns

USERS = "ABCD"
END, LEAVE = "end", "leave"


@attrs.define(eq=False)
class Wish:
    """One user's wish for a turn, and the moments (in begins of anybody) at which it was made and at which it began."""

    user: str
    made: int
    began: int | None = None
    refused: bool = False
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@attrs.define
class Day:
    """Users who ask, end and leave, and the order in which they began."""

    turns: FairTurns
    wishes: list[Wish] = attrs.field(factory=list)
    begun: list[Wish] = attrs.field(factory=list)

    async def ask(self, user: str) -> None:
        """Let a user ask for a turn."""
        wish = Wish(user, len(self.begun))
        wish.task = asyncio.create_task(self._want(wish))
        self.wishes.append(wish)
        await _settled()

    async def end(self) -> None:
        """End the turn that began first."""
        if self.under_way:
            self.under_way[0].ended.set()
            await _settled()

    async def leave(self) -> None:
        """Cancel the wish that waits longest."""
        waiting = [wish for wish in self.wishes if wish.began is None and wish.task and not wish.task.done()]
        if waiting and waiting[0].task:
            waiting[0].task.cancel()
            await _settled()

    @property
    def under_way(self) -> list[Wish]:
        """The turns that have begun and not ended."""
        return [wish for wish in self.begun if not wish.ended.is_set()]

    async def _want(self, wish: Wish) -> None:
        with suppress(Busy):
            async with self.turns.turn(wish.user):
                wish.began = len(self.begun)
                self.begun.append(wish)
                await wish.ended.wait()
            return
        wish.refused = True


async def _settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _waited_behind(day: Day, wish: Wish) -> list[str]:
    """Return the other users who began while the wish was at the head of its user's line."""
    assert wish.began is not None
    own = [other.began + 1 for other in day.begun[: wish.began] if other.user == wish.user and other.began is not None]
    head_since = max([wish.made, *own])
    return [other.user for other in day.begun[head_since : wish.began]]


ACTIONS = st.lists(st.sampled_from([*USERS, *USERS, END, END, LEAVE]), max_size=60)


@given(actions=ACTIONS, at_once=st.integers(1, 3), waiting_each=st.integers(1, 4))
def test_nobody_waits_for_two_pictures_of_another(actions: list[str], at_once: int, waiting_each: int) -> None:
    """Whoever is at the head of their own line waits for one begin of each other user at most; no place is lost."""

    async def play() -> None:
        day = Day(FairTurns(at_once=at_once, waiting_each=waiting_each))
        for action in actions:
            await (day.end() if action == END else day.leave() if action == LEAVE else day.ask(action))
            assert len(day.under_way) <= at_once
        while day.under_way:
            await day.end()
        for wish in day.begun:
            behind = _waited_behind(day, wish)
            assert len(behind) == len(set(behind))
        assert all(wish.task and wish.task.done() for wish in day.wishes)

    run_virtual(play())


def test_one_of_six_does_not_hold_up_the_other() -> None:
    """A asks six times, then B once: B begins second of those who wait."""

    async def play() -> str:
        day = Day(FairTurns(at_once=1, waiting_each=5))
        for user in "AAAAAAB":
            await day.ask(user)
        while day.under_way:
            await day.end()
        return "".join(wish.user for wish in day.begun)

    assert run_virtual(play()) == "AABAAAA"


def test_the_bound_concerns_the_one_who_reached_it() -> None:
    """With two waiting, A's third is refused in words, and B is not."""

    async def play() -> None:
        day = Day(FairTurns(at_once=1, waiting_each=2))
        for user in "AAAAB":
            await day.ask(user)
        assert [wish.refused for wish in day.wishes] == [False, False, False, True, False]
        with pytest.raises(Busy, match="No more than 2 of your pictures may wait"):
            async with day.turns.turn("A"):
                pass
        while day.under_way:
            await day.end()

    run_virtual(play())


def test_patience_ends_and_leaves_no_gap() -> None:
    """Who waits longer than `patience` is told so; the next in line is served all the same."""

    async def play() -> None:
        turns = FairTurns(at_once=1, patience=180)
        async with turns.turn("A"):
            started = asyncio.get_running_loop().time()
            with pytest.raises(Busy, match="Nothing was charged"):
                async with turns.turn("B"):
                    pass
            assert asyncio.get_running_loop().time() - started == pytest.approx(180)
        async with turns.turn("C"):
            pass

    run_virtual(play())
