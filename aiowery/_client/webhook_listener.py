"""Receive webhook deliveries for an open client, and find the job or the doubt that they report on."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiowery._base.background import BackgroundTasks
from aiowery._client.in_doubt import DoubtResolver
from aiowery._client.webhook_registry import WebhookRegistry
from aiowery._core.events import log
from aiowery._core.statistics import WebhookStatistics
from aiowery._core.webhook_config import Webhooks
from aiowery._http.provider_api import ProviderApi
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._journal.journal import SubmissionJournal
from aiowery.errors import AioweryError, LedgerError
from aiowery.ledger import Entry, State, WebhookDelivery

_RESOLVE_ROUNDS: Final = 5
_POLL_INTERVAL: Final = 0.05
_IDLE_INTERVAL: Final = 1.0
_MANY_MISSES: Final = 4


class WebhookListener:
    """A listener for the webhook deliveries of an open client, from its receiver or through a shared ledger.

    A delivery is a hint that a poll confirms: it triggers a poll immediately, or the resolution of a doubt.
    """

    def __init__(
        self,
        webhooks: Webhooks | None,
        registry: WebhookRegistry,
        api: ProviderApi,
        poller: JobPoller,
        journal: SubmissionJournal[Job[Any]],
        resolver: DoubtResolver,
        background: BackgroundTasks,
    ) -> None:
        self._webhooks = webhooks
        self._registry = registry
        self._provider = api.provider
        self._poller = poller
        self._journal = journal
        self._ledger = journal.ledger
        self._resolver = resolver
        self._background = background
        self._resolving: set[int] = set()
        self._closed = False
        self._received = 0
        self._warned = False
        self._last_delivery = 0

    def open(self) -> None:
        """Listen, if the client has webhooks."""
        if self._webhooks is None:
            return
        if self._webhooks.receiver is not None:
            self._webhooks.receiver.attach(self)
        if self._ledger.is_shared:
            self._background.spawn(self._poll_deliveries())

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        if self._webhooks is not None and self._webhooks.receiver is not None:
            self._webhooks.receiver.detach(self)

    def is_awaited(self, submission_id: str) -> bool:
        """Return True if a job waits here for the submission's delivery, or has ended lately."""
        return submission_id in self._registry

    async def knows(self, submission_id: str) -> bool:
        """Return True if the submission is known here, in whatever state."""
        return submission_id in self._registry or await self._ledger.has_submission(submission_id)

    async def on_delivery(self, submission_id: str, body: bytes) -> bool:
        """Record a delivery; return False if the submission is not known here, or the task is not its own.

        Raises UnexpectedResponse for a body that is no delivery of this client's provider.
        """
        delivery = self._provider.decode_delivery(body)
        known = self._registry.notify(submission_id, delivery.task_id, finished=delivery.finished)
        if known is None:
            entry = await self._ledger.record_delivery(submission_id, delivery.task_id, finished=delivery.finished)
            known = entry is not None and entry.base_url == self._journal.base_url
            if entry is not None and known:
                self._follow_up(entry, WebhookDelivery(0, submission_id, delivery.task_id, delivery.finished))
        self._received += known
        return known

    def report_misses(self) -> None:
        """Log a warning once polls have found several ends in a row that no delivery reported: the URL may be wrong.

        Such jobs end late, and nothing else shows it. A delivery that arrives allows the next warning.
        """
        misses = self._poller.fallback.misses_in_row
        if self._webhooks is not None and misses >= _MANY_MISSES and not self._warned:
            log.warning(
                "no webhook delivery arrived for the last %d jobs, whose ends polls found; check that public_url leads"
                " to the receiver: aiowery webhook --check %s",
                misses,
                self._webhooks.public_url,
            )
        self._warned = misses >= _MANY_MISSES

    def statistics(self) -> WebhookStatistics | None:
        """Return the figures at this moment; None if the client has no webhooks."""
        if self._webhooks is None:
            return None
        fallback = self._poller.fallback
        return WebhookStatistics(
            awaited=len(self._registry),
            received=self._received,
            first=fallback.delivered,
            late=fallback.misses,
            fallback_interval=fallback.seconds,
        )

    def _follow_up(self, entry: Entry, delivery: WebhookDelivery) -> None:
        if entry.state is State.IN_DOUBT:
            if entry.id not in self._resolving and not self._closed:  # a delivery may arrive while the client closes
                self._resolving.add(entry.id)
                self._background.spawn(self._resolve_in_rounds(entry.id))
        elif entry.state is State.SENDING and self._journal.is_open(entry.id):
            if delivery.finished:
                self._registry.keep_early(delivery.submission_id, delivery.task_id)
        else:  # the submission was accepted while the ledger was read
            self._registry.notify(delivery.submission_id, delivery.task_id, finished=delivery.finished)

    async def _resolve_in_rounds(self, entry_id: int) -> None:
        """Try to resolve a doubt in a few rounds with growing pauses.

        The rounds also serve deliveries that arrive meanwhile, and a status that lags behind its delivery.
        """
        try:
            for number in range(_RESOLVE_ROUNDS):
                if await self._try_resolve(entry_id):
                    break
                await asyncio.sleep(self._poller.retry_round_delay(number))
        finally:
            self._resolving.discard(entry_id)

    async def _try_resolve(self, entry_id: int) -> bool:
        try:
            return await self._resolver.try_resolve(entry_id) is not None
        except AioweryError as error:  # nothing is lost: the entry stays in doubt
            log.warning("entry %d stays in doubt: %s", entry_id, error)
            return False

    async def _poll_deliveries(self) -> None:
        """Read the deliveries that other processes record in the ledger, soon after they are written."""
        seen: int | None = None
        while True:
            try:
                if (version := await self._ledger.change_counter()) != seen:
                    await self._read_new_deliveries()
                    seen = version
            except LedgerError as error:
                log.warning("the deliveries of other processes cannot be read (%s); polling goes on", error)
                await asyncio.sleep(_IDLE_INTERVAL)
            await asyncio.sleep(_POLL_INTERVAL)
            if not self._registry:
                await self._registry.wait_for_job(_IDLE_INTERVAL)  # meanwhile a delivery can only be about a doubt

    async def _read_new_deliveries(self) -> None:
        for delivery in await self._ledger.deliveries(after=self._last_delivery):
            await self._handle_delivery(delivery)
            self._last_delivery = delivery.id

    async def _handle_delivery(self, delivery: WebhookDelivery) -> None:
        is_own = self._registry.notify(delivery.submission_id, delivery.task_id, finished=delivery.finished)
        if is_own is not None:
            self._received += is_own
            return
        entry = await self._ledger.record_delivery(delivery.submission_id, delivery.task_id, finished=delivery.finished)
        if entry is not None and entry.base_url == self._journal.base_url:
            self._received += self._journal.is_open(entry.id)  # not deliveries for other clients on the same file
            self._follow_up(entry, delivery)
