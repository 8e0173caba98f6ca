"""Generate images, videos and audio with asyncio, through APIs that work by task (WeryAI, BetterWaifu).

A client submits a request, polls its tasks until they are finished, and returns the result. A paid request is sent
once: if it is in doubt whether the provider charged for it, the client raises `errors.SubmissionInDoubt` instead of
sending it again.

    import asyncio
    from aiowery.weryai import TextToImage, WeryAI

    async def main():
        async with WeryAI() as client:
            result = await client.run(TextToImage(prompt="a cat"))
            print(result.url, result.credits)

    asyncio.run(main())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery._base.public_names import lazy_names

# Everything is loaded on first use: `aiowery.transport` and the command line need little of it. The names of "" are
# modules of this package.
_NAMES: Final = {
    "": ("errors",),
    "_base.snapshot": (
        "Asset",
        "ScriptLine",
        "Snapshot",
        "TaskState",
    ),
    "_client.client": ("Client",),
    "_client.stream": ("OutcomeStream",),
    "_core.events": (
        "Event",
        "JobAccepted",
        "JobFinished",
        "JobUpdated",
        "LowCredits",
        "Observer",
        "OutputDownloaded",
        "PollFailed",
        "QueueBackedOff",
        "RequestInDoubt",
        "RequestQueued",
        "RequestRefused",
        "SubmissionsPaused",
        "SubmissionsResumed",
    ),
    "_core.media": ("File",),
    "_core.models": (
        "CheckIssue",
        "ModelInfo",
    ),
    "_core.policies": (
        "Limits",
        "PollPolicy",
        "Resubmit",
        "RetryPolicy",
    ),
    "_core.provider": ("Provider",),
    "_core.request": (
        "DEFAULT",
        "Outcome",
        "Request",
    ),
    "_core.result": (
        "AudioResult",
        "ImageResult",
        "MediaResult",
        "Result",
        "TextResult",
        "VideoResult",
    ),
    "_core.safe_log": ("RedactionFilter",),
    "_core.statistics": (
        "ClientStatistics",
        "PollStatistics",
        "QueueStatistics",
        "WebhookStatistics",
    ),
    "_jobs.job": ("Job",),
    "betterwaifu": ("BetterWaifu",),
    "errors": ("AioweryError",),
    "weryai": ("WeryAI",),
}

# `python -m tests.tables --write` writes the imports below and `__all__` from this table and the imports above.
if TYPE_CHECKING:
    from aiowery import errors
    from aiowery._base.snapshot import Asset, ScriptLine, Snapshot, TaskState
    from aiowery._client.client import Client
    from aiowery._client.stream import OutcomeStream
    from aiowery._core.events import (
        Event,
        JobAccepted,
        JobFinished,
        JobUpdated,
        LowCredits,
        Observer,
        OutputDownloaded,
        PollFailed,
        QueueBackedOff,
        RequestInDoubt,
        RequestQueued,
        RequestRefused,
        SubmissionsPaused,
        SubmissionsResumed,
    )
    from aiowery._core.media import File
    from aiowery._core.models import CheckIssue, ModelInfo
    from aiowery._core.policies import Limits, PollPolicy, Resubmit, RetryPolicy
    from aiowery._core.provider import Provider
    from aiowery._core.request import DEFAULT, Outcome, Request
    from aiowery._core.result import AudioResult, ImageResult, MediaResult, Result, TextResult, VideoResult
    from aiowery._core.safe_log import RedactionFilter
    from aiowery._core.statistics import ClientStatistics, PollStatistics, QueueStatistics, WebhookStatistics
    from aiowery._jobs.job import Job
    from aiowery.betterwaifu import BetterWaifu
    from aiowery.errors import AioweryError
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
    "CheckIssue",
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
    "ModelInfo",
    "Observer",
    "Outcome",
    "OutcomeStream",
    "OutputDownloaded",
    "PollFailed",
    "PollPolicy",
    "PollStatistics",
    "Provider",
    "QueueBackedOff",
    "QueueStatistics",
    "RedactionFilter",
    "Request",
    "RequestInDoubt",
    "RequestQueued",
    "RequestRefused",
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
