"""Whose call it is: handed to the clients that submit, and to the ledger of those in other processes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from aiowery._events import log
from aiowery._tasks import Snapshot
from aiowery._webhooks import TOKEN_LENGTH, Recipient, ref_of
from aiowery.errors import LedgerError, WebhookError
from aiowery.ledger import Ledger
from aiowery.webhook._reading import parse_delivery
from aiowery.weryai._answers import knows

_TOKEN: Final = re.compile(f"[0-9a-f]{{{TOKEN_LENGTH}}}")
_COMPLAINTS: Final = 60.0
_ELSEWHERE: Final = 10.0


@attrs.frozen(kw_only=True)
class ReceiverStatistics:
    """What a receiver has answered until this moment.

    `recorded`: calls for a submission of ours (duplicates too); `unknown`: those for none; `refused`: those that were
    no delivery; `failed`: those that could not be recorded.
    """

    recorded: int
    unknown: int
    refused: int
    failed: int


class LedgerKeeper:
    """Records what arrives for anybody who shares a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger: Ledger = ledger

    async def delivered(self, ref: str, task_id: str, *, ended: bool) -> bool:
        """Record that a task was told of under a mark; False when that is not known here."""
        return await self.ledger.delivered(ref, task_id, ended=ended) is not None


@attrs.define
class _Counts:
    recorded: int = 0
    unknown: int = 0
    refused: int = 0
    failed: int = 0


class Exchange:
    """Takes calls, and answers with an HTTP status: 200 only once somebody has recorded what was told."""

    def __init__(self, largest: int) -> None:
        self.largest: int = largest
        self._recipients: dict[Recipient, asyncio.AbstractEventLoop] = {}
        self._nobody = "no client is open"
        self._counts = _Counts()
        self._complained_at = float("-inf")

    def attach(self, recipient: Recipient) -> None:
        """Hand what arrives from here on to this recipient too, in the event loop that is running now."""
        self._recipients[recipient] = asyncio.get_running_loop()

    def detach(self, recipient: Recipient) -> None:
        """Hand nothing more to it."""
        self._recipients.pop(recipient, None)

    def statistics(self) -> ReceiverStatistics:
        """Return the figures at this moment."""
        return ReceiverStatistics(**attrs.asdict(self._counts))

    async def receive(self, token: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Take one call and return the HTTP status to answer with; for frameworks that speak no ASGI.

        `token`: the last part of the path that was called. 200: recorded (answer `OK`). 404: not a submission of ours,
        or not its task. 400, 413, 415: not a delivery. 503: nobody is here to record it; it may come again.
        """
        if not _TOKEN.fullmatch(token):
            return self._unknown()
        try:
            snapshot = parse_delivery(body, headers, largest=self.largest)
        except WebhookError as error:
            return self.refuse(error)
        if not self._recipients:
            return self._fail(self._nobody)
        try:
            known = await self._recorded(ref_of(token), snapshot)
        except LedgerError as error:
            return self._fail(str(error))
        if not known:
            return self._unknown()
        self._counts.recorded += 1
        return HTTPStatus.OK

    def refuse(self, error: WebhookError) -> int:
        """Count what is no delivery, and return what to answer."""
        self._counts.refused += 1
        # What it says of the body quotes that.
        self._complain("a body that is no delivery" if error.http_status == HTTPStatus.BAD_REQUEST else str(error))
        return error.http_status

    async def _recorded(self, ref: str, snapshot: Snapshot) -> bool:
        """Tell everybody at once: a ledger that two share knows the submissions of both, and one may be slow."""
        # Nobody has documented calls before the end; should there be some, they must not spend the one that counts.
        ended = snapshot.state.terminal or not knows(snapshot.word)
        tellings = []
        for recipient, loop in tuple(self._recipients.items()):
            telling = recipient.delivered(ref, snapshot.task_id, ended=ended)
            if loop is not asyncio.get_running_loop():
                telling = self._recorded_elsewhere(recipient, loop, telling)
            tellings.append(telling)
        told = await asyncio.gather(*tellings, return_exceptions=True)
        if True in told:
            return True
        for fault in told:
            if isinstance(fault, BaseException):
                raise fault
        return False

    async def _recorded_elsewhere(
        self, recipient: Recipient, loop: asyncio.AbstractEventLoop, telling: Coroutine[Any, Any, bool]
    ) -> bool:
        """Tell a client that lives in another thread, whose loop may end without a word."""
        try:
            told = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(telling, loop))
        except RuntimeError:  # the loop has been closed, and the client was not
            telling.close()
            self.detach(recipient)
            return False
        await asyncio.wait({told}, timeout=_ELSEWHERE)
        if not told.done() or told.cancelled():
            told.cancel()
            raise LedgerError("a client in another thread does not answer")
        return told.result()

    def _unknown(self) -> int:
        self._counts.unknown += 1
        self._complain("for no submission of ours, or not for its task")
        return HTTPStatus.NOT_FOUND

    def _fail(self, why: str) -> int:
        self._counts.failed += 1
        self._complain(f"not recorded: {why}")
        return HTTPStatus.SERVICE_UNAVAILABLE

    def _complain(self, why: str) -> None:
        """Tell of a call that was turned away, once a minute: whoever forges them must not fill the log.

        Neither the address nor the body is told: the one may be secret, the other is a stranger's.
        """
        log.debug("a call to the webhook was turned away: %s", why)
        now = asyncio.get_running_loop().time()
        if now >= self._complained_at + _COMPLAINTS:
            self._complained_at = now
            counts = self._counts
            turned_away = counts.unknown + counts.refused + counts.failed
            log.warning("calls to the webhook are turned away, %d so far; the latest: %s", turned_away, why)
