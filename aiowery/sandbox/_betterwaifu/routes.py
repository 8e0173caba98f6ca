"""BetterWaifu's two HTTP facades over one state: jobs that are polled, and images as direct results."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aiowery.sandbox._betterwaifu.models import CHECKPOINTS, COVERS, SAMPLERS, SLUGS, checkpoints
from aiowery.sandbox._betterwaifu.state import Generation, GenerationSpec, GenerationStatus
from aiowery.sandbox._faults.script import FaultTarget
from aiowery.sandbox._http.files import file_response
from aiowery.sandbox._parameter_rules import Field, check, is_empty, texts_of
from aiowery.sandbox._response import PlannedResponse, Refused, not_found

if TYPE_CHECKING:
    from starlette.routing import Route

    from aiowery.sandbox._betterwaifu.state import BetterWaifuState, Edition
    from aiowery.sandbox._faults.script import On
    from aiowery.sandbox._http.app import IncomingRequest, SandboxApp
    from aiowery.sandbox._media.draw import Form
    from aiowery.sandbox._media.gallery import Gallery

_UNKNOWN = "Generation not found"
_LONGEST_SIDE = 4096
_SIZE = tuple(Field(name, name, int, minimum=1, maximum=_LONGEST_SIDE) for name in ("width", "height"))
_COMMON = (Field("prompt", "prompt", required=True), Field("negative_prompt", "negative_prompt"), *_SIZE)
_JOB = (
    *_COMMON,
    Field("model_version_id", "model_version_id", int, required=True, choices=CHECKPOINTS),
    Field("steps", "steps", int, minimum=1),
    Field("cfg_scale", "cfg_scale", float, minimum=0),
    Field("sampler", "sampler"),
    Field("seed", "seed", int),
)
_IMAGE = (
    *_COMMON,
    Field("model", "model", choices=SLUGS),
    Field("steps", "steps", int, minimum=20, maximum=50),
    Field("cfg_scale", "cfg_scale", float, minimum=1, maximum=20),
    Field("sampler", "sampler", choices=SAMPLERS),
    Field("seed", "seed", int, minimum=-1),
)
_IMAGE_DEFAULTS: dict[str, Any] = {"model": "noobai-xl", "steps": 28, "cfg_scale": 7, "width": 832, "height": 1216}
_CODES = {
    400: "invalid_parameter",
    401: "unauthorized",
    402: "insufficient_credits",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
}
_FORMS: dict[Edition, Form] = {"jobs": "webp", "v1-images": "png"}


@attrs.frozen
class JobsFacade:
    """HTTP interface of the jobs edition, and of the files of both editions."""

    path_prefix: ClassVar[str] = "/api/"

    app: SandboxApp
    state: BetterWaifuState
    gallery: Gallery

    def routes(self) -> list[Route]:
        """Return all routes of the edition, and the route of files."""
        route = partial(self.app.route, self)
        return [
            route("POST", "/api/v1/generate", "submit", self._generate),
            route("GET", "/api/v1/generate", "status", self._status_without_id),
            route("GET", "/api/v1/generate/", "status", self._status_without_id),
            route("GET", "/api/v1/generate/{id}", "status", self._status),
            route("GET", "/api/v1/models", "models", self._models),
            route("GET", "/api/v1/account", "balance", self._account),
            route("GET", "/images/{id}.{form:str}", "file", self._file),
        ]

    def describe_target(self, on: On, request: IncomingRequest) -> FaultTarget:
        """Describe the request by the generation concerned, or by its prompt if there is none."""
        generation = self.state.job(request.id) or self.state.picture(request.id)
        if generation is None:
            return FaultTarget(on, f"{request.path}\n{_prompt(request)}", unknown_task_message=_UNKNOWN)
        age = self.state.now - generation.accepted_at
        return FaultTarget(on, f"{request.path}\n{generation.spec.prompt}", age, _UNKNOWN)

    def refusal_body(self, refused: Refused, http: int) -> Any:  # noqa: ARG002 - signature of `ProviderFacade`
        """Return the refusal as one plain text."""
        return {**refused.acceptance_body, "error": refused.message}

    def in_dialect(self, refused: Refused) -> Refused:
        """Return the refusal unchanged: BetterWaifu has one dialect."""
        return refused

    async def _generate(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        params = _params(request, _JOB)
        generation = self.state.submit(_spec(params, str(params["model_version_id"])))
        return PlannedResponse(_job(generation, generation.accepted_at, request.base_url), http=201, accepts=True)

    async def _status(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        generation = self.state.job(request.id)
        if generation is None:
            raise not_found(_UNKNOWN, http=404)
        return PlannedResponse(_job(generation, self.state.now, request.base_url))

    async def _status_without_id(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        raise Refused("invalid_parameter", "Generation ID is required", http=400)

    async def _models(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        return PlannedResponse(checkpoints(request.base_url))

    async def _account(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        subscription = {"status": "active", "plan": "pro", "endDate": "2099-12-31T00:00:00.000Z"}
        body = {
            "username": "sandbox",
            "credits": self.state.credits,
            "subscription": subscription if self.state.subscription else None,
        }
        return PlannedResponse(body)

    async def _file(self, request: IncomingRequest) -> PlannedResponse:
        if request.id in COVERS and request.form == "webp":
            content = await self.gallery.painting(COVERS[request.id], 0, 450, 600, "webp")
            return file_response(content, "image/webp", request.headers)
        generation = self.state.picture(request.id)
        if generation is None or request.form != _FORMS[generation.spec.edition]:
            raise not_found("File not found", http=404)
        spec, form = generation.spec, _FORMS[generation.spec.edition]
        content = await self.gallery.painting(spec.prompt, generation.seed, spec.width, spec.height, form)
        return file_response(content, f"image/{form}", request.headers)


@attrs.frozen
class ImagesFacade:
    """HTTP interface of the v1-images edition: one request, which lasts until the image is finished."""

    path_prefix: ClassVar[str] = "/v1/images/"

    app: SandboxApp
    state: BetterWaifuState

    def routes(self) -> list[Route]:
        """Return the only route of the edition."""
        return [self.app.route(self, "POST", "/v1/images/generate", "submit", self._generate)]

    def describe_target(self, on: On, request: IncomingRequest) -> FaultTarget:
        """Describe the request by its prompt."""
        return FaultTarget(on, f"{request.path}\n{_prompt(request)}")

    def refusal_body(self, refused: Refused, http: int) -> Any:
        """Return the refusal in the envelope of the edition, with a text code instead of a number."""
        code = refused.code if isinstance(refused.code, str) else _CODES.get(http, "internal_error")
        error: dict[str, Any] = {"code": code, "message": refused.message}
        if refused.parameter is not None:
            error["parameter"] = refused.parameter
        if refused.retry_after is not None:
            error["retry_after"] = math.ceil(refused.retry_after)
        return {**refused.acceptance_body, "success": False, "error": error}

    def in_dialect(self, refused: Refused) -> Refused:
        """Return the refusal unchanged: BetterWaifu has one dialect."""
        return refused

    async def _generate(self, request: IncomingRequest) -> PlannedResponse:
        _authorize(self.app, request)
        given = _params(request, _IMAGE)
        params = _IMAGE_DEFAULTS | {name: value for name, value in given.items() if not is_empty(value)}
        generation = self.state.submit(attrs.evolve(_spec(params, params["model"]), edition="v1-images"))
        delay = generation.ends_at - self.state.now
        if generation.reason:
            refused = Refused("generation_failed", generation.reason, http=500)
            return attrs.evolve(refused.response, delay=delay)
        body = {"success": True, "data": _image(generation, params, request.base_url)}
        return PlannedResponse(body, delay=delay, accepts=True)


def _authorize(app: SandboxApp, request: IncomingRequest) -> None:
    if not app.is_authorized(request, "bw_", "sk-"):
        raise Refused("unauthorized", "Invalid or missing API key", http=401)


def _params(request: IncomingRequest, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Decode and validate a body. Unknown parameters are accepted."""
    try:
        params = request.params()
    except ValueError:
        raise Refused("invalid_parameter", "Request body is not valid JSON", http=400) from None
    for field in fields:
        try:
            check((field,), None, params)
        except Refused as refused:
            name = field.name if isinstance(params, dict) else None
            raise Refused("invalid_parameter", refused.message, http=400, parameter=name) from None
    return dict(params)


