"""Decode WeryAI's responses, in every known variation.

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
from aiowery._core.media import clean_url
from aiowery._core.messages import HttpResponse, names_http_status
from aiowery._core.reasons import reason_in
from aiowery._core.request import Accepted
from aiowery.errors import AioweryError, APIError, UnexpectedResponse
from aiowery.weryai._api_errors import envelope_code, response_error
from aiowery.weryai._schema import TaskBody, converter, read_credits, read_report, read_text, valid_ids
from aiowery.weryai.requests._base import WeryAIRequest
from aiowery.weryai.requests._chat import choice_text

_REPORT_FIELD: Final = "deep_research_outputs"
_SUCCESS: Final = frozenset({"0", "200", "success", "ok"})
_MAX_REASON: Final = 2000
_STATUS_FIELDS: Final = frozenset({"task_id", "task_status"})
_EMPTY_VALUES: Final[tuple[Any, ...]] = (None, "", [], {})
"""Values of a member that carry no information. Zero is not among them: zero credits charged is information."""
_STATES: Final = {
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


def to_state(raw_status: str) -> TaskState:
    """Return the state for a raw status; an unknown one counts as running."""
    return _STATES.get(raw_status.strip().casefold(), TaskState.RUNNING)


def is_known_status(raw_status: str) -> bool:
    """Return True if the raw status is documented or has been observed."""
    return raw_status.strip().casefold() in _STATES


def is_own_response(response: HttpResponse) -> bool:
    """Return True for a success or a refusal in the envelope, or in the form of the chat endpoints, which have none.

    The code of a refusal is a number: gateways write words, or an HTTP status. A redirect is not WeryAI's own response,
    whatever its body holds. The errors of an endpoint with an envelope do not go by the form of chat (`unwrap_body`).
    """
    return _is_own(response, response.json_or_none())


def _is_own(response: HttpResponse, body: Any) -> bool:
    if response.redirect or not isinstance(body, Mapping):
        return False
    code = envelope_code(body)
    if code is not None and str(code).strip().casefold() in _SUCCESS:
        return response.success
    return isinstance(code, int) or (bool(_choices(body)) if response.success else _is_chat_refusal(body))


def _is_chat_refusal(body: Mapping[str, Any]) -> bool:
    """Return True for an error in OpenAI's form."""
    error = body.get("error")
    has_text = isinstance(error, Mapping) and bool(read_text(error.get("message")))
    return has_text and not names_http_status(body, error)


def unwrap_envelope(response: HttpResponse) -> tuple[Any, str | None]:
    """Return the envelope's data and the request id, or raise the error that the response means."""
    return unwrap_body(response, read_body(response))


def read_body(response: HttpResponse) -> Any:
    """Return the response's JSON; None for an error response without JSON.

    Raises UnexpectedResponse if a 2xx response has none.
    """
    return response.json() if response.success else response.json_or_none()


def unwrap_body(response: HttpResponse, body: Any) -> tuple[Any, str | None]:
    """Return the data of the envelope `body` and the request id, or raise the error that the response means."""
    if not response.success or not isinstance(body, Mapping) or not _is_success(body):
        raise _envelope_error(response, body)
    data = body.get("data")
    return data, response.request_id_in(body, data)


def _envelope_error(response: HttpResponse, body: Any) -> AioweryError:
    """Return the error of an endpoint with an envelope, where only an envelope with a code is a refusal."""
    error = response_error(response, body)
    if isinstance(error, APIError):
        error.is_own = isinstance(envelope_code(body), int)
    return error


def decode_accepted(response: HttpResponse) -> Accepted:
    """Read the response to a submission in each form: `task_ids` or `task_id`, with or without a batch id."""
    return _read_task_ids(response, *unwrap_envelope(response))


