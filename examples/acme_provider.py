"""A complete provider in one file, for a made-up service with the name Acme.

    async with Acme("acme_key", base_url="https://api.acme.example") as client:
        result = await client.run(AcmePicture(prompt="a cat"))

The provider translates requests and responses only. The library does the rest: the queue, retries, polling, streams,
durable batches, webhooks and downloads. docs/write-a-provider.md explains each part, and how the command line finds the
provider: `aiowery batch prompts.txt --provider acme --out pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from urllib.parse import quote

import attrs

from aiowery import Asset, Client, ImageResult, Limits, ModelInfo, Provider, Request, Snapshot, TaskState
from aiowery.errors import APIError, AuthenticationError, ConfigurationError, ContentRejected, NotFound, RateLimited
from aiowery.typing import (
    Accepted,
    ApiKey,
    HttpRequest,
    HttpResponse,
    ProviderInfo,
    RequestTypes,
    TaskDelivery,
    json_body,
    make_config,
)

_STATES: Final = {
    "waiting": TaskState.WAITING,
    "drawing": TaskState.RUNNING,
    "finished": TaskState.DONE,
    "broken": TaskState.FAILED,
}
_ERRORS: Final[Mapping[str, type[APIError]]] = {
    "no-such-key": AuthenticationError,
    "no-such-job": NotFound,
    "not-allowed": ContentRejected,
}
_BUSY: Final = "slow-down"


@attrs.frozen(kw_only=True)
class AcmePicture(Request[ImageResult]):
    """A request for a picture, for Acme's only endpoint. `callback` is the URL for webhook deliveries."""

    type_name: ClassVar[str] = "acme-picture"
    endpoint: ClassVar[str] = "/jobs"
    kind: ClassVar = "image"
    result_type: ClassVar = ImageResult

    prompt: str = attrs.field(
        validator=attrs.validators.and_(attrs.validators.instance_of(str), attrs.validators.min_len(1))
    )
    model: str = "pencil"
    size: str = attrs.field(default="square", validator=attrs.validators.in_(("square", "wide")))
    callback: str | None = None

    @property
    def model_name(self) -> str:
        """The model, for prices and statistics."""
        return self.model

    @property
    def label(self) -> str:
        """The beginning of the prompt, for logs and progress."""
        return self.prompt[:50]


