"""Decode BetterWaifu's responses, in both editions (contract: 1.4, 1.5, 2.3).

Required fields are read strictly. Informative ones are read leniently: a paid picture must not be lost because a
number is written as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiowery._base.snapshot import Snapshot, TaskState
from aiowery._core.codec import named_ids
from aiowery._core.messages import HttpResponse, names_http_status
from aiowery._core.reasons import reason_in
from aiowery._core.request import Accepted
from aiowery.betterwaifu._api_errors import response_error
from aiowery.betterwaifu._schema import (
    id_in,
    ids_in,
    optional_int,
    raw_status_in,
    read_outputs,
    to_state,
    unusable_outputs,
)
from aiowery.errors import APIError, UnexpectedResponse

_JOB_IDS: Final = ("id", "job_id", "generation_id")
_READ_FIELDS: Final = frozenset({"credits", "models", "subscription"})
_IMAGE_IDS: Final = ("image_id", "id")
_WRAPPER_FIELDS: Final = ("data", "generation", "job")


def is_own_response(response: HttpResponse) -> bool:
    """Return True for an object with an `error`, or with the fields of a job, a picture, the account or the models.

    An `error` is a text or an object. One beside an HTTP status as code is a gateway's. A redirect is not BetterWaifu's
    own response, whatever its body holds.
    """
    return _is_own(response, response.json_or_none())


def _is_own(response: HttpResponse, body: Any) -> bool:
    if response.redirect or not isinstance(body, Mapping):
        return False
    error = body.get("error")
    if error and isinstance(error, (str, Mapping)) and not names_http_status(body, error):
        return True
    return response.success and (any(map(_has_work_fields, _parts(body))) or not _READ_FIELDS.isdisjoint(body))


def unwrap_envelope(response: HttpResponse) -> Mapping[str, Any]:
    """Return the object in the response, or raise the error that the response means."""
    return _unwrap_body(response, _read_body(response))


def _read_body(response: HttpResponse) -> Any:
    return response.json() if response.success else response.json_or_none()


def _unwrap_body(response: HttpResponse, body: Any) -> Mapping[str, Any]:
    if not response.success or _is_refusal(body):
        raise response_error(response, body)
    if not isinstance(body, Mapping):
        raise response.unexpected("an answer outside the contract", "$: an object is expected", body)
    return body


def decode_queued(response: HttpResponse) -> Accepted:
    """Read the response to a submission of the jobs edition: an id, and possibly a first status.

    Raised errors carry the ids that the body holds at the places where an accepted submission has them.
    """
    body = _read_body(response)
    try:
        return _read_queued(response, _unwrap_body(response, body))
    except (APIError, UnexpectedResponse) as error:
        error.task_ids = named_ids(_named_jobs(body))
        raise


def _named_jobs(body: Any) -> Iterator[str]:
    """Yield the ids at the places where an accepted submission, and a status, has the id of its job."""
    for part in _parts(body) if isinstance(body, Mapping) else ():
        yield from ids_in(part, *_JOB_IDS)


def _read_queued(response: HttpResponse, body: Mapping[str, Any]) -> Accepted:
    for part in _parts(body):
        job_id = id_in(part, *_JOB_IDS)
        if job_id is not None:
            snapshot = _snapshot(response, body, part, job_id)
            # A success without a picture may be about the submission only: polling is free, a lost picture is not.
            reports_progress = snapshot.raw_status and (snapshot.assets or snapshot.state is not TaskState.DONE)
            return Accepted(
                task_ids=(job_id,),
                snapshots=(snapshot,) if reports_progress else (),
                request_id=response.request_id_in(body, part),
            )
    raise response.unexpected("accepted without an id", "$.id: an id is expected", body, response.request_id_in(body))


def decode_image(response: HttpResponse, fallback_id: str) -> Accepted:
    """Read the response of the v1-images edition, which holds the picture; without an id it gets `fallback_id`.

    Raised errors carry the ids that the body holds at the places of a picture's id.
    """
    body = _read_body(response)
    try:
        return _read_image(response, _unwrap_body(response, body), fallback_id)
    except (APIError, UnexpectedResponse) as error:
        error.task_ids = named_ids(ids_in(_image_part(body), *_IMAGE_IDS))
        raise


def _image_part(body: Any) -> Any:
    """Return the object with the picture's fields: the body itself, or its `data`."""
    data = body.get("data") if isinstance(body, Mapping) else None
    return data if isinstance(data, Mapping) else body


