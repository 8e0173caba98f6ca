"""Receive webhook deliveries for an open client: find the job or the doubt that they are about."""

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

_ROUNDS: Final = 5
_WATCHED: Final = 0.05
_IDLE: Final = 1.0


class WebhookListener:
    """A listener for the webhook deliveries of an open client, from its receiver or through a shared ledger.

    A delivery is a hint, never the truth: it makes a poll come at once, or a doubt be resolved.
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
        self._settling: set[int] = set()
        self._closed = False
        self._received = 0
        self._last = 0

    def open(self) -> None:
        """Listen, if the client has webhooks."""
        if self._webhooks is None:
            return
        if self._webhooks.receiver is not None:
            self._webhooks.receiver.attach(self)
        if self._ledger.is_shared:
            self._background.spawn(self._poll_deliveries())

    def close(self) -> None:
        """Listen no more."""
        self._closed = True
        if self._webhooks is not None and self._webhooks.receiver is not None:
            self._webhooks.receiver.detach(self)

    async def knows(self, submission_id: str) -> bool:
        """Return True if the submission is known here, whatever has become of it."""
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

    def _follow_up(self, entry: Entry, one: WebhookDelivery) -> None:
        if entry.state is State.IN_DOUBT:
            if entry.id not in self._settling and not self._closed:  # a call may be on its way while we close
                self._settling.add(entry.id)
                self._background.spawn(self._resolve_in_rounds(entry.id))
        elif entry.state is State.SENDING and self._journal.is_open(entry.id):
            if one.finished:
                self._registry.keep_early(one.submission_id, one.task_id)
        else:
            self._registry.notify(one.submission_id, one.task_id, finished=one.finished)  # accepted while we asked

    async def _resolve_in_rounds(self, entry_id: int) -> None:
        """Settle a doubt if it can be, in a few rounds, ever further apart, which serve all calls that come meanwhile.

        A status may also lag behind its call.
        """
        try:
            for number in range(_ROUNDS):
                if await self._try_resolve(entry_id):
                    break
                await asyncio.sleep(self._poller.retry_round_delay(number))
        finally:
            self._settling.discard(entry_id)

    async def _try_resolve(self, entry_id: int) -> bool:
        try:
            return await self._resolver.try_resolve(entry_id) is not None
        except AioweryError as error:  # nothing is lost: it is still in doubt, and still told of
            log.warning("entry %d stays in doubt: %s", entry_id, error)
            return False

    async def _poll_deliveries(self) -> None:
        """Hear what other processes have received for us, soon after they wrote it down."""
        seen: int | None = None
        while True:
            try:
                if (version := await self._ledger.change_counter()) != seen:
                    await self._read_new_deliveries()
                    seen = version
            except LedgerError as error:
                log.warning("what other processes receive cannot be read (%s); polling goes on", error)
                await asyncio.sleep(_IDLE)
            await asyncio.sleep(_WATCHED)
            if not self._registry:
                await self._registry.wait_for_job(_IDLE)  # meanwhile a delivery can only be about a doubt

    async def _read_new_deliveries(self) -> None:
        for one in await self._ledger.deliveries(after=self._last):
            await self._handle_delivery(one)
            self._last = one.id

    async def _handle_delivery(self, one: WebhookDelivery) -> None:
        told = self._registry.notify(one.submission_id, one.task_id, finished=one.finished)
        if told is not None:
            self._received += told
            return
        entry = await self._ledger.record_delivery(one.submission_id, one.task_id, finished=one.finished)
        if entry is not None and entry.base_url == self._journal.base_url:
            self._received += self._journal.is_open(entry.id)  # and not those of others on the same file
            self._follow_up(entry, one)
