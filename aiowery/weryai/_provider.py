"""WeryAI's pure translator: requests to HTTP requests, responses to values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import attrs

from aiowery._base.snapshot import AssetKind, Snapshot
from aiowery._base.text import synchronous_task_id
from aiowery._core.contradictions import contradicts
from aiowery._core.fields import fits_in_a_path, short_repr, wire_of, wrong_request
from aiowery._core.media import UploadFile
from aiowery._core.messages import MAIN_HOST, HttpRequest, HttpResponse, MultipartForm, json_body
from aiowery._core.provider import Provider
from aiowery._core.request import Accepted, Request
from aiowery._core.webhook_config import TaskDelivery
from aiowery.errors import APIError, AuthenticationError, DailyLimitReached
from aiowery.weryai import _decode
from aiowery.weryai._api_errors import TASK_CODES
from aiowery.weryai.requests._base import WebhookRequest, WeryAIRequest

MODELS_HOST: Final = "models"
BALANCE: Final = HttpRequest("GET", "/v1/generation/balance")
CHAT_MODELS: Final = HttpRequest("GET", "/v1/chat/models")
IMAGE_MODELS: Final = HttpRequest("GET", "/growthai/v1/image/models", host=MODELS_HOST)
VIDEO_MODELS: Final = HttpRequest("GET", "/growthai/v1/video/models", host=MODELS_HOST)
_SPEAKERS: Final = "/v1/generation/podcast/speakers/list"
_UPLOAD: Final = "/v1/generation/upload-file"
_LEGACY_UPLOAD: Final = "/growthai/v1/generation/upload-file"
_UPLOAD_WITHIN: Final = 180.0
_UPLOAD_LIMITS: Final[Mapping[AssetKind, int]] = {"image": 10 * 1024**2, "video": 50 * 1024**2, "audio": 50 * 1024**2}
_ECHOED: Final = ("prompt", "negative_prompt", "model")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def speakers_request(language: str | None) -> HttpRequest:
    """Return the request for the voices of podcasts, in one language or in all."""
    return HttpRequest("GET", _SPEAKERS if language is None else f"{_SPEAKERS}?{urlencode({'language': language})}")


@attrs.frozen
class WeryAIProvider(Provider):
    """A translator for WeryAI."""

    @property
    def name(self) -> str:
        """The provider's name."""
        return "WeryAI"

    @property
    def account_errors(self) -> tuple[type[APIError], ...]:
        """The rejections that concern the account; credits are counted per request (contract section 5)."""
        return (AuthenticationError, DailyLimitReached)

    def validate(self, request: object) -> None:
        """Raise ConfigurationError for what is no request to WeryAI."""
        _own_fields(request)

    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return the POST with the fields that were set; for a field that is None the provider's default applies."""
        ours = _own_fields(request)
        return HttpRequest("POST", _path(ours), json_body(_body(ours)), timeout=ours.direct_timeout)

    def with_webhook(self, request: Request[Any], url: str) -> Request[Any] | None:
        """Return the request with a `webhook_url`, if it may have one and has none (contract section 11.1)."""
        if (
            not isinstance(request, WebhookRequest)
            or request.webhook_url is not None
            or request.direct_timeout is not None
        ):
            return None
        with_url: Request[Any] = attrs.evolve(request, webhook_url=url)
        return with_url

    def decode_submission(self, request: Request[Any], response: HttpResponse) -> Accepted:
        """Return the task ids in a response, or the outputs of an endpoint that returns them immediately."""
        return _decode.decode_submission(_own_fields(request), response, synchronous_task_id())

    def status_request(self, task_id: str) -> HttpRequest:
        """Return the GET for one task."""
        return HttpRequest("GET", f"/v1/generation/{_segment(task_id)}/status")

    def decode_status(self, response: HttpResponse, task_id: str) -> Snapshot:
        """Return the status of one task."""
        return _decode.decode_status(response, task_id)

    def contradicts_request(self, request: Request[Any], snapshot: Snapshot, sent_at: float) -> bool:
        """Return True for another prompt or model, outputs of another kind, or a task that began before the request.

        A task that the request itself names is its own: a podcast's second step goes on with that of its first.
        """
        if getattr(request, "task_id", None) == snapshot.task_id:
            return False
        asked = {name: getattr(request, name, None) for name in _ECHOED}
        kinds = {asset.kind for asset in snapshot.assets}
        other_kind = request.kind != "text" and bool(kinds) and request.kind not in kinds
        return other_kind or contradicts(snapshot.raw, asked, sent_at)

    def is_known_status(self, raw_status: str) -> bool:
        """Return True if the status is documented or was seen in use."""
        return _decode.is_known_status(raw_status)

    def ends_task(self, error: APIError) -> bool:
        """Return True for a refusal that speaks of the task's content, or of its generation."""
        return super().ends_task(error) or (error.is_own and error.code in TASK_CODES)

    def decode_delivery(self, body: bytes) -> TaskDelivery:
        """Return the content of a webhook delivery; one with an unknown status counts as finished.

        Deliveries before the end are not documented (contract section 11.1): if there are any, they must not replace
        the one that counts.
        """
        snapshot = _decode.decode_delivery(body)
        is_finished = snapshot.state.terminal or not self.is_known_status(snapshot.raw_status)
        return TaskDelivery(snapshot.task_id, is_finished)

    def liveness_request(self) -> HttpRequest:
        """Return the GET for the balance."""
        return BALANCE

    def is_own_response(self, response: HttpResponse) -> bool:
        """Return True for a response in WeryAI's envelope, or in the form of its chat endpoint."""
        return _decode.is_own_response(response)

    def batch_request(self, provider_batch_id: str) -> HttpRequest:
        """Return the GET for all tasks of one submission."""
        return HttpRequest("GET", f"/v1/generation/batch/{_segment(provider_batch_id)}/status")

    def decode_batch(self, response: HttpResponse) -> Sequence[Snapshot]:
        """Return the statuses of all tasks."""
        return _decode.decode_batch(response)

    @property
    def upload_limits(self) -> Mapping[AssetKind, int]:
        """10 MB for images, 50 MB for videos and audio (API: upload-file)."""
        return _UPLOAD_LIMITS

    def upload_request(
        self, file: UploadFile, *, legacy: bool = False, batch_no: str | None = None, fixed: bool = False
    ) -> HttpRequest:
        """Return the POST that uploads a file as multipart/form-data; `legacy` uses the older endpoint."""
        given: object = batch_no  # whatever the annotations say
        if given is not None and not (isinstance(given, str) and fits_in_a_path(given)):
            raise wrong_request(f"batch_no is {short_repr(batch_no)}; a text is needed")
        form = MultipartForm(
            filename=file.name,
            content=file.content,
            content_type=file.content_type,
            fields={"fixed": str(fixed).lower(), **({} if batch_no is None else {"batch_no": batch_no})},
        )
        path, host = (_LEGACY_UPLOAD, MODELS_HOST) if legacy else (_UPLOAD, MAIN_HOST)
        return HttpRequest("POST", path, form=form, host=host, timeout=_UPLOAD_WITHIN)

    def decode_upload(self, response: HttpResponse) -> str:
        """Return the URL of an uploaded file."""
        return _decode.decode_upload(response)


