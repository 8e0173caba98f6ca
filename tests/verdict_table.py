"""The table of verdicts in docs/durable-batches.md, generated: what each answer to a paid POST means.

Each cell comes from the code that decides: the provider's decoder, `Provider.is_own_response`, `judged_error`,
`classify_failure` and `concerns_all`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final

import attrs

from aiowery import Provider, Request
from aiowery._core.failures import SubmitFailure, classify_failure, concerns_all, judged_error
from aiowery._core.messages import HttpResponse
from aiowery.betterwaifu import GenerateImage
from aiowery.betterwaifu._provider import BetterWaifuProvider
from aiowery.errors import APIError, UnexpectedResponse
from aiowery.weryai import Chat, TextToImage
from aiowery.weryai._provider import WeryAIProvider

Body = dict[str, Any] | str
STATUSES: Final = range(200, 600)
PAGE: Final = "<html>no</html>"
TASK: Final = "task_1"


@attrs.frozen
class Paid:
    """A kind of paid request: its provider, and where an answer to it holds the id of a task or picture."""

    provider: Provider
    request: Request[Any]
    named: Mapping[str, Any]

    def response(self, status: int, body: Body, *, ids: bool = False) -> HttpResponse:
        """Return a response; with `ids`, its body is an object that also names a task."""
        if ids:
            body = {**({"page": body} if isinstance(body, str) else body), **self.named}
        return HttpResponse(status, {}, (body if isinstance(body, str) else json.dumps(body)).encode())


PAID: Final = {
    "WeryAI": Paid(WeryAIProvider(), TextToImage(prompt="a cat"), {"data": {"task_ids": [TASK]}}),
    "WeryAI chat": Paid(WeryAIProvider(), Chat(messages="hello"), {"id": TASK}),
    "BetterWaifu jobs": Paid(BetterWaifuProvider("jobs"), GenerateImage(prompt="1girl", model=1), {"id": TASK}),
    "BetterWaifu v1-images": Paid(
        BetterWaifuProvider("v1-images"), GenerateImage(prompt="1girl"), {"data": {"image_id": TASK}}
    ),
}


@attrs.frozen
class Verdict:
    """What a response means for its request, and for the requests that wait."""

    request: str
    queue: str


_IN_DOUBT: Final = "in doubt"
_REQUEST: Final = {
    SubmitFailure.UNSENT: "not charged: sent again within `max_attempts`, else `NotSent`, and new",
    SubmitFailure.BUSY: "not charged: sent again after a pause",
    SubmitFailure.POSTPONED: "not charged: raised, and new for the next run",
    SubmitFailure.REJECTED: "not charged: raised, and failed",
    SubmitFailure.IN_DOUBT: _IN_DOUBT,
}
ACCEPTED: Final = Verdict("accepted", "goes on")
GOES_ON, BACKS_OFF, REJECTS = "goes on", "backs off", "rejects what waits"
PAUSES, COUNTS = "pauses at the first", "pauses after 3 in a row"


def verdict(paid: Paid, response: HttpResponse) -> Verdict:
    """Return what a response to a paid request means."""
    try:
        paid.provider.decode_submission(paid.request, response)
    except (APIError, UnexpectedResponse) as error:
        failure = judged_error(response, error, paid.provider.is_own_response)
        kind = classify_failure(failure)
        return Verdict(_REQUEST[kind], _queue(paid.provider, kind, failure))
    return ACCEPTED


def _queue(provider: Provider, kind: SubmitFailure, failure: Exception) -> str:
    if kind is SubmitFailure.BUSY:
        return BACKS_OFF
    if concerns_all(failure):
        return PAUSES
    if kind in {SubmitFailure.IN_DOUBT, SubmitFailure.UNSENT} or not getattr(failure, "is_own", True):
        return COUNTS
    return REJECTS if isinstance(failure, provider.account_errors) else GOES_ON


Own = Mapping[str, Iterable[tuple[int, dict[str, Any]]]]


def _weryai(*codes: int, status: int = 200, text: str = "no") -> list[tuple[int, dict[str, Any]]]:
    return [(status, {"status": code, "message": text}) for code in codes]


def _error(*statuses: int, code: str | None = None) -> list[tuple[int, dict[str, Any]]]:
    error: Any = "no" if code is None else {"code": code, "message": "no"}
    return [(status, {"error": error}) for status in statuses]


LOAD_STATUSES: Final = (200, 400, 401, 402, 403, 404, 409, 429, 500, 502, 503, 504)
OWN: Final[Mapping[str, Own]] = {
    "a refusal for the sake of the request: a parameter, moderation": {
        "WeryAI": [
            *_weryai(1001, 1003, 1005, 1006, 1010, 1014, 2001, 2003, 2004, 5000, 6001, 6003, 6004, 7777, 8001, 8002),
            *(one for status in (400, 404, 409, 413, 422) for one in _weryai(1001, 7777, status=status)),
        ],
        "WeryAI chat": [(400, {"error": {"message": "max_tokens"}}), *_weryai(1001, 1005)],
        "BetterWaifu jobs": _error(200, 400, 404, 409, 413, 421, 422),
        "BetterWaifu v1-images": _error(200, 400, 404, 422, code="invalid_parameter"),
    },
    "a refusal of the key, or because of the daily limit": {
        "WeryAI": [*_weryai(1002, 1015, 6101), *_weryai(1002, 7777, status=401), *_weryai(6101, status=429)],
        "WeryAI chat": [(401, {"error": {"message": "no"}})],
        "BetterWaifu jobs": _error(401),
        "BetterWaifu v1-images": _error(401),
    },
    "a refusal because of credits, plan or permission": {
        "WeryAI": [*_weryai(1004, 1009, 1011, 1017), *_weryai(7777, status=402), *_weryai(1009, status=403)],
        "BetterWaifu jobs": _error(402, 403),
        "BetterWaifu v1-images": _error(402, 403),
    },
    "a refusal because of load: HTTP 429, or a code of load with any HTTP status": {
        "WeryAI": [
            *_weryai(1001, 5000, 7777, status=429),
            *(one for status in LOAD_STATUSES for one in _weryai(1007, 6002, 6010, status=status)),
            *(one for status in LOAD_STATUSES for one in _weryai(1001, status=status, text="rate limit exceeded")),
        ],
        "WeryAI chat": [(429, {"error": {"message": "no"}})],
        "BetterWaifu jobs": _error(429),
        "BetterWaifu v1-images": _error(*LOAD_STATUSES, code="rate_limit_exceeded"),
    },
    "5xx with any other code": {
        "WeryAI": [
            one
            for status in (500, 501, 502, 503, 504, 599)
            for one in _weryai(1001, 1002, 1004, 5000, 6001, 6101, 7777, status=status)
        ],
        "WeryAI chat": [(status, {"error": {"message": "no"}}) for status in (500, 502, 503)],
        "BetterWaifu jobs": _error(500, 502, 503, 504, 599),
        "BetterWaifu v1-images": _error(500, 503, code="internal"),
    },
}
"""The answers in a provider's own form, by what they mean."""
SUCCESS: Final = "success"


