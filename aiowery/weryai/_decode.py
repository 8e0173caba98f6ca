"""WeryAI's answers, in every variation that is known, as our values.

The envelope is `{status, desc, message, data}` (contract: Transport).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from aiowery._base.snapshot import Asset, Snapshot, TaskState
from aiowery._core.codec import named_ids, structure
from aiowery._core.media import is_url
from aiowery._core.messages import HttpResponse
from aiowery._core.request import Accepted
from aiowery.errors import APIError, UnexpectedResponse
from aiowery.weryai._api_errors import own_code, refusal
from aiowery.weryai._schema import TaskBody, converter, credits_in, report_in, text_in, valid_ids
from aiowery.weryai.requests._base import WeryAIRequest
from aiowery.weryai.requests._chat import choice_text

_REPORT: Final = "deep_research_outputs"
_SUCCESS: Final = frozenset({"0", "200", "success", "ok"})
_ALWAYS_SAID: Final = frozenset({"task_id", "task_status"})
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
"""What a member says nothing by; that no credits were charged says something."""
_WORDS: Final = {
    "waiting": TaskState.WAITING,
    "pending": TaskState.WAITING,
    "processing": TaskState.RUNNING,
    "running": TaskState.RUNNING,
    "succeed": TaskState.DONE,
    "success": TaskState.DONE,
    "succeeded": TaskState.DONE,
    "completed": TaskState.DONE,
    "failed": TaskState.FAILED,
    "fail": TaskState.FAILED,
    "error": TaskState.FAILED,
    "canceled": TaskState.FAILED,
    "cancelled": TaskState.FAILED,
}


def to_state(word: str) -> TaskState:
    """Return what a status word means; unknown ones mean that the task still runs."""
    return _WORDS.get(word.strip().casefold(), TaskState.RUNNING)


def is_known_status(word: str) -> bool:
    """Whether a status word is one of those documented or seen in use."""
    return word.strip().casefold() in _WORDS


def is_own(answer: HttpResponse) -> bool:
    """Return True for an answer in the envelope, or in the form of the chat calls, which have none.

    A redirect is no answer, whatever its body says.
    """
    body = answer.json_or_none()
    if answer.redirect or not isinstance(body, Mapping):
        return False
    chat = bool(_choices(body)) if answer.success else isinstance(body.get("error"), Mapping)
    return chat or own_code(answer, body) is not None


def unwrap_envelope(answer: HttpResponse) -> tuple[Any, str | None]:
    """Return the envelope's data and the request id, or raise what the answer means instead."""
    return _opened(answer, _body(answer))


def _body(answer: HttpResponse) -> Any:
    return answer.json() if answer.success else answer.json_or_none()


def _opened(answer: HttpResponse, body: Any) -> tuple[Any, str | None]:
    if not answer.success or not isinstance(body, Mapping) or not _is_success(body):
        raise refusal(answer, body)
    data = body.get("data")
    return data, answer.request_id_in(body, data)


def decode_accepted(answer: HttpResponse) -> Accepted:
    """Read the answer to a submission, in each of its shapes: `task_ids`, `task_id`, with or without a batch."""
    raw, request_id = unwrap_envelope(answer)
    task_ids = tuple(dict.fromkeys(_task_ids(raw)))
    if not task_ids:
        what = "the submission succeeded but the answer holds no task id"
        raise answer.unexpected(what, "$.data: task_ids or task_id is expected", raw, request_id)
    batch_ids = (item.get("batch_id") for _, item in _with_url(raw) if isinstance(item, Mapping))
    return Accepted(task_ids=task_ids, provider_batch_id=next(valid_ids(*batch_ids), None), request_id=request_id)


def decode_submission(request: WeryAIRequest[Any], answer: HttpResponse, made_up_id: str) -> Accepted:
    """Read the answer to the submission of this request: task ids, or the outputs themselves.

    Outputs that come with no id at all go by the one that is given. Errors carry the ids that lie where an acceptance
    would hold them.
    """
    try:
        return _submitted(request, answer, made_up_id)
    except (APIError, UnexpectedResponse) as error:
        error.task_ids = named_ids(_named(request, answer.json_or_none()))
        raise


def _named(request: WeryAIRequest[Any], body: Any) -> Iterator[str]:
    """Yield the ids at the places where an acceptance of this request holds them."""
    if not request.has_envelope:
        yield from _own_ids(body)
        yield from _own_ids(_data(body))
    elif request.result_field is not None:
        yield from _own_ids(_data(body))
    else:
        yield from _task_ids(_data(body))


