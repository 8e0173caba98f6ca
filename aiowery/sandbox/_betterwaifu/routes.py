"""BetterWaifu's two faces, of one studio: jobs that are polled, and pictures that come with the answer."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aiowery.sandbox._answer import Answer, Refused, not_found
from aiowery.sandbox._betterwaifu.models import CHECKPOINTS, COVERS, SAMPLERS, SLUGS, checkpoints
from aiowery.sandbox._betterwaifu.state import Generation, GenerationSpec, GenerationStatus
from aiowery.sandbox._faults.script import FaultCall
from aiowery.sandbox._http.files import serve
from aiowery.sandbox._parameter_rules import Field, check, is_empty, words_of

if TYPE_CHECKING:
    from starlette.routing import Route

    from aiowery.sandbox._betterwaifu.state import BetterWaifuState, Edition
    from aiowery.sandbox._faults.script import On
    from aiowery.sandbox._http.app import IncomingRequest, SandboxApp
    from aiowery.sandbox._media.draw import Form
    from aiowery.sandbox._media.gallery import Gallery

_UNKNOWN = "Generation not found"
_LONGEST_SIDE = 4096
_SIZE = tuple(Field(name, name, int, least=1, most=_LONGEST_SIDE) for name in ("width", "height"))
_COMMON = (Field("prompt", "prompt", required=True), Field("negative_prompt", "negative_prompt"), *_SIZE)
_JOB = (
    *_COMMON,
    Field("model_version_id", "model_version_id", int, required=True, choices=CHECKPOINTS),
    Field("steps", "steps", int, least=1),
    Field("cfg_scale", "cfg_scale", float, least=0),
    Field("sampler", "sampler"),
    Field("seed", "seed", int),
)
_IMAGE = (
    *_COMMON,
    Field("model", "model", choices=SLUGS),
    Field("steps", "steps", int, least=20, most=50),
    Field("cfg_scale", "cfg_scale", float, least=1, most=20),
    Field("sampler", "sampler", choices=SAMPLERS),
    Field("seed", "seed", int, least=-1),
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
    """The jobs edition, and the files of both."""

    path_prefix: ClassVar[str] = "/api/"

    app: SandboxApp
    state: BetterWaifuState
    gallery: Gallery

    def routes(self) -> list[Route]:
        """Make all routes of the edition, and that of files."""
        route = partial(self.app.route, self)
        return [
            route("POST", "/api/v1/generate", "submit", self._generate),
            route("GET", "/api/v1/generate", "status", self._nameless),
            route("GET", "/api/v1/generate/", "status", self._nameless),
            route("GET", "/api/v1/generate/{id}", "status", self._status),
            route("GET", "/api/v1/models", "models", self._models),
            route("GET", "/api/v1/account", "balance", self._account),
            route("GET", "/images/{id}.{form:str}", "file", self._file),
        ]

    def describe_call(self, on: On, visit: IncomingRequest) -> FaultCall:
        """Tell faults of the generation concerned, or of the prompt."""
        generation = self.state.job(visit.id) or self.state.picture(visit.id)
        if generation is None:
            return FaultCall(on, f"{visit.path}\n{_prompt(visit)}", unknown=_UNKNOWN)
        age = self.state.now - generation.accepted_at
        return FaultCall(on, f"{visit.path}\n{generation.spec.prompt}", age, _UNKNOWN)

    def refusal_body(self, refused: Refused, http: int) -> Any:  # noqa: ARG002 - the shape of `Face`
        """Say it in one plain text."""
        return {**refused.told, "error": refused.message}

    async def _generate(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        params = _params(visit, _JOB)
        generation = self.state.submit(_spec(params, str(params["model_version_id"])))
        return Answer(_job(generation, generation.accepted_at, visit.base_url), http=201, accepts=True)

    async def _status(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        generation = self.state.job(visit.id)
        if generation is None:
            raise not_found(_UNKNOWN, http=404)
        return Answer(_job(generation, self.state.now, visit.base_url))

    async def _nameless(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        raise Refused("invalid_parameter", "Generation ID is required", http=400)

    async def _models(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        return Answer(checkpoints(visit.base_url))

    async def _account(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        subscription = {"status": "active", "plan": "pro", "endDate": "2099-12-31T00:00:00.000Z"}
        body = {
            "username": "sandbox",
            "credits": self.state.credits,
            "subscription": subscription if self.state.subscription else None,
        }
        return Answer(body)

    async def _file(self, visit: IncomingRequest) -> Answer:
        if visit.id in COVERS and visit.form == "webp":
            content = await self.gallery.painting(COVERS[visit.id], 0, 450, 600, "webp")
            return serve(content, "image/webp", visit.headers)
        generation = self.state.picture(visit.id)
        if generation is None or visit.form != _FORMS[generation.spec.edition]:
            raise not_found("File not found", http=404)
        wish, form = generation.spec, _FORMS[generation.spec.edition]
        content = await self.gallery.painting(wish.prompt, generation.seed, wish.width, wish.height, form)
        return serve(content, f"image/{form}", visit.headers)


@attrs.frozen
class ImagesFacade:
    """The v1-images edition: one call, which lasts as long as the picture takes."""

    path_prefix: ClassVar[str] = "/v1/images/"

    app: SandboxApp
    state: BetterWaifuState

    def routes(self) -> list[Route]:
        """Make the one route of the edition."""
        return [self.app.route(self, "POST", "/v1/images/generate", "submit", self._generate)]

    def describe_call(self, on: On, visit: IncomingRequest) -> FaultCall:
        """Tell faults of the prompt."""
        return FaultCall(on, f"{visit.path}\n{_prompt(visit)}")

    def refusal_body(self, refused: Refused, http: int) -> Any:
        """Say it in the envelope, with a word for what faults know by a number."""
        code = refused.code if isinstance(refused.code, str) else _CODES.get(http, "internal_error")
        error: dict[str, Any] = {"code": code, "message": refused.message}
        if refused.parameter is not None:
            error["parameter"] = refused.parameter
        if refused.retry_after is not None:
            error["retry_after"] = math.ceil(refused.retry_after)
        return {**refused.told, "success": False, "error": error}

    async def _generate(self, visit: IncomingRequest) -> Answer:
        _authorize(self.app, visit)
        given = _params(visit, _IMAGE)
        params = _IMAGE_DEFAULTS | {name: value for name, value in given.items() if not is_empty(value)}
        generation = self.state.submit(attrs.evolve(_spec(params, params["model"]), edition="v1-images"))
        delay = generation.ends_at - self.state.now
        if generation.reason:
            refused = Refused("generation_failed", generation.reason, http=500)
            return attrs.evolve(refused.answer, delay=delay)
        body = {"success": True, "data": _image(generation, params, visit.base_url)}
        return Answer(body, delay=delay, accepts=True)


def _authorize(desk: SandboxApp, visit: IncomingRequest) -> None:
    if not desk.knows(visit, "bw_", "sk-"):
        raise Refused("unauthorized", "Invalid or missing API key", http=401)


def _params(visit: IncomingRequest, fields: tuple[Field, ...]) -> dict[str, Any]:
    """Decode and validate a body; unknown parameters are accepted."""
    try:
        params = visit.params()
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


def _prompt(visit: IncomingRequest) -> str:
    try:
        params = visit.params()
    except ValueError:
        return ""
    return words_of(params, "prompt") if isinstance(params, dict) else ""


def _job(generation: Generation, now: float, base_url: str) -> dict[str, Any]:
    """Tell of a job; its picture is an address under `base_url`, which ends in a slash."""
    stage = generation.status(now)
    told: dict[str, Any] = {"id": generation.id, "status": stage.value}
    if stage is GenerationStatus.QUEUED:
        return told | {"queue_position": generation.queue_position(now)}
    if stage is GenerationStatus.FAILED:
        return told | {"error": generation.reason}
    if stage is GenerationStatus.SUCCEEDED:
        image = {"url": f"{base_url}images/{generation.file}.webp", "id": generation.image_id}
        return told | {"output": {"images": [image], "seed": generation.seed}}
    return told


def _image(generation: Generation, params: dict[str, Any], base_url: str) -> dict[str, Any]:
    """Tell of a finished picture, and of what it was made from."""
    names = ("prompt", "model", "steps", "cfg_scale", "width", "height")
    return {
        "image_id": generation.image_id,
        "url": f"{base_url}images/{generation.file}.png",
        "status": "completed",
        "parameters": {**{name: params[name] for name in names}, "seed": generation.seed},
        "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
