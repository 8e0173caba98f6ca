"""BetterWaifu's two faces, of one studio: jobs that are polled, and pictures that come with the answer."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aiowery.sandbox._answer import Answer, Refused, not_found
from aiowery.sandbox._betterwaifu.models import CHECKPOINTS, COVERS, SAMPLERS, SLUGS, checkpoints
from aiowery.sandbox._betterwaifu.state import Generation, Stage, Wish
from aiowery.sandbox._faults.script import Call
from aiowery.sandbox._http.files import serve
from aiowery.sandbox._parameter_rules import Field, check, is_empty, words_of

if TYPE_CHECKING:
    from starlette.routing import Route

    from aiowery.sandbox._betterwaifu.state import Edition, Studio
    from aiowery.sandbox._faults.script import On
    from aiowery.sandbox._http.app import Desk, Visit
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
class JobsFace:
    """The jobs edition, and the files of both."""

    home: ClassVar[str] = "/api/"

    desk: Desk
    studio: Studio
    gallery: Gallery

    def routes(self) -> list[Route]:
        """Make all routes of the edition, and that of files."""
        route = partial(self.desk.route, self)
        return [
            route("POST", "/api/v1/generate", "submit", self._generate),
            route("GET", "/api/v1/generate", "status", self._nameless),
            route("GET", "/api/v1/generate/", "status", self._nameless),
            route("GET", "/api/v1/generate/{id}", "status", self._status),
            route("GET", "/api/v1/models", "models", self._models),
            route("GET", "/api/v1/account", "balance", self._account),
            route("GET", "/images/{id}.{form:str}", "file", self._file),
        ]

    def call(self, on: On, visit: Visit) -> Call:
        """Tell faults of the generation concerned, or of the prompt."""
        generation = self.studio.job(visit.id) or self.studio.picture(visit.id)
        if generation is None:
            return Call(on, f"{visit.path}\n{_prompt(visit)}", unknown=_UNKNOWN)
        age = self.studio.now - generation.accepted_at
        return Call(on, f"{visit.path}\n{generation.wish.prompt}", age, _UNKNOWN)

    def body(self, refused: Refused, http: int) -> Any:  # noqa: ARG002 - the shape of `Face`
        """Say it in one plain text."""
        return {**refused.told, "error": refused.message}

    async def _generate(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        params = _params(visit, _JOB)
        generation = self.studio.submit(_wish(params, str(params["model_version_id"])))
        return Answer(_job(generation, generation.accepted_at, visit.base_url), http=201, accepts=True)

    async def _status(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        generation = self.studio.job(visit.id)
        if generation is None:
            raise not_found(_UNKNOWN, http=404)
        return Answer(_job(generation, self.studio.now, visit.base_url))

    async def _nameless(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        raise Refused("invalid_parameter", "Generation ID is required", http=400)

    async def _models(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        return Answer(checkpoints(visit.base_url))

    async def _account(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        subscription = {"status": "active", "plan": "pro", "endDate": "2099-12-31T00:00:00.000Z"}
        body = {
            "username": "sandbox",
            "credits": self.studio.credits,
            "subscription": subscription if self.studio.subscription else None,
        }
        return Answer(body)

    async def _file(self, visit: Visit) -> Answer:
        if visit.id in COVERS and visit.form == "webp":
            content = await self.gallery.painting(COVERS[visit.id], 0, 450, 600, "webp")
            return serve(content, "image/webp", visit.headers)
        generation = self.studio.picture(visit.id)
        if generation is None or visit.form != _FORMS[generation.wish.edition]:
            raise not_found("File not found", http=404)
        wish, form = generation.wish, _FORMS[generation.wish.edition]
        content = await self.gallery.painting(wish.prompt, generation.seed, wish.width, wish.height, form)
        return serve(content, f"image/{form}", visit.headers)


@attrs.frozen
class ImagesFace:
    """The v1-images edition: one call, which lasts as long as the picture takes."""

    home: ClassVar[str] = "/v1/images/"

    desk: Desk
    studio: Studio

    def routes(self) -> list[Route]:
        """Make the one route of the edition."""
        return [self.desk.route(self, "POST", "/v1/images/generate", "submit", self._generate)]

    def call(self, on: On, visit: Visit) -> Call:
        """Tell faults of the prompt."""
        return Call(on, f"{visit.path}\n{_prompt(visit)}")

    def body(self, refused: Refused, http: int) -> Any:
        """Say it in the envelope, with a word for what faults know by a number."""
        code = refused.code if isinstance(refused.code, str) else _CODES.get(http, "internal_error")
        error: dict[str, Any] = {"code": code, "message": refused.message}
        if refused.parameter is not None:
            error["parameter"] = refused.parameter
        if refused.retry_after is not None:
            error["retry_after"] = math.ceil(refused.retry_after)
        return {**refused.told, "success": False, "error": error}

    async def _generate(self, visit: Visit) -> Answer:
        _authorize(self.desk, visit)
        given = _params(visit, _IMAGE)
        params = _IMAGE_DEFAULTS | {name: value for name, value in given.items() if not is_empty(value)}
        generation = self.studio.submit(attrs.evolve(_wish(params, params["model"]), edition="v1-images"))
        delay = generation.ends_at - self.studio.now
        if generation.reason:
            refused = Refused("generation_failed", generation.reason, http=500)
            return attrs.evolve(refused.answer, delay=delay)
        body = {"success": True, "data": _image(generation, params, visit.base_url)}
        return Answer(body, delay=delay, accepts=True)


def _authorize(desk: Desk, visit: Visit) -> None:
    if not desk.knows(visit, "bw_", "sk-"):
        raise Refused("unauthorized", "Invalid or missing API key", http=401)


def _params(visit: Visit, fields: tuple[Field, ...]) -> dict[str, Any]:
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


def _wish(params: dict[str, Any], model: str) -> Wish:
    names = ("width", "height", "seed")
    given = {name: params[name] for name in names if params.get(name) is not None}
    return Wish(params["prompt"], model, **given)


def _prompt(visit: Visit) -> str:
    try:
        params = visit.params()
    except ValueError:
        return ""
    return words_of(params, "prompt") if isinstance(params, dict) else ""


def _job(generation: Generation, now: float, base_url: str) -> dict[str, Any]:
    """Tell of a job; its picture is an address under `base_url`, which ends in a slash."""
    stage = generation.stage(now)
    told: dict[str, Any] = {"id": generation.id, "status": stage.value}
    if stage is Stage.QUEUED:
        return told | {"queue_position": generation.queue_position(now)}
    if stage is Stage.FAILED:
        return told | {"error": generation.reason}
    if stage is Stage.SUCCEEDED:
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