class AcmeProvider(Provider):
    """A translator between `AcmePicture` and Acme's JSON: `{"ok": true, "job": {...}}` or `{"ok": false, ...}`."""

    @property
    def name(self) -> str:
        """The provider's name in messages and logs."""
        return "Acme"

    def validate(self, request: object) -> None:
        """Raise ConfigurationError for another provider's request."""
        if not isinstance(request, AcmePicture):
            raise ConfigurationError(f"{request!r} is not an Acme request; nothing was sent: give an AcmePicture")

    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return the POST that starts a job."""
        fields = attrs.asdict(request, filter=lambda field, value: field.name != "extra" and value is not None)
        return HttpRequest("POST", "/jobs", json_body({**fields, **request.extra}))

    def with_webhook(self, request: Request[Any], url: str) -> Request[Any] | None:
        """Return the request with this URL for webhook deliveries, None if the caller has set one."""
        if not isinstance(request, AcmePicture) or request.callback is not None:
            return None
        return attrs.evolve(request, callback=url)

    def decode_submission(self, request: Request[Any], response: HttpResponse) -> Accepted:  # noqa: ARG002 - one kind of request
        """Return the id of the job that the POST started."""
        return Accepted(task_ids=(_task_id(response, _job(response)),))

    def status_request(self, task_id: str) -> HttpRequest:
        """Return the GET for one job."""
        return HttpRequest("GET", f"/jobs/{quote(task_id, safe='')}")

    def decode_status(self, response: HttpResponse, task_id: str) -> Snapshot:
        """Return the status of one job."""
        job = _job(response)
        response.check_task(task_id, (str(id_) for id_ in (job.get("id"),) if id_), "$.job.id", job)
        phase = job.get("phase")
        if not isinstance(phase, str):
            raise response.unexpected("a status without a phase", "$.job.phase: a string is expected", job)
        files = job.get("files") or ()
        assets = [Asset(file["href"], task_id=task_id) for file in files if isinstance(file, dict) and "href" in file]
        cost = job.get("cost")
        return Snapshot(
            task_id,
            _STATES.get(phase, TaskState.RUNNING),
            raw_status=phase,
            assets=tuple(assets),
            reason=job.get("reason"),
            credits=cost if isinstance(cost, (int, float)) else None,
            raw=job,
        )

    def is_known_status(self, raw_status: str) -> bool:
        """Return True for the four documented phases."""
        return raw_status in _STATES

    def decode_delivery(self, body: bytes) -> TaskDelivery:
        """Return the job in a webhook delivery. Its body has the format of a status response."""
        response = HttpResponse(200, {}, body)
        job = _job(response)
        state = _STATES.get(str(job.get("phase")), TaskState.DONE)
        return TaskDelivery(_task_id(response, job), state in {TaskState.DONE, TaskState.FAILED})


def _job(response: HttpResponse) -> Mapping[str, Any]:
    """Return the job in a response.

    Raises APIError if Acme rejected the request, and UnexpectedResponse for any other body.
    """
    body = response.json()
    if isinstance(body, dict) and isinstance(job := body.get("job"), dict) and body.get("ok") is True:
        return job
    problem = body.get("problem") if isinstance(body, dict) else None
    if not isinstance(problem, dict):
        raise response.unexpected(
            "neither a job nor a problem", "$: an object with `job` or `problem` is expected", body
        )
    kind, text = str(problem.get("kind")), f"Acme: {problem.get('text')}"
    if kind == _BUSY:
        raise RateLimited(text, http_status=response.http_status, code=kind, retry_after=problem.get("seconds"))
    raise _ERRORS.get(kind, APIError)(text, http_status=response.http_status, code=kind, raw=body)


def _task_id(response: HttpResponse, job: Mapping[str, Any]) -> str:
    """Return the id of a job. Raises UnexpectedResponse if there is none."""
    task_id = job.get("id")
    if not isinstance(task_id, str) or not task_id:
        raise response.unexpected("a job without an id", "$.job.id: a string is expected", job)
    return task_id


def _models(response: HttpResponse) -> tuple[ModelInfo, ...]:
    """Return the models in the response of `GET /models`."""
    body = response.json()
    names = body.get("models") if isinstance(body, dict) else None
    if not isinstance(names, dict):
        raise response.unexpected("no models", "$.models: an object is expected", body)
    return tuple(
        ModelInfo(key=name, kind="image", mode=AcmePicture.type_name, description=str(text))
        for name, text in names.items()
    )


INFO: Final = ProviderInfo(
    provider=AcmeProvider(),
    key_variable="ACME_API_KEY",
    url_variable="ACME_BASE_URL",
    base_url="https://api.acme.example",
    request_types=RequestTypes({AcmePicture.type_name: AcmePicture}),
    prompt_type=AcmePicture.type_name,
    limits=Limits(in_flight=4),
)


class Acme(Client):
    """A client for Acme. The keyword arguments are those of `make_config`, such as `ledger`, `limits`, `webhooks`."""

    editions: ClassVar[Mapping[str, ProviderInfo]] = {"v1": INFO}

    def __init__(self, api_key: ApiKey | None = None, **settings: Any) -> None:
        super().__init__(INFO.provider, make_config(INFO, api_key, **settings))

    async def models(self, kind: str | None = None) -> tuple[ModelInfo, ...]:
        """Return Acme's models; all of them draw pictures."""
        return await self.read(HttpRequest("GET", "/models"), _models) if kind in {None, "image"} else ()
