"""Pass webhook deliveries to the open clients, and to the ledger of clients in other processes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, Final

import attrs

from aiowery._base.secret import Secret, hide
from aiowery._core.events import log
from aiowery._core.webhook_config import (
    TOKEN_LENGTH,
    DeliveryHandler,
    TaskDelivery,
    submission_id_of,
    without_token,
)
from aiowery.errors import LedgerError, UnexpectedResponse, WebhookError
from aiowery.ledger import Ledger
from aiowery.webhook._parsing import check_body, not_a_delivery
from aiowery.webhook._reports import OnceAMinute

_TOKEN: Final = re.compile(f"[0-9a-f]{{{TOKEN_LENGTH}}}")
_OTHER_LOOP_TIMEOUT: Final = 10.0


@attrs.frozen(kw_only=True)
class ReceiverStatistics:
    """Counts of the deliveries that a receiver has handled.

    `recorded`: for a known submission, duplicates included. `unknown`: for no known submission. `refused`: not a valid
    delivery. `failed`: could not be recorded.
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

    def is_awaited(self, submission_id: str) -> bool:  # noqa: ARG002 - signature of `DeliveryHandler`
        """Return False: only the ledger knows."""
        return False

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
    """A dispatcher of deliveries that returns an HTTP status: 200 only once a handler has recorded the delivery."""

    def __init__(self, largest: int) -> None:
        self.largest: int = largest
        self._handlers: dict[DeliveryHandler, asyncio.AbstractEventLoop] = {}
        self._no_handler_reason = "no client is open"
        self._counts = _Counts()
        self._reports = OnceAMinute(lambda: asyncio.get_running_loop().time())

    def attach(self, handler: DeliveryHandler) -> None:
        """Pass later deliveries to this handler too, in the event loop that is running now."""
        self._handlers[handler] = asyncio.get_running_loop()

    def detach(self, handler: DeliveryHandler) -> None:
        """Pass no more deliveries to this handler."""
        self._handlers.pop(handler, None)

    def statistics(self) -> ReceiverStatistics:
        """Return the figures at this moment."""
        return ReceiverStatistics(**attrs.asdict(self._counts))

    async def receive(self, token: str | Secret, body: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Handle one delivery and return the HTTP status of the response; for frameworks without ASGI.

        `token` is the last part of the request's path. 200: recorded (respond with `OK`). 404: not a known submission,
        or not its task. 400, 413, 415: not a valid delivery. 503: it could not be recorded, and may be sent again.
        """
        token = hide(token)  # before anything raises with it in a variable
        return await self.check_address(token) or await self.record(token, body, headers)

    def is_awaited(self, token: str | Secret) -> bool:
        """Return True if the URL is one at which an open client in this process waits for a delivery."""
        submission_id = _submission_id(hide(token))
        return submission_id is not None and any(handler.is_awaited(submission_id) for handler in tuple(self._handlers))

    async def check_address(self, token: str | Secret) -> int | None:
        """Return the HTTP status that rejects a delivery by its URL; None if its body is to be read.

        404: the token belongs to no submission. 503: no handler is open, or no handler responds.
        """
        token = hide(token)
        submission_id = _submission_id(token)
        if submission_id is None:
            return self._unknown()
        try:
            known = await self._is_known(submission_id)
        except LedgerError as error:
            return self._fail(str(error))
        except Exception:  # noqa: BLE001 - a ledger of the caller's own may raise anything
            return self._fail_unexpectedly()
        return None if known else self._unknown()

    async def record(self, token: str | Secret, body: bytes, headers: Mapping[str, str] | None) -> int:
        """Record a delivery whose URL has been checked, and return the HTTP status of the response."""
        token = hide(token)
        try:
            check_body(body, headers, largest=self.largest)
            body = without_token(body, token)
            known = await self._hand_over(submission_id_of(token.reveal()), body)
        except UnexpectedResponse as error:
            return self.refuse(not_a_delivery(error))
        except WebhookError as error:
            return self.refuse(error)
        except LedgerError as error:
            return self._fail(str(error))
        except Exception:  # noqa: BLE001 - as above
            return self._fail_unexpectedly()
        if not known:
            return self._unknown()
        self._counts.recorded += 1
        return HTTPStatus.OK

    def refuse(self, error: WebhookError) -> int:
        """Count an invalid delivery, and return the HTTP status of the response."""
        self._counts.refused += 1
        # The message of this error quotes the body, which must not be logged.
        self._log_rejected("a body that is no delivery" if error.http_status == HTTPStatus.BAD_REQUEST else str(error))
        return error.http_status

    async def _hand_over(self, submission_id: str, body: bytes) -> bool:
        """Pass a delivery to all handlers concurrently, because several may share a ledger, which may be slow."""
        results = await asyncio.gather(
            *self._for_each_handler(lambda handler: handler.on_delivery(submission_id, body)), return_exceptions=True
        )
        if True in results:
            return True
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return False

    async def _is_known(self, submission_id: str) -> bool:
        """Return True once one handler knows the submission id; the others may be slow, or fail."""
        lookups = [
            asyncio.ensure_future(lookup)
            for lookup in self._for_each_handler(lambda handler: handler.knows(submission_id))
        ]
        failure: Exception | None = None
        try:
            for result in asyncio.as_completed(lookups):
                try:
                    if await result:
                        return True
                except LedgerError as error:
                    failure = error
        finally:
            for lookup in lookups:
                lookup.cancel()
            await asyncio.gather(*lookups, return_exceptions=True)
        if failure is not None:
            raise failure
        return False

    def _for_each_handler(
        self, operation: Callable[[DeliveryHandler], Coroutine[Any, Any, bool]]
    ) -> list[Coroutine[Any, Any, bool]]:
        """Return a coroutine for each handler that runs the operation in the handler's event loop.

        Raises LedgerError if there is no handler.
        """
        if not self._handlers:
            raise LedgerError(self._no_handler_reason)
        here = asyncio.get_running_loop()
        return [
            operation(handler) if loop is here else self._run_in_loop(handler, loop, operation(handler))
            for handler, loop in tuple(self._handlers.items())
        ]

    async def _run_in_loop(
        self, handler: DeliveryHandler, loop: asyncio.AbstractEventLoop, operation: Coroutine[Any, Any, bool]
    ) -> bool:
        """Run an operation in the event loop of another thread, which may end without notice."""
        try:
            result = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(operation, loop))
        except RuntimeError:  # the loop was closed without closing the client
            operation.close()
            self.detach(handler)
            return False
        try:
            await asyncio.wait({result}, timeout=_OTHER_LOOP_TIMEOUT)
        finally:
            result.cancel()
        if result.cancelled():
            raise LedgerError("a client in another thread does not respond")
        return result.result()

    def _unknown(self) -> int:
        self._counts.unknown += 1
        self._log_rejected("for no known submission, or not for its task")
        return HTTPStatus.NOT_FOUND

    def _fail(self, reason: str) -> int:
        self._counts.failed += 1
        self._log_rejected(f"not recorded: {reason}")
        return HTTPStatus.SERVICE_UNAVAILABLE

    def _fail_unexpectedly(self) -> int:
        """Log the exception under way, once a minute.

        It does not reach the server, in whose tracebacks the variables hold the URL.
        """
        self._counts.failed += 1
        if self._reports.is_due():
            log.exception("a webhook delivery could not be recorded")
        return HTTPStatus.SERVICE_UNAVAILABLE

    def _log_rejected(self, reason: str) -> None:
        """Log a rejected delivery, as a warning once a minute only, so that forged deliveries cannot fill the log.

        Neither the URL nor the body is logged: the URL may be secret, and the body comes from an unknown sender.
        """
        log.debug("a webhook delivery was rejected: %s", reason)
        if self._reports.is_due():
            counts = self._counts
            rejected = counts.unknown + counts.refused + counts.failed
            log.warning("webhook deliveries are rejected, %d so far; the latest: %s", rejected, reason)


def _submission_id(token: Secret) -> str | None:
    """Return the submission id of a token; None for a text in another form."""
    return submission_id_of(token.reveal()) if _TOKEN.fullmatch(token.reveal()) else None