def _read_task_ids(response: HttpResponse, raw: Any, request_id: str | None) -> Accepted:
    task_ids = tuple(dict.fromkeys(_task_ids(raw)))
    if not task_ids:
        what = "the submission succeeded but the answer holds no task id"
        raise response.unexpected(what, "$.data: task_ids or task_id is expected", raw, request_id)
    batch_ids = (item.get("batch_id") for _, item in _with_paths(raw) if isinstance(item, Mapping))
    return Accepted(task_ids=task_ids, provider_batch_id=next(valid_ids(*batch_ids), None), request_id=request_id)


def decode_submission(request: WeryAIRequest[Any], response: HttpResponse, fallback_id: str) -> Accepted:
    """Read the response to the submission of this request: task ids, or the outputs themselves.

    Outputs without any id get `fallback_id`. Raised errors carry the task ids that the body holds at the places
    where an accepted submission has them.
    """
    body = read_body(response)
    try:
        return _read_submission(request, response, body, fallback_id)
    except (APIError, UnexpectedResponse) as error:
        error.task_ids = named_ids(_named_ids(request, body))
        raise


def _named_ids(request: WeryAIRequest[Any], body: Any) -> Iterator[str]:
    """Yield the ids at the places where an accepted submission of this request has them."""
    if not request.has_envelope:
        yield from _own_ids(body)
        yield from _own_ids(_data(body))
    elif request.result_field is not None:
        yield from _own_ids(_data(body))
    else:
        yield from _task_ids(_data(body))


def _read_submission(request: WeryAIRequest[Any], response: HttpResponse, body: Any, fallback_id: str) -> Accepted:
    if not request.has_envelope:
        return _synchronous_result(response, *_read_completion(response, body), fallback_id)
    raw, request_id = unwrap_body(response, body)
    if request.result_field is not None:
        return _synchronous_result(response, raw, _text_field(raw, request.result_field), request_id, fallback_id)
    report = read_report(raw.get(_REPORT_FIELD)) if isinstance(raw, Mapping) else None
    if report is None or (request.direct_timeout is None and _is_still_running(raw)):
        return _read_task_ids(response, raw, request_id)
    return _synchronous_result(response, raw, report, request_id, fallback_id)


def _is_still_running(raw: Mapping[str, Any]) -> bool:
    """Return True if the response names a task that is not done, although it also holds some text."""
    return any(_item_task_ids(raw)) and _item_state(raw) is not TaskState.DONE


def _synchronous_result(
    response: HttpResponse, raw: Any, text: str | None, request_id: str | None, fallback_id: str
) -> Accepted:
    """Return the outputs of a response that holds them itself, as a finished task."""
    if text is None:
        raise response.unexpected(
            "the call succeeded but the answer holds no output", "$: text is expected", raw, request_id
        )
    task_id = next(chain(_own_ids(raw), valid_ids(request_id)), fallback_id)
    snapshot = Snapshot(task_id, TaskState.DONE, text=text, raw=raw, request_id=request_id)
    return Accepted(task_ids=(task_id,), snapshots=(snapshot,), request_id=request_id)


def _own_ids(raw: Any) -> Iterator[str]:
    """Yield the ids of outputs that the response holds itself."""
    if isinstance(raw, Mapping):
        yield from valid_ids(*(raw.get(name) for name in ("task_id", "interaction_id", "id")))


def _read_completion(response: HttpResponse, body: Any) -> tuple[Any, str | None, str | None]:
    """Read a chat response: a completion with or without an envelope, or an error in an envelope."""
    completion = next((part for part in (body, _data(body)) if _choices(part)), None)
    if response.success and completion is not None:
        text = "\n\n".join(choice_text(choice) for choice in _choices(completion) if isinstance(choice, Mapping))
        return completion, text, response.request_id_in(body, completion)
    if response.success and isinstance(body, Mapping) and "status" in body and _is_success(body):
        fault = "$.data.choices: a list is expected"
        raise response.unexpected("the call succeeded but holds no answer", fault, body, response.request_id_in(body))
    raise response_error(response, _openai_error(body))


def _data(body: Any) -> Any:
    return body.get("data") if isinstance(body, Mapping) else None


