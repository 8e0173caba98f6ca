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

`from_text("server-error:0.2")` returns a `Fault` by the name of its behavior, as on the command line.
"""

from __future__ import annotations

import re
from typing import get_args

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
from aiowery.sandbox._faults.script import Fault as _Fault
from aiowery.sandbox._faults.script import Kind as _Kind
from aiowery.sandbox._faults.script import On as _On
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
    "from_text",
)

_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def from_text(text: str) -> _Fault:
    """Return the fault that a text names: `NAME`, `NAME:SHARE`, or `NAME@ON:SHARE`.

    NAME is that of a behavior in this module, in kebab case ("server-error", "lost-answer"), SHARE the share of the
    requests (0-1), ON their kind, such as "status". A behavior of webhook deliveries applies to these. Raises
    ValueError, which lists the names.
    """
    target, colon, share = text.partition(":")
    name, at, on = target.partition("@")
    kind = _kinds().get(name)
    if kind is None:
        raise ValueError(
            f"a fault must be NAME, NAME:SHARE or NAME@ON:SHARE, such as server-error@status:0.2, got {text!r};"
            f" the names are {', '.join(_kinds())}"
        )
    if at and on not in get_args(_On):
        raise ValueError(f"the fault {text!r} must apply to one of {', '.join(get_args(_On))}, got {on!r}")
    usual: _On = "delivery" if kind.scope == "deliveries" else "any"
    chosen = next((known for known in get_args(_On) if known == on), usual)
    return _Fault(kind, on=chosen, share=_share(text, share) if colon else 1.0)


def _share(text: str, share: str) -> float:
    try:
        number = float(share)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"the share of the fault {text!r} must be a number from 0 to 1, got {share!r}")
    return number


def _kinds() -> dict[str, _Kind]:
    """Return the behaviors that need no further value, by their names in kebab case."""
    found = {}
    for name in __all__:
        value = globals()[name]
        if name.isupper():
            found[name.lower().replace("_", "-")] = value
        elif isinstance(value, type) and value is not Redirect:
            found[_CAPITAL.sub("-", name).lower()] = value()
    return found


publish(__name__)
