"""An open client: all its parts, connected once, in one event loop.

`ClientRuntime` lives from `async with` to its end. The client in front of it is only configuration and can be opened
again, in another loop too.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import random
from typing import Any, Final

import attrs

from aiowery._base.background import BackgroundTasks
from aiowery._base.loop_binding import LoopBinding
from aiowery._base.new_files import SHARED
from aiowery._base.secret import Secret
from aiowery._base.text import some_of
from aiowery._client.batches import BatchService
from aiowery._client.config import ClientConfig
from aiowery._client.in_doubt import DoubtResolver
from aiowery._client.known_tasks import KnownTasks
from aiowery._client.restore import JobRestorer
from aiowery._client.submission_reports import SubmissionReports
from aiowery._client.submitter import Submitter
from aiowery._client.webhook_listener import WebhookListener
from aiowery._client.webhook_registry import WebhookRegistry
from aiowery._core.durations import DurationEstimator
from aiowery._core.events import Event, EventEmitter, log
from aiowery._core.job_end import JobEnd
from aiowery._core.labels import Labels
from aiowery._core.policies import Limits
from aiowery._core.provider import Provider
from aiowery._core.statistics import ClientStatistics
from aiowery._http.download import Downloader
from aiowery._http.http_client import HttpClient
from aiowery._http.provider_api import ProviderApi
from aiowery._http.retry import RetryingClient
from aiowery._http.upload import Uploader
from aiowery._jobs.job import Job
from aiowery._jobs.poller import JobPoller
from aiowery._jobs.registry import JobRegistry
from aiowery._journal.journal import SubmissionJournal
from aiowery._journal.record import SubmissionRecord
from aiowery._journal.spending import Spending
from aiowery._queue.admission import Admission
from aiowery._queue.circuit_breaker import BreakerMember, CircuitBreaker, shared_breaker
from aiowery._queue.cross_process import CrossProcessTurn
from aiowery._queue.state_file import QueueStateFile
from aiowery._queue.submission_queue import SubmissionQueue, shared_queue
from aiowery.errors import ConfigurationError
from aiowery.ledger import Ledger, MemoryLedger, SqliteLedger

_KEPT_FOR_REUSE: Final = 10_000


async def open_runtime(config: ClientConfig, provider: Provider) -> ClientRuntime:
    """Open the connections and the ledger, and connect all parts of a client."""
    key = await config.api_key.key()
    http_client = await HttpClient.open(
        config.base_url,
        config.api_key,
        connections=config.limits.connections,
        timeout=config.http_timeout,
        http=config.http,
        other_hosts=config.other_hosts,
        allow_hosts=config.allow_hosts,
    )
    try:
        journal = await _open_journal(config)
    except BaseException:
        await http_client.aclose()
        raise
    return ClientRuntime(config, provider, http_client, journal, key)


async def _open_journal(config: ClientConfig) -> SubmissionJournal[Job[Any]]:
    ledger, owned = _choose_ledger(config)
    spending = Spending(
        ledger,
        config.base_url,
        prices=config.prices,
        budget=config.budget,
        unit_price=config.price_per_credit,
    )
    journal: SubmissionJournal[Job[Any]] = SubmissionJournal(ledger, config.base_url, spending, owns_ledger=owned)
    await journal.open()
    return journal


def _choose_ledger(config: ClientConfig) -> tuple[Ledger, bool]:
    """Return the ledger, and True if the client opens and closes it."""
    if config.ledger is None:
        return MemoryLedger(remember=_KEPT_FOR_REUSE if config.reuse else 0), True
    if isinstance(config.ledger, (str, os.PathLike)):
        return SqliteLedger(config.ledger), True
    return config.ledger, False


def _file_mode(ledger: Ledger) -> int:
    """Return the mode of downloaded files: that of the ledger's file, so that the same users read both."""
    return ledger.file_mode if isinstance(ledger, SqliteLedger) else SHARED


