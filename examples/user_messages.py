"""Texts for users: the progress of a picture, and one sentence for each kind of error."""

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
    NoAnswer,
    NotSent,
    PermissionDenied,
    QueueTooLong,
    RateLimited,
    SubmissionInDoubt,
)

QUEUED = "Waiting in the queue…"
PROGRESS = {
    TaskState.WAITING: "Submitted. Waiting for the service to start…",
    TaskState.RUNNING: "Making the picture…",
}

INVALID_PROMPT = "This prompt cannot be sent. It must have 1 to 2,000 characters."
# A longer address is no link that a chat shows.
_LONGEST_LINK = 1000

# The first entry that matches is used, so a class must precede its base class.
_ERROR_MESSAGES: dict[type[AioweryError] | tuple[type[AioweryError], ...], str] = {
    ContentRejected: "The moderation rejected this prompt. Please rephrase it.",
    (ConfigurationError, InvalidRequest): INVALID_PROMPT,
    (QueueTooLong, RateLimited): "The service is busy. Nothing was charged. Please try again later.",
    NotSent: "The service cannot be reached. Nothing was charged. Please try again later.",
    NoAnswer: "The service does not answer. Please try again later.",
    DailyLimitReached: "The limit for today is reached. Please try again tomorrow.",
    (InsufficientCredits, AuthenticationError, PermissionDenied): "No pictures can be requested at the moment.",
    SubmissionInDoubt: "No clear answer arrived. The picture may be in progress, so it is not requested again.",
    JobTimeout: "This picture takes unusually long. It may still be finished.",
    JobLost: "There is no such picture.",
    ClientClosed: "The service is restarting and the picture is still being made. Please try again in a minute.",
    JobError: "This picture could not be made. Another attempt or another prompt may succeed.",
    DownloadError: "The picture is finished, but it could not be downloaded.",
    AioweryError: "The service sent an unexpected answer. Please try again later.",
}


def error_message(error: AioweryError) -> str:
    """Return the sentence that a user sees for this error. It contains no technical details."""
    return next(message for kind, message in _ERROR_MESSAGES.items() if isinstance(error, kind))


def message_with_ids(error: AioweryError) -> str:
    """Return the sentence for this error, and the ids of the tasks that may still make a picture."""
    if isinstance(error, (JobTimeout, ClientClosed)) and error.task_ids:
        return f"{error_message(error)} Its id is {', '.join(error.task_ids)}."
    return error_message(error)


def finished_message(url: str, picture_id: str) -> str:
    """Return the text about a finished picture that cannot be shown: where it is, and its id."""
    is_link = url.startswith(("https://", "http://")) and len(url) <= _LONGEST_LINK
    where = f"It is at {url}" if is_link else "It has no address that can be shown."
    return f"The picture is finished, but it cannot be shown here. {where}\nIts id is {picture_id}."