def _submitted(request: WeryAIRequest[Any], answer: HttpResponse, made_up_id: str) -> Accepted:
    if not request.has_envelope:
        return _synchronous_result(answer, *_completion(answer), made_up_id)
    raw, request_id = unwrap_envelope(answer)
    if request.result_field is not None:
        return _synchronous_result(answer, raw, _message(raw, request.result_field), request_id, made_up_id)
    report = report_in(raw.get(_REPORT)) if isinstance(raw, Mapping) else None
    if report is None or (request.direct_timeout is None and _is_still_running(raw)):
        return decode_accepted(answer)
    return _synchronous_result(answer, raw, report, request_id, made_up_id)


def _is_still_running(raw: Mapping[str, Any]) -> bool:
    """Whether a task has only begun, although something was said along with its id."""
    word = raw.get("task_status") or raw.get("status")
    return any(_ids(raw)) and to_state(word if isinstance(word, str) else "") is not TaskState.DONE


def _synchronous_result(
    answer: HttpResponse, raw: Any, text: str | None, request_id: str | None, made_up_id: str
) -> Accepted:
    """Return outputs that came with the answer itself, as a task that has ended."""
    if text is None:
        raise answer.unexpected(
            "the call succeeded but the answer holds no output", "$: text is expected", raw, request_id
        )
    task_id = next(chain(_own_ids(raw), valid_ids(request_id)), made_up_id)
    snapshot = Snapshot(task_id, TaskState.DONE, text=text, raw=raw, request_id=request_id)
    return Accepted(task_ids=(task_id,), snapshots=(snapshot,), request_id=request_id)


def _own_ids(raw: Any) -> Iterator[str]:
    """Yield the ids by which outputs may go that come with the answer itself."""
    if isinstance(raw, Mapping):
        yield from valid_ids(*(raw.get(name) for name in ("task_id", "interaction_id", "id")))


def _completion(answer: HttpResponse) -> tuple[Any, str | None, str | None]:
    """Read a chat answer: without an envelope if it succeeded (in one all the same, if need be), with one if not."""
    body = _body(answer)
    told = next((part for part in (body, _data(body)) if _choices(part)), None)
    if answer.success and told is not None:
        words = "\n\n".join(choice_text(choice) for choice in _choices(told) if isinstance(choice, Mapping))
        return told, words, answer.request_id_in(body, told)
    if answer.success and isinstance(body, Mapping) and "status" in body and _is_success(body):
        fault = "$.data.choices: a list is expected"
        raise answer.unexpected("the call succeeded but holds no answer", fault, body, answer.request_id_in(body))
    raise refusal(answer, _openai_error(body))


def _data(body: Any) -> Any:
    return body.get("data") if isinstance(body, Mapping) else None


def _choices(part: Any) -> list[Any]:
    choices = part.get("choices") if isinstance(part, Mapping) else None
    return choices if isinstance(choices, list) else []