def _choices(part: Any) -> list[Any]:
    choices = part.get("choices") if isinstance(part, Mapping) else None
    return choices if isinstance(choices, list) else []


def _openai_error(body: Any) -> Any:
    """Return an error in OpenAI's form with its message where the envelope has it."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return {"message": error.get("message"), **body} if isinstance(error, Mapping) else body


def _text_field(raw: Any, name: str) -> str | None:
    return read_text(raw.get(name)) if isinstance(raw, Mapping) else None


def decode_upload(response: HttpResponse) -> str:
    """Return the URL of an uploaded file."""
    raw, request_id = unwrap_envelope(response)
    urls = raw.get("object_url_list") if isinstance(raw, Mapping) else None
    url = next(filter(None, map(clean_url, urls)), None) if isinstance(urls, list) else None
    if url is None:
        fault = "$.data.object_url_list: urls are expected"
        raise response.unexpected("the answer holds no url of the uploaded file", fault, raw, request_id)
    return url


def decode_status(response: HttpResponse, task_id: str) -> Snapshot:
    """Read a status response; in a list, use the entry of this task. A response that names other tasks is refused."""
    body = read_body(response)
    running = _running_snapshot(body, task_id) if response.success else None
    if running is not None:
        return running
    data = _data(body)
    located = _with_paths(data) or [("$.data", {})]
    where, item = next((pair for pair in located if task_id in _status_ids(pair[1])), located[0])
    named = chain.from_iterable(_status_ids(item) for _, item in located)
    response.check_task(task_id, named, f"{where}.task_id", data, response.request_id_in(body, data))
    try:
        _, request_id = unwrap_body(response, body)
    except APIError as error:
        if not (_is_own(response, body) and _names_failed(item, task_id)):
            raise
        request_id = error.request_id
    return _snapshot(response, body, item, where, task_id, request_id)


def _names_failed(item: Any, task_id: str) -> bool:
    """Return True for a status that names this task as failed."""
    return task_id in _status_ids(item) and _item_state(item) is TaskState.FAILED


def _item_state(item: Any) -> TaskState:
    raw_status = (item.get("task_status") or item.get("status")) if isinstance(item, Mapping) else None
    return to_state(raw_status) if isinstance(raw_status, str) else TaskState.RUNNING


def _running_snapshot(body: Any, task_id: str) -> Snapshot | None:
    """Return the snapshot of a response that only reports a waiting or running task, else None.

    Most status responses are such; they need no converter.
    """
    data = body.get("data") if isinstance(body, dict) and _is_success(body) else None
    if not isinstance(data, dict) or data.get("task_id") != task_id:
        return None
    raw_status = data.get("task_status")
    if not isinstance(raw_status, str) or (state := _STATES.get(raw_status.casefold())) is None or state.terminal:
        return None
    for name, value in data.items():
        if name not in _STATUS_FIELDS and value not in _EMPTY_VALUES:
            return None
    return Snapshot(task_id, state, raw_status, raw=_status_only(raw_status))


@lru_cache(maxsize=64)
def _status_only(raw_status: str) -> Mapping[str, str]:
    """Return the `raw` value for this raw status. Cached: thousands of running tasks share one object."""
    return {"task_status": raw_status}


def decode_delivery(body: bytes) -> Snapshot:
    """Read the body that WeryAI sends to a `webhook_url` when a task finishes: the envelope of a status response.

    Raises UnexpectedResponse for anything else (contract section 11.1).
    """
    response = HttpResponse(HTTPStatus.OK, {}, body)
    content = read_body(response)
    try:
        raw, request_id = unwrap_body(response, content)
    except APIError as error:  # a delivery, forged or not, is no error of this key or its credits
        raise response.unexpected("a delivery that is a refusal", "$.status: success is expected", error.raw) from error
    where, item = (_with_paths(raw) or [("$.data", None)])[0]
    snapshot = _snapshot(response, content, item, where, None, request_id)
    if not snapshot.task_id:
        raise response.unexpected("a delivery names no task", f"{where}.task_id: an id is expected", raw, request_id)
    return snapshot


def decode_batch(response: HttpResponse) -> list[Snapshot]:
    """Read a batch status response: a list of tasks, or a single one."""
    body = read_body(response)
    raw, request_id = unwrap_body(response, body)
    return [
        _snapshot(response, body, item, where, None, request_id)
        for where, item in _with_paths(raw)
        if isinstance(item, Mapping) and any(valid_ids(item.get("task_id")))
    ]


def decode_balance(response: HttpResponse) -> float:
    """Return the balance in credits: a bare number, or an object that holds one."""
    raw, request_id = unwrap_envelope(response)
    value = raw.get("balance") if isinstance(raw, Mapping) else raw
    balance = read_credits(value)
    if balance is None:
        what = "the answer holds no balance"
        raise response.unexpected(what, "$.data: a number of credits is expected", raw, request_id)
    return balance


def _snapshot(
    response: HttpResponse, envelope: Any, raw: Any, where: str, task_id: str | None, request_id: str | None
) -> Snapshot:
    """Return the status of a task; `raw` is its part of the `envelope`, at the path `where`."""
    body = structure(converter, raw, TaskBody, http_status=response.http_status, where=where, request_id=request_id)
    known_id = body.task_id or task_id or ""
    assets: tuple[Asset, ...] = ()
    for output_place in (body, body.task_result, body.output):
        assets = assets or tuple(output_place.assets(known_id, body.cover_url))
    state = to_state(body.raw_status)
    return Snapshot(
        task_id=known_id,
        state=state,
        raw_status=body.raw_status,
        assets=assets,
        reason=_reason(body, raw, envelope, has_output=bool(assets or body.text)),
        credits=body.cost_credits,
        text=body.text,
        script=body.lines,
        substatus=body.content_status,
        raw=raw,
        request_id=request_id,
    )


def _reason(body: TaskBody, raw: Mapping[str, Any], envelope: Any, *, has_output: bool) -> str | None:
    """Return what explains a failure, and what there is in place of an output."""
    is_failed = to_state(body.raw_status) is TaskState.FAILED
    places = (raw.get("task_result"), raw, raw.get("output"), envelope if is_failed else None)
    reason = reason_in(*places, status=body.raw_status)
    is_explained = has_output or (is_failed and reason is not None)
    return reason if is_explained else "; ".join(filter(None, (reason, _unusable(body)))) or None


def _unusable(body: TaskBody) -> str | None:
    """Return what there is in places of outputs, as text; None if there is nothing."""
    found = dict.fromkeys(chain(body.unusable(), body.task_result.unusable(), body.output.unusable()))
    return f"no url in {', '.join(found)}"[:_MAX_REASON] if found else None


def _is_success(body: Mapping[str, Any]) -> bool:
    """Return True if the envelope reports success; without a status, if it has data."""
    status = body.get("status")
    if status is None:
        return body.get("data") is not None and body.get("success") is not False
    return str(status).strip().casefold() in _SUCCESS


def _with_paths(data: Any) -> list[tuple[str, Any]]:
    """Return the data, or each item of a list, each with its JSON path."""
    if isinstance(data, list):
        return [(f"$.data[{number}]", item) for number, item in enumerate(data)]
    return [("$.data", data)]


def _task_ids(raw: Any) -> Iterator[str]:
    """Yield the ids of all tasks in the data of a submission's response."""
    for _, item in _with_paths(raw):
        yield from _item_task_ids(item)


def _status_ids(item: Any) -> tuple[str, ...]:
    """Return the id of the task that a status is about; if it has a list of ids instead, those."""
    own = tuple(valid_ids(item.get("task_id"))) if isinstance(item, Mapping) else ()
    return own or tuple(_item_task_ids(item))


def _item_task_ids(item: Any) -> Iterator[str]:
    if isinstance(item, Mapping):
        task_ids = item.get("task_ids")
        yield from valid_ids(*(task_ids if isinstance(task_ids, list) else [task_ids]), item.get("task_id"))
