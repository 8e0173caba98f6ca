"""Fault behaviors: the ways in which a `Fault` changes a response, a connection or a webhook delivery.

    sandbox.inject(Fault(faults.SERVER_ERROR, on="status", share=0.5))

Each fault behavior is a frozen value. Most of them process the request first (the task is accepted and charged) and
then change the response. `Reset` and `ErrorResponse` act before processing unless they are made with
`processed=True`. `NotFoundYet` and `Redirect` always act before processing. A fault behavior that finds nothing to
change leaves the response as it is. Durations are real seconds, whatever the sandbox's `speed`.

- The connection: `LostAnswer`, `Reset`, `SlowBody`.
- Refusals in the format of the provider: `ErrorResponse`, `NotFoundYet`.
- Bodies that are not JSON: `Truncated`, `Empty`, `NotJson`.
- The envelope: `Success200`, `TextInMsg`.
- Responses to a submission: `NumericTaskIds`, `StringBatchId`, `SingleTaskId`, `NoIds`.
- Responses about tasks: `StatusWords`, `StaleStatus`, `ListData`, `SingleObject`, `MissingTasks`.
- Outputs: `ObjectOutputs`, `NestedOutputs`, `NoOutputs`.
- Files: `TruncatedFile`, `ContentType`, `Redirect`.
- Webhook deliveries, with `on="delivery"` only: `DuplicateDelivery`, `DelayedDelivery`, `DroppedDelivery`,
  `ForgedDelivery`.

Ready-made refusals: `RATE_LIMITED`, `RATE_LIMITED_1001`, `WORKFLOW_RATE_LIMITED`, `QUEUE_FULL`, `TOO_MANY_TASKS`,
`UNAUTHORIZED`, `FORBIDDEN`, `NOT_FOUND`, `SERVER_ERROR`, `BAD_GATEWAY`, `UNAVAILABLE`, `GATEWAY_TIMEOUT`.

With `on="delivery"` these also change deliveries: `ContentType`, and the fault behaviors for bodies, the envelope,
responses about tasks, and outputs. All others need a request.

BetterWaifu's responses are changed by the fault behaviors for the connection, refusals, bodies and files, and by
`NoIds`, `StatusWords`, `StaleStatus` and `NoOutputs`. `ErrorResponse` with HTTP 200 returns `success: false`, or an
`error`, in a successful HTTP response.

`ErrorResponse(..., ids=True)` processes and charges a submission, and returns a refusal that contains its task ids.
"""

from __future__ import annotations

from aiowery._base.public_names import publish
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

publish(__name__)