def _openai_error(body: Any) -> Any:
    """Give OpenAI's form of an error the envelope's words."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return {"message": error.get("message"), **body} if isinstance(error, Mapping) else body


def _message(raw: Any, name: str) -> str | None:
    return text_in(raw.get(name)) if isinstance(raw, Mapping) else None


def decode_upload(answer: HttpResponse) -> str:
    """Read the url of an uploaded file."""
    raw, request_id = unwrap_envelope(answer)
    urls = raw.get("object_url_list") if isinstance(raw, Mapping) else None
    url = next((url for url in urls if isinstance(url, str) and is_url(url)), None) if isinstance(urls, list) else None
    if url is None:
        fault = "$.data.object_url_list: urls are expected"
        raise answer.unexpected("the answer holds no url of the uploaded file", fault, raw, request_id)
    return url


def decode_status(answer: HttpResponse, task_id: str) -> Snapshot:
    """Read a status answer; a list is searched for the task."""
    body = _body(answer)
    running = _still_running(body, task_id) if answer.success else None
    if running is not None:
        return running
    raw, request_id = _opened(answer, body)
    located = _with_url(raw) or [("$.data", {})]
    where, said = next((place for place in located if task_id in _ids(place[1])), located[0])
    snapshot = _snapshot(answer, said, where, task_id, request_id)
    if snapshot.task_id != task_id:
        what = f"asked about task {task_id}, answered about {snapshot.task_id}"
        raise answer.unexpected(what, f"{where}.task_id: {task_id!r} is expected", raw, request_id)
    return snapshot


def _still_running(body: Any, task_id: str) -> Snapshot | None:
    """Read an answer which says that the task still runs, and nothing else: most do, and need no converter."""
    data = body.get("data") if isinstance(body, dict) and _is_success(body) else None
    if not isinstance(data, dict) or data.get("task_id") != task_id:
        return None
    word = data.get("task_status")
    if not isinstance(word, str) or (state := _WORDS.get(word.casefold())) is None or state.terminal:
        return None
    for name, value in data.items():
        if name not in _ALWAYS_SAID and value not in _NOTHING:
            return None
    return Snapshot(task_id, state, word, raw=_only(word))


@lru_cache(maxsize=64)
def _only(word: str) -> Mapping[str, str]:
    """Return the part of an answer that says nothing but this word: one for all tasks, since thousands may run."""
    return {"task_status": word}


def decode_delivery(body: bytes) -> Snapshot:
    """Read what WeryAI POSTs to a `webhook_url` when a task ends: the envelope of a status answer.

    Raises UnexpectedResponse for anything else (contract section 11.1).
    """
    answer = HttpResponse(HTTPStatus.OK, {}, body)
    try:
        raw, request_id = unwrap_envelope(answer)
    except APIError as error:  # forged or not, it is not about our key and our credits
        raise answer.unexpected("a delivery that is a refusal", "$.status: success is expected", error.raw) from error
    where, said = (_with_url(raw) or [("$.data", None)])[0]
    snapshot = _snapshot(answer, said, where, None, request_id)
    if not snapshot.task_id:
        raise answer.unexpected("a delivery names no task", f"{where}.task_id: an id is expected", raw, request_id)
    return snapshot


def decode_batch(answer: HttpResponse) -> list[Snapshot]:
    """Read a batch status answer: a list of tasks, or a single one."""
    raw, request_id = unwrap_envelope(answer)
    return [
        _snapshot(answer, item, where, None, request_id)
        for where, item in _with_url(raw)
        if isinstance(item, Mapping) and any(valid_ids(item.get("task_id")))
    ]


def decode_balance(answer: HttpResponse) -> float:
    """Read the balance: a bare number, or an object that holds one."""
    raw, request_id = unwrap_envelope(answer)
    value = raw.get("balance") if isinstance(raw, Mapping) else raw
    balance = credits_in(value)
    if balance is None:
        what = "the answer holds no balance"
        raise answer.unexpected(what, "$.data: a number of credits is expected", raw, request_id)
    return balance


def _snapshot(answer: HttpResponse, raw: Any, where: str, task_id: str | None, request_id: str | None) -> Snapshot:
    body = structure(converter, raw, TaskBody, http_status=answer.http_status, where=where, request_id=request_id)
    known_id = body.task_id or task_id or ""
    assets: tuple[Asset, ...] = ()
    for place in (body, body.task_result, body.output):
        assets = assets or tuple(place.assets(known_id, body.cover_url))
    return Snapshot(
        task_id=known_id,
        state=to_state(body.raw_status),
        raw_status=body.raw_status,
        assets=assets,
        reason=body.task_result.message or body.msg or body.message,
        credits=body.cost_credits,
        text=body.text,
        script=body.turns,
        substatus=body.content_status,
        raw=raw,
        request_id=request_id,
    )


def _is_success(body: Mapping[str, Any]) -> bool:
    """Whether the envelope says so; one without a status does if it carries data."""
    status = body.get("status")
    if status is None:
        return body.get("data") is not None and body.get("success") is not False
    return str(status).strip().casefold() in _SUCCESS


def _with_url(data: Any) -> list[tuple[str, Any]]:
    """Return the data, or each item of a list, with its path."""
    if isinstance(data, list):
        return [(f"$.data[{number}]", item) for number, item in enumerate(data)]
    return [("$.data", data)]


def _task_ids(raw: Any) -> Iterator[str]:
    """Yield the ids of all tasks that the data of a submission's answer names."""
    for _, item in _with_url(raw):
        yield from _ids(item)


def _ids(item: Any) -> Iterator[str]:
    if isinstance(item, Mapping):
        task_ids = item.get("task_ids")
        yield from valid_ids(*(task_ids if isinstance(task_ids, list) else [task_ids]), item.get("task_id"))