def _spec(params: dict[str, Any], model: str) -> GenerationSpec:
    names = ("width", "height", "seed")
    given = {name: params[name] for name in names if params.get(name) is not None}
    return GenerationSpec(params["prompt"], model, **given)


def _prompt(request: IncomingRequest) -> str:
    try:
        params = request.params()
    except ValueError:
        return ""
    return texts_of(params, "prompt") if isinstance(params, dict) else ""


def _job(generation: Generation, now: float, base_url: str) -> dict[str, Any]:
    """Return the description of a job. Its image is a URL under `base_url`, which ends in a slash."""
    status = generation.status(now)
    body: dict[str, Any] = {"id": generation.id, "status": status.value}
    if status is GenerationStatus.QUEUED:
        return body | {"queue_position": generation.queue_position(now)}
    if status is GenerationStatus.FAILED:
        return body | {"error": generation.reason}
    if status is GenerationStatus.SUCCEEDED:
        image = {"url": f"{base_url}images/{generation.file}.webp", "id": generation.image_id}
        return body | {"output": {"images": [image], "seed": generation.seed}}
    return body


def _image(generation: Generation, params: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Return the description of a finished image, with its parameters."""
    names = ("prompt", "model", "steps", "cfg_scale", "width", "height")
    return {
        "image_id": generation.image_id,
        "url": f"{base_url}images/{generation.file}.png",
        "status": "completed",
        "parameters": {**{name: params[name] for name in names}, "seed": generation.seed},
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