def own_verdicts(label: str, *, ids: bool) -> dict[str, set[Verdict]]:
    """Return the verdicts of a row of answers in the provider's own form, by provider.

    A job of BetterWaifu with an `error` in it is a job, if it comes with success, and no refusal that names one.
    """
    return {
        name: {
            verdict(PAID[name], PAID[name].response(status, body, ids=ids))
            for status, body in answers
            if not (ids and status < 300 and name == "BetterWaifu jobs")
        }
        for name, answers in OWN[label].items()
    }


def page_verdict(status: int, *, ids: bool = False) -> Verdict:
    """Return the verdict of a page with this HTTP status. Raises ValueError if it depends on the provider."""
    found = {
        verdict(paid, paid.response(status, PAGE, ids=ids))
        for paid in PAID.values()
        if not ids or not 200 <= status < 300  # with success, a body that names a task is an acceptance
    }
    if len(found) > 1:
        raise ValueError(f"HTTP {status}: {found}")
    return found.pop() if found else ACCEPTED


def table() -> str:
    """Return the whole table as the page has it."""
    rows = [
        ("response to the POST", "without task ids", "the queue", "with new task ids"),
        ("---", "---", "---", "---"),
        (SUCCESS, _IN_DOUBT, COUNTS, ACCEPTED.request),
        *(_own_row(label) for label in OWN),
        *_page_rows(),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _own_row(label: str) -> tuple[str, ...]:
    plain, named = own_verdicts(label, ids=False), own_verdicts(label, ids=True)
    requests = {one.request for found in plain.values() for one in found}
    with_ids = {one.request for found in named.values() for one in found}
    if len(requests) > 1 or len(with_ids) > 1:
        raise ValueError(f"{label}: {plain}, {named}")
    queues = {name: " or ".join(sorted(one.queue for one in found)) for name, found in plain.items()}
    by_queue = {queue: [name for name in queues if queues[name] == queue] for queue in dict.fromkeys(queues.values())}
    several = [f"{queue} ({', '.join(_short(names))})" for queue, names in by_queue.items()]
    queue = several[0].partition(" (")[0] if len(several) == 1 else ", ".join(several)
    return label, requests.pop(), queue, _with_ids(with_ids.pop())


def _short(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.split()[0] for name in names))


def _page_rows() -> Iterator[tuple[str, ...]]:
    """Yield a row for each verdict on pages; the row of most HTTP statuses is the last one."""
    by_verdict: dict[tuple[Verdict, str], list[int]] = {}
    for status in STATUSES:
        named = page_verdict(status, ids=True).request if status >= 300 else _IN_DOUBT
        by_verdict.setdefault((page_verdict(status), named), []).append(status)
    rows = sorted(by_verdict.items(), key=lambda row: (len(row[1]), row[1]))
    for number, ((found, with_ids), statuses) in enumerate(rows, 1):
        which = "any other status" if number == len(rows) else f"HTTP {', '.join(_ranges(statuses))}"
        yield f"a page of a hop in between, {which}", found.request, found.queue, _with_ids(with_ids)


def _ranges(numbers: list[int]) -> Iterator[str]:
    """Yield numbers, and runs of numbers, as text."""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        found = [number for _, number in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _with_ids(request: str) -> str:
    return "in doubt, or accepted if they prove to be its own" if request == _IN_DOUBT else request
