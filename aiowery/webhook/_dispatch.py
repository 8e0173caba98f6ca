"""Whose call it is: handed to the clients that submit, and to the ledger of those in other processes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from aiowery._core.events import log
from aiowery._core.webhook_config import TOKEN_LENGTH, DeliveryHandler, TaskDelivery, submission_id_of
from aiowery.errors import LedgerError, UnexpectedResponse, WebhookError
from aiowery.ledger import Ledger
from aiowery.webhook._parsing import check_body, not_a_delivery

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


DecodeDelivery = Callable[[bytes], TaskDelivery]
"""Decodes a delivery's body, such as `Provider.decode_delivery`. Raises UnexpectedResponse for a body that is none."""


class LedgerSink:
    """A delivery handler that records deliveries for the clients of other processes, which share the ledger."""

    def __init__(self, ledger: Ledger, decode: DecodeDelivery) -> None:
        self.ledger: Ledger = ledger
        self._decode = decode

    async def knows(self, submission_id: str) -> bool:
        """Return True if the ledger has the submission."""
        return await self.ledger.has_submission(submission_id)

    async def on_delivery(self, submission_id: str, body: bytes) -> bool:
        """Record a delivery; return False if the submission is not known, or the task is not its own."""
        delivery = self._decode(body)
        entry = await self.ledger.record_delivery(submission_id, delivery.task_id, finished=delivery.finished)
        return entry is not None


@attrs.define
class _Counts:
    recorded: int = 0
    unknown: int = 0
    refused: int = 0
    failed: int = 0


class DeliveryDispatcher:
    """Takes calls, and answers with an HTTP status: 200 only once somebody has recorded what was told."""

    def __init__(self, largest: int) -> None:
        self.largest: int = largest
        self._recipients: dict[DeliveryHandler, asyncio.AbstractEventLoop] = {}
        self._nobody = "no client is open"
        self._counts = _Counts()
        self._complained_at = float("-inf")

    def attach(self, recipient: DeliveryHandler) -> None:
        """Hand what arrives from here on to this recipient too, in the event loop that is running now."""
        self._recipients[recipient] = asyncio.get_running_loop()

    def detach(self, recipient: DeliveryHandler) -> None:
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
        return await self.check_address(token) or await self.record(token, body, headers)

    async def check_address(self, token: str) -> int | None:
        """Return the HTTP status that turns a call to this address away; None if its body is to be read.

        404: the address is not one of a submission. 503: no recipient is open, or none can be asked.
        """
        if not _TOKEN.fullmatch(token):
            return self._unknown()
        try:
            known = await self._known(submission_id_of(token))
        except LedgerError as error:
            return self._fail(str(error))
        return None if known else self._unknown()

    async def record(self, token: str, body: bytes, headers: Mapping[str, str] | None) -> int:
        """Record a call whose address has been checked, and return the HTTP status to answer with."""
        try:
            check_body(body, headers, largest=self.largest)
            known = await self._recorded(submission_id_of(token), body)
        except UnexpectedResponse as error:
            return self.refuse(not_a_delivery(error))
        except WebhookError as error:
            return self.refuse(error)
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

    async def _recorded(self, submission_id: str, body: bytes) -> bool:
        """Hand a delivery to all handlers at once: a shared ledger has the submissions of several, and may be slow."""
        results = await asyncio.gather(
            *self._ask_handlers(lambda handler: handler.on_delivery(submission_id, body)), return_exceptions=True
        )
        if True in results:
            return True
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return False

    async def _known(self, ref: str) -> bool:
        """Return True once one recipient knows the mark: another may be slow, or unable to answer."""
        answers = [
            asyncio.ensure_future(answer) for answer in self._ask_handlers(lambda recipient: recipient.knows(ref))
        ]
        fault: Exception | None = None
        try:
            for answer in asyncio.as_completed(answers):
                try:
                    if await answer:
                        return True
                except LedgerError as error:
                    fault = error
        finally:
            for asked in answers:
                asked.cancel()
            await asyncio.gather(*answers, return_exceptions=True)
        if fault is not None:
            raise fault
        return False

    def _ask_handlers(
        self, question: Callable[[DeliveryHandler], Coroutine[Any, Any, bool]]
    ) -> list[Coroutine[Any, Any, bool]]:
        """Return what answers a question to each recipient, to be awaited here; LedgerError if there is none."""
        if not self._recipients:
            raise LedgerError(self._nobody)
        here = asyncio.get_running_loop()
        return [
            question(recipient) if loop is here else self._ask_ledgers(recipient, loop, question(recipient))
            for recipient, loop in tuple(self._recipients.items())
        ]

    async def _ask_ledgers(
        self, recipient: DeliveryHandler, loop: asyncio.AbstractEventLoop, question: Coroutine[Any, Any, bool]
    ) -> bool:
        """Ask a client that lives in another thread, whose loop may end without a word."""
        try:
            answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(question, loop))
        except RuntimeError:  # the loop has been closed, and the client was not
            question.close()
            self.detach(recipient)
            return False
        try:
            await asyncio.wait({answer}, timeout=_ELSEWHERE)
        finally:
            answer.cancel()
        if answer.cancelled():
            raise LedgerError("a client in another thread does not answer")
        return answer.result()

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