def _read_image(response: HttpResponse, body: Mapping[str, Any], fallback_id: str) -> Accepted:
    part = _image_part(body)
    image_id = id_in(part, *_IMAGE_IDS) or fallback_id
    outputs = read_outputs(part, image_id)
    raw_status = raw_status_in(part)
    state = to_state(raw_status)
    request_id = response.request_id_in(body, part)
    if state is not TaskState.FAILED:
        if not outputs.assets:
            raise response.unexpected("success without a picture", "$.data.url: a url is expected", body, request_id)
        state = TaskState.DONE
    snapshot = Snapshot(
        image_id,
        state,
        raw_status,
        assets=outputs.assets,
        reason=reason_in(part, body, status=raw_status),
        raw=part,
        request_id=request_id,
    )
    return Accepted(task_ids=(image_id,), snapshots=(snapshot,), request_id=request_id)


def decode_status(response: HttpResponse, job_id: str) -> Snapshot:
    """Read the status of one job; an undocumented raw status counts as running.

    A response that names other jobs is refused.
    """
    content = _read_body(response)
    response.check_task(job_id, _named_jobs(content), "$.id", content)
    is_failed = not response.success and _names_failed(response, content, job_id)
    body = content if is_failed else _unwrap_body(response, content)
    parts = [part for part in _parts(body) if raw_status_in(part)]
    if not parts:
        raise response.unexpected("a job without a status", "$.status: a text is expected", body)
    # An envelope may have a status of its own, such as "ok".
    part = next((part for part in parts if to_state(raw_status_in(part))), parts[0])
    return _snapshot(response, body, part, job_id)


def _names_failed(response: HttpResponse, body: Any, job_id: str) -> bool:
    """Return True for a response of BetterWaifu's own that names this job as failed, whatever its HTTP status."""
    return _is_own(response, body) and any(
        job_id in ids_in(part, *_JOB_IDS) and to_state(raw_status_in(part)) is TaskState.FAILED for part in _parts(body)
    )


def _parts(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the objects that may hold the job's fields: the body, and those that it wraps."""
    return [part for part in (body, *(body.get(name) for name in _WRAPPER_FIELDS)) if isinstance(part, Mapping)]


def _snapshot(response: HttpResponse, body: Mapping[str, Any], part: Mapping[str, Any], job_id: str) -> Snapshot:
    raw_status = raw_status_in(part)
    state = to_state(raw_status) or (TaskState.RUNNING if raw_status else TaskState.WAITING)
    assets = read_outputs(part, job_id).assets if state.terminal else ()
    reason = reason_in(part, part.get("output"), body, status=raw_status)
    if state is TaskState.DONE and not assets:
        reason = "; ".join(filter(None, (reason, unusable_outputs(part)))) or None
    return Snapshot(
        job_id,
        state,
        raw_status,
        assets=assets,
        queue_position=optional_int(part.get("queue_position")),
        reason=reason,
        raw=part,
        request_id=response.request_id_in(body, part),
    )


def _is_refusal(body: Any) -> bool:
    """Return True if a 2xx is a refusal: `success: false`, or an `error` without the fields of a job or picture."""
    if not isinstance(body, Mapping):
        return False
    if body.get("success") is False:
        return not any(map(_is_failed_job, _parts(body)))
    return bool(body.get("error")) and not any(map(_has_work_fields, _parts(body)))


def _is_failed_job(part: Mapping[str, Any]) -> bool:
    return to_state(raw_status_in(part)) is TaskState.FAILED and id_in(part, *_JOB_IDS) is not None


def _has_work_fields(part: Mapping[str, Any]) -> bool:
    return bool(raw_status_in(part) or id_in(part, *_JOB_IDS, "image_id") or read_outputs(part).assets)