class ClientRuntime:
    """The parts of an open client."""

    def __init__(
        self,
        config: ClientConfig,
        provider: Provider,
        http_client: HttpClient,
        journal: SubmissionJournal[Job[Any]],
        key: Secret,
    ) -> None:
        limits, retries = config.limits, config.retries
        self.binding: LoopBinding = LoopBinding()
        self.events: EventEmitter = EventEmitter(config.observer)
        self.background: BackgroundTasks = BackgroundTasks()
        self._context = contextvars.copy_context()
        labels = Labels(config.log_prompts)
        reports = SubmissionReports(self.events, labels)
        self.journal: SubmissionJournal[Job[Any]] = journal
        self._http_client = http_client

        sending = RetryingClient(http_client, config.api_key, retries, random.random, provider.is_own_response)
        read_gate = asyncio.Semaphore(limits.polls)
        self.api: ProviderApi = ProviderApi(provider, sending, read_gate)
        self.downloads: Downloader = Downloader(
            http_client,
            asyncio.Semaphore(limits.downloads),
            retries,
            random.random,
            self.api.read_status,
            self.events,
            _file_mode(journal.ledger),
        )
        self.uploads: Uploader = Uploader(provider, sending, asyncio.Semaphore(limits.uploads))

        self.breaker: CircuitBreaker = _shared_breaker(config, key)
        self.registry: JobRegistry = JobRegistry()
        self._poller = self._new_poller(config, read_gate)
        self._webhooks = WebhookRegistry(config.webhooks, self._poller)
        tasks = _shared_queue(config, key, "tasks", limits, self.breaker)
        direct = _shared_queue(config, key, "direct calls", limits.for_direct_calls(), self.breaker)
        self.restorer: JobRestorer = JobRestorer(
            provider, self._poller, self.registry, journal, tasks, self._webhooks, labels
        )
        mutex = CrossProcessTurn(tasks, _queue_state_file(config), self.restorer.wait_for_tasks)
        self._admission = Admission(tasks, direct, mutex)
        known_tasks = KnownTasks(self.registry, journal)
        resolver = DoubtResolver(self.api, journal, known_tasks, self.restorer, config.request_types.from_dict, labels)
        self._listener = WebhookListener(
            config.webhooks, self._webhooks, self.api, self._poller, journal, resolver, self.background
        )
        self.submitter: Submitter = Submitter(
            self.api, self.uploads, self._admission, journal, self._poller, self._webhooks, resolver, reports
        )
        self.batches: BatchService = BatchService(journal, self.submitter, self.restorer, resolver, labels)
        self._breaker_member = self._connect()

    def _new_poller(self, config: ClientConfig, read_gate: asyncio.Semaphore) -> JobPoller:
        policy = config.polling
        return JobPoller(
            self.api,
            policy,
            self.registry,
            DurationEstimator(policy.min_samples, policy.percentile, self.journal.durations),
            gate=read_gate,
            polls=config.limits.polls,
            events=self.events,
            random=random.random,
        )

    def _connect(self) -> BreakerMember:
        """Subscribe to ends of jobs, to webhook deliveries, and to the circuit breaker."""
        self._poller.on_end += [self._record_end, self._unregister_webhook, self._drop_oldest]
        member = BreakerMember(
            check=lambda: self.background.spawn(self.api.liveness_fault()),
            admit=self._admission.admit_waiting,
            emit=self._emit_as_opened,
        )
        self.breaker.add_member(member)
        self._listener.open()
        return member

    def _emit_as_opened(self, event: Event) -> None:
        """Emit an event of the circuit breaker, which another client's submission may have caused."""
        self._context.copy().run(self.events.emit, event)

    def _record_end(self, job: Job[Any], end: JobEnd) -> None:
        """Record a job's end; let another process poll a job that has exceeded its timeout."""
        if isinstance(job._record, SubmissionRecord):
            if job.done:
                self.journal.record_end(job._record, end)
                job._record = None
                self.journal.spending.check_reported(job.request, end)
            else:
                self.journal.disown(job._record)

    def _unregister_webhook(self, job: Job[Any], _: JobEnd) -> None:
        if job.done:
            self._webhooks.unregister(job)
            self._listener.report_misses()

    def _drop_oldest(self, job: Job[Any], _: JobEnd) -> None:
        """Count the end, and drop the oldest job whose result was not received, if there are too many."""
        dropped = self.registry.end(job)
        if dropped is not None:
            if isinstance(dropped._record, SubmissionRecord):
                self.journal.forget(dropped._record)
            self._webhooks.unregister(dropped)

    def check_loop(self) -> None:
        """Raise ConfigurationError anywhere but in the event loop and the process in which the client was opened."""
        if fault := self.binding.fault("the client"):
            raise ConfigurationError(fault)

    def statistics(self) -> ClientStatistics:
        """Return the figures at this moment."""
        return ClientStatistics(
            queue=self._admission.tasks.statistics(),
            direct_queue=self._admission.direct.statistics(),
            polls=self._poller.statistics(),
            under_way=len(self.registry),
            credits=self.journal.spending.account.used,
            money=self.journal.spending.money,
            webhooks=self._listener.statistics(),
            finished=self.registry.finished,
            failed=self.registry.failed,
            **attrs.asdict(self.submitter.reports.counts),
        )

    async def aclose(self) -> None:
        """Reject submissions in the queue, wait for the POSTs under way, log unfinished jobs, and close all parts."""
        if self.binding.is_over:
            await self._abandon()
            return
        self.submitter.stop()
        try:
            await self.submitter.finished()
        finally:
            self.breaker.remove_member(self._breaker_member)
            self._listener.close()
            await self.background.cancel()
            await self.uploads.aclose()
            await self._close_jobs()
            await self.journal.aclose()
            await self._admission.aclose()
            await self._http_client.aclose()

    async def _abandon(self) -> None:
        """Give up what outlives a closed event loop: the ledger, the queue's file, the webhooks.

        After a fork that is the parent's, and nothing is done.
        """
        if not self.binding.is_inherited:
            self._listener.close()
            self._admission.abandon()
            await self.journal.abandon()

    async def _close_jobs(self) -> None:
        left = tuple(job for job in self.registry.jobs() if not job.done)
        if left:
            ids = some_of([task_id for job in left for task_id in job.task_ids])
            log.warning("closed with %d jobs under way; client.job(task_id) finds them again: %s", len(left), ids)
        await self._poller.aclose(left)
        for job in left:
            if job._ticket is not None and job._slots:
                job._ticket.queue.release(job._ticket, job._slots)


def _shared_breaker(config: ClientConfig, key: Secret) -> CircuitBreaker:
    return shared_breaker(config.base_url, key, lambda: CircuitBreaker(config.limits.max_doubts, config.retries))


def _shared_queue(
    config: ClientConfig, key: Secret, kind: str, limits: Limits, breaker: CircuitBreaker
) -> SubmissionQueue:
    return shared_queue(
        config.base_url, key, kind, lambda: SubmissionQueue(limits, config.retries, random.random, breaker)
    )


def _queue_state_file(config: ClientConfig) -> QueueStateFile | None:
    if config.queue_file is None:
        return None
    return QueueStateFile(
        config.queue_file,
        cool_down=config.limits.cool_down,
        expected_duration=config.limits.expected_duration or 0.0,
        max_wait=config.polling.image_timeout,
    )