def _segment(id_: str) -> str:
    """Return an id as a path segment. Raises ConfigurationError if it would lead to another path."""
    if _PLAIN.fullmatch(id_):
        return id_
    if not fits_in_a_path(id_):
        raise wrong_request(f"the id is {short_repr(id_)}; an id as the provider gave it is needed")
    return quote(id_, safe="")


def _own_fields(request: object) -> WeryAIRequest[Any]:
    if not isinstance(request, WeryAIRequest):
        raise wrong_request(f"{short_repr(request)} is not a WeryAI request; give one of the classes of aiowery.weryai")
    return request


def _body(request: Request[Any]) -> dict[str, Any]:
    """Return the fields that are set, under their wire names; the provider's defaults apply to the others."""
    body: dict[str, Any] = {}
    for field in attrs.fields(type(request)):
        spelling = wire_of(field)
        value = getattr(request, field.name)
        if field.name == "extra" or spelling.in_path or value is None or value == ():
            continue
        written = value if spelling.write is None else spelling.write(value)
        body[spelling.name or field.name] = _to_json(written)
    return {**body, **request.extra}


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _path(request: Request[Any]) -> str:
    parts = {
        field.name: _segment(getattr(request, field.name))
        for field in attrs.fields(type(request))
        if wire_of(field).in_path
    }
    return request.endpoint.format_map(parts)
