"""Asyncio client for generative-media APIs that work by task.

    __main__
    cli
    testing
    sandbox
    webhook                                    where a provider calls back
    weryai | betterwaifu                       a provider's client, requests, pure translator
    _client                                    configuration and verbs
    _batches                                   requests that may have been sent before
    _session                                   an open client
    _submissions                               requests on their way to accepted jobs
    _callbacks                                 what the provider tells by itself
    _watch | _books                            jobs from acceptance to their end; what the ledger is told
    _endings | _inquiry                        why a job has no result; what to ask about one
    _stream | _download | _upload | _job | _turns
    _lanes | _lease | _send | _scheduler | _turnstile | ledger   admission, sending, timing; what was paid for
    _brake                                     pauses when submissions end in doubt
    _door                                      the HTTP library lives here and nowhere else
    _settings
    _webhooks
    _provider | _catalogue | _codec | _events | _estimate | _credential | _addresses
    _values | _wire | _policies | _statistics | _names
    _media
    _fields
    errors
    _tasks | _file_lock | _lazy | _shared

Imports point down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery import errors
from aiowery._base.lazy import lazy_names
from aiowery._base.snapshot import Asset, ScriptLine, Snapshot, TaskState
from aiowery._core.events import (
    Event,
    JobAccepted,
    JobFinished,
    JobUpdated,
    LowCredits,
    Observer,
    PollFailed,
    QueueBackedOff,
    RedactionFilter,
    SubmissionsPaused,
    SubmissionsResumed,
)
from aiowery._core.media import File
from aiowery._core.policies import Limits, PollPolicy, Resubmit, RetryPolicy
from aiowery._core.request import DEFAULT, Outcome, Request
from aiowery._core.result import AudioResult, ImageResult, MediaResult, Result, TextResult, VideoResult
from aiowery._core.statistics import ClientStatistics, PollStatistics, QueueStatistics, WebhookStatistics
from aiowery.errors import AioweryError

# Loaded on first use: with asyncio and the providers the import would take three times as long.
_NAMES: Final = {
    "_jobs.job": ("Job",),
    "_client.client": ("Client",),
    "_client.stream": ("OutcomeStream",),
    "_core.provider": ("Provider",),
    "betterwaifu": ("BetterWaifu",),
    "weryai": ("WeryAI",),
}

# `python -m tests.tables --write` writes the imports below and `__all__` from this table and the imports above.
if TYPE_CHECKING:
    from aiowery._client.client import Client
    from aiowery._client.stream import OutcomeStream
    from aiowery._core.provider import Provider
    from aiowery._jobs.job import Job
    from aiowery.betterwaifu import BetterWaifu
    from aiowery.weryai import WeryAI
else:
    __getattr__, __dir__ = lazy_names(__name__, _NAMES)

__version__ = "0.1.0"

__all__ = (
    "DEFAULT",
    "AioweryError",
    "Asset",
    "AudioResult",
    "BetterWaifu",
    "Client",
    "ClientStatistics",
    "Event",
    "File",
    "ImageResult",
    "Job",
    "JobAccepted",
    "JobFinished",
    "JobUpdated",
    "Limits",
    "LowCredits",
    "MediaResult",
    "Observer",
    "Outcome",
    "OutcomeStream",
    "PollFailed",
    "PollPolicy",
    "PollStatistics",
    "Provider",
    "QueueBackedOff",
    "QueueStatistics",
    "RedactionFilter",
    "Request",
    "Resubmit",
    "Result",
    "RetryPolicy",
    "ScriptLine",
    "Snapshot",
    "SubmissionsPaused",
    "SubmissionsResumed",
    "TaskState",
    "TextResult",
    "VideoResult",
    "WebhookStatistics",
    "WeryAI",
    "__version__",
    "errors",
)
