"""The kinds of misfortune a `Fault` can bring.

Each is a frozen value. Most leave the world to do its work (the task is accepted and charged) and then
spoil the answer; `Reset` and `ErrorResponse` strike before that, unless made with `processed=True`, and
`NotFoundYet` always does. A kind that finds nothing to spoil leaves the answer as it is.

    LostAnswer, Reset, SlowBody                                    the connection ErrorResponse, NotFoundYet
    refusals, in the shape of the provider Truncated, Empty, NotJson                                      bodies that
    are not JSON Success200, TextInMsg                                          the envelope NumericTaskIds,
    StringBatchId, SingleTaskId, NoIds             answers to a submission StatusWords, StaleStatus, ListData,
    SingleObject, MissingTasks       answers about tasks ObjectOutputs, NestedOutputs, NoOutputs
    outputs TruncatedFile, ContentType, Redirect                                  files DuplicateDelivery,
    DelayedDelivery, DroppedDelivery, ForgedDelivery                               webhook deliveries, with
    `on="delivery"` only

Deliveries are spoiled by `ContentType` and by the kinds about bodies, the envelope, answers about tasks, and outputs
as well, with `on="delivery"`; the others want a call. Durations are real seconds, whatever the sandbox's `speed`.

BetterWaifu's answers are spoiled by the kinds about the connection, refusals, bodies and files, and by `NoIds`,
`StatusWords`, `StaleStatus` and `NoOutputs`. `ErrorResponse` with HTTP 200 brings `success: false`, or an `error`, in a
success.

`ErrorResponse(..., ids=True)` carries a submission out and charges it, and answers with a refusal that holds its task
ids.

Ready-made refusals: RATE_LIMITED, RATE_LIMITED_1001, WORKFLOW_RATE_LIMITED, QUEUE_FULL, TOO_MANY_TASKS,
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, SERVER_ERROR, BAD_GATEWAY, UNAVAILABLE, GATEWAY_TIMEOUT.
"""

from __future__ import annotations

from aiowery.sandbox._faults.connection import (
    ContentType,
    Empty,
    LostAnswer,
    NotFoundYet,
    NotJson,
    Redirect,
    Reset,
    SlowBody,
    Truncated,
    TruncatedFile,
)
from aiowery.sandbox._faults.deliveries import DelayedDelivery, DroppedDelivery, DuplicateDelivery, ForgedDelivery
from aiowery.sandbox._faults.refusals import (
    BAD_GATEWAY,
    FORBIDDEN,
    GATEWAY_TIMEOUT,
    NOT_FOUND,
    QUEUE_FULL,
    RATE_LIMITED,
    RATE_LIMITED_1001,
    SERVER_ERROR,
    TOO_MANY_TASKS,
    UNAUTHORIZED,
    UNAVAILABLE,
    WORKFLOW_RATE_LIMITED,
    ErrorResponse,
)
from aiowery.sandbox._faults.shapes import (
    ListData,
    MissingTasks,
    NestedOutputs,
    NoIds,
    NoOutputs,
    NumericTaskIds,
    ObjectOutputs,
    SingleObject,
    SingleTaskId,
    StaleStatus,
    StatusWords,
    StringBatchId,
    Success200,
    TextInMsg,
)

__all__ = (
    "BAD_GATEWAY",
    "FORBIDDEN",
    "GATEWAY_TIMEOUT",
    "NOT_FOUND",
    "QUEUE_FULL",
    "RATE_LIMITED",
    "RATE_LIMITED_1001",
    "SERVER_ERROR",
    "TOO_MANY_TASKS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "WORKFLOW_RATE_LIMITED",
    "ContentType",
    "DelayedDelivery",
    "DroppedDelivery",
    "DuplicateDelivery",
    "Empty",
    "ErrorResponse",
    "ForgedDelivery",
    "ListData",
    "LostAnswer",
    "MissingTasks",
    "NestedOutputs",
    "NoIds",
    "NoOutputs",
    "NotFoundYet",
    "NotJson",
    "NumericTaskIds",
    "ObjectOutputs",
    "Redirect",
    "Reset",
    "SingleObject",
    "SingleTaskId",
    "SlowBody",
    "StaleStatus",
    "StatusWords",
    "StringBatchId",
    "Success200",
    "TextInMsg",
    "Truncated",
    "TruncatedFile",
)
