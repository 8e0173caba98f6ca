"""What people are told: plain words for where a picture is, and for what went wrong."""

from __future__ import annotations

from aiowery import TaskState
from aiowery.errors import (
    AioweryError,
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    ContentRejected,
    DailyLimitReached,
    DownloadError,
    InsufficientCredits,
    InvalidRequest,
    JobError,
    JobLost,
    JobTimeout,
    NotSent,
    PermissionDenied,
    RateLimited,
    SubmissionInDoubt,
)

IN_LINE = "In line…"
PROGRESS = {TaskState.WAITING: "Sent. Waiting for the painter…", TaskState.RUNNING: "Painting…"}

# The first kind that fits is told, so a kind stands before its base.
_ERRORS: dict[type[AioweryError] | tuple[type[AioweryError], ...], str] = {
    ContentRejected: "This prompt was refused by the moderation. Please put it differently.",
    (ConfigurationError, InvalidRequest): "This prompt cannot be sent. It needs 1 to 2,000 characters.",
    (NotSent, RateLimited): "There is too much to do at the moment. Nothing was charged; ask again later.",
    DailyLimitReached: "That is all for today. Please come back tomorrow.",
    (InsufficientCredits, AuthenticationError, PermissionDenied): "No pictures can be ordered at the moment.",
    SubmissionInDoubt: "No clear answer came. The picture may be on its way, so it is not ordered a second time.",
    JobTimeout: "This picture takes unusually long. It may still be finished.",
    JobLost: "There is no such picture.",
    ClientClosed: "The service is restarting. The picture is being finished; ask for it again in a minute.",
    JobError: "This picture could not be made. Another try, or another prompt, may work.",
    DownloadError: "The picture is finished, but could not be fetched.",
    AioweryError: "The service did not answer as expected. Please try again later.",
}


def in_words(error: AioweryError) -> str:
    """Return what a person who asked for a picture should hear of this error."""
    return next(words for kind, words in _ERRORS.items() if isinstance(error, kind))
