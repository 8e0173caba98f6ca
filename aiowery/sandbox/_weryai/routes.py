"""WeryAI's face: the world's routes, authorization, envelopes."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aiowery.sandbox._answer import Answer, Refused, not_found, parameter_error, success
from aiowery.sandbox._faults.script import FaultCall
from aiowery.sandbox._http.files import serve
from aiowery.sandbox._media.uploads import LARGEST_UPLOAD, read_upload
from aiowery.sandbox._parameter_rules import check, webhook_of, words_of
from aiowery.sandbox._tasks import OutputKind, SandboxTaskState, TaskSpec
from aiowery.sandbox._weryai import prices
from aiowery.sandbox._weryai.direct_calls import (
    CHAT,
    CORPUS,
    DESCRIPTION,
    chat_order,
    completion,
    corpus,
    description,
    description_order,
)
from aiowery.sandbox._weryai.endpoints import ENDPOINTS
from aiowery.sandbox._weryai.models import LANGUAGES, NAMES, chat_models, image_models, speakers, video_models
from aiowery.sandbox._weryai.responses import accepted, accepted_voices, forms_of, report, research, script
from aiowery.sandbox._weryai.speech import RESEARCH, VOICES_FIELDS, turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.routing import Route

    from aiowery.sandbox._faults.script import On
    from aiowery.sandbox._http.app import IncomingRequest, SandboxApp
    from aiowery.sandbox._media.gallery import Gallery
    from aiowery.sandbox._parameter_rules import Endpoint
    from aiowery.sandbox._tasks import Task
    from aiowery.sandbox._weryai.state import WeryAIState
    from aiowery.sandbox._weryai.webhooks import WebhookSender

_SAYING = ("prompt", "query", "description", "text", "input", "messages")
_SHOWING = ("img_url", "image_url", "images", "video_url", "video_urls", "videos", "audio_url", "file_url")


@attrs.frozen
class WeryAIFacade:
    """WeryAI over one world."""

    path_prefix: ClassVar[str] = "/"

    app: SandboxApp
    state: WeryAIState
    gallery: Gallery
    webhook_sender: WebhookSender

    def routes(self) -> list[Route]:
        """Make all routes, those of files included."""
        route = partial(self.app.route, self)
        submits = [route("POST", endpoint.path, "submit", partial(self._submit, endpoint)) for endpoint in ENDPOINTS]
        uploads = [
            route("POST", path, "upload", self._upload, largest=LARGEST_UPLOAD)
            for path in ("/v1/generation/upload-file", "/growthai/v1/generation/upload-file")
        ]
        posts = [
            route("POST", "/v1/generation/podcast/generate/{id}/audio", "submit", self._voices),
            route("POST", "/v1/generation/image-to-prompt", "call", self._describe),
            route("POST", "/v1/generation/file_search_stores", "call", self._store),
            route("POST", "/v1/chat/completions", "call", self._chat),
        ]
        reads = [
            route("GET", "/v1/generation/balance", "balance", self._balance),
            route("GET", "/v1/generation/podcast/speakers/list", "models", self._speakers),
            route("GET", "/v1/chat/models", "models", self._chat_models),
            route("GET", "/growthai/v1/image/models", "models", partial(self._registry, image_models)),
            route("GET", "/growthai/v1/video/models", "models", partial(self._registry, video_models)),
            route("GET", "/v1/generation/batch/{id}/status", "batch", self._batch),
            route("GET", "/v1/generation/{id}/status", "status", self._status),
            route("GET", "/files/{id}.{form:str}", "file", self._file),
            route("GET", "/uploads/{id}/{form:str}", "file", self._uploaded),
        ]
        return [*submits, *uploads, *posts, *reads]

    def refusal_body(self, refused: Refused, http: int) -> Any:  # noqa: ARG002 - the shape of `Face`
        """Put a refusal into the envelope."""
        data = refused.told.get("data")
        return {"status": refused.code, "desc": refused.desc, "message": refused.message, "data": data}

    def describe_call(self, on: On, visit: IncomingRequest) -> FaultCall:
        """Tell faults of the tasks concerned, or of what is said."""
        tasks = self._tasks_of(on, visit.id)
        prompts = {task.spec.prompt for task in tasks} if tasks else {_prompt(on, visit.body)}
        age = self.state.now - tasks[-1].accepted_at if tasks else None
        return FaultCall(on, "\n".join([visit.path, *prompts]), age)

    def _tasks_of(self, on: On, id_: str) -> tuple[Task, ...]:
        if on == "batch":
            batch = self.state.batch(id_)
            return batch.tasks if batch else ()
        task = self.state.task(id_)
        return (task,) if task else ()

    async def _submit(self, endpoint: Endpoint, visit: IncomingRequest) -> Answer:
        order = endpoint.read(self._params(visit))
        if endpoint.shape == "research" and order.model != RESEARCH:
            self.state.charge(order)
            return success({"interaction_id": _interaction(order.prompt), "deep_research_outputs": research(order)})
        batch = self.state.submit(order)
        for task in batch.tasks:
            self.webhook_sender.watch(task, visit.base_url)
        return accepted(endpoint.shape, batch)

    async def _voices(self, visit: IncomingRequest) -> Answer:
        params = self._params(visit)
        check(VOICES_FIELDS, None, params)
        task = self.state.task(visit.id)
        if task is None or task.spec.output_kind not in {OutputKind.SCRIPT, OutputKind.PODCAST}:
            raise not_found("task not exist")
        if task.spec.output_kind is OutputKind.PODCAST:
            raise Refused(8002, "podcast audio has already been submitted")
        if task.state(self.state.now) is not SandboxTaskState.SUCCESS:
            raise Refused(8001, "podcast script is not ready")
        order = attrs.evolve(
            task.spec,
            output_kind=OutputKind.PODCAST,
            model="VOICES",
            price=prices.AUDIO,
            seconds=8,
            turns=turns(params) or tuple(script(task.spec)),
            webhook_url=webhook_of(params),
        )
        again = self.state.continue_task(task, order)
        self.webhook_sender.watch(again, visit.base_url)
        return accepted_voices(again)

    async def _upload(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        upload = await read_upload(visit.body, visit.headers)
        return success({"object_url_list": [visit.base_url + self.gallery.uploads.keep(upload)]})

    async def _describe(self, visit: IncomingRequest) -> Answer:
        params = self._params(visit)
        check(DESCRIPTION, None, params)
        self.state.charge(description_order(params))
        return success(description(params))

    async def _store(self, visit: IncomingRequest) -> Answer:
        params = self._params(visit)
        check(CORPUS, None, params)
        return success(corpus(params))

    async def _chat(self, visit: IncomingRequest) -> Answer:
        params = self._params(visit)
        check(CHAT, None, params)
        self.state.charge(chat_order(params))
        return Answer(completion(params, self.state.counters.posts))

    async def _registry(self, registry: Callable[[], dict[str, Any]], visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        return success(registry())

    async def _chat_models(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        return Answer(chat_models())

    async def _speakers(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        language = visit.query.get("language")
        if language is not None and language not in LANGUAGES:
            raise parameter_error("language is not supported")
        return success(speakers(language, visit.base_url))

    async def _status(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        task = self.state.task(visit.id)
        if task is None:
            raise not_found("task not exist")
        return success(report(task, self.state.now, visit.base_url))

    async def _batch(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        batch = self.state.batch(visit.id)
        if batch is None:
            raise not_found("batch not exist")
        return success([report(task, self.state.now, visit.base_url) for task in batch.tasks])

    async def _balance(self, visit: IncomingRequest) -> Answer:
        self._authorize(visit)
        return success(self.state.credits)

    async def _file(self, visit: IncomingRequest) -> Answer:
        if visit.id in NAMES and visit.form == "wav":
            demo = TaskSpec(prompt=f"I am {NAMES[visit.id]}", model="DEMO")
            return serve(await self.gallery.sound(demo), "audio/wav", visit.headers)
        task = self.state.task(visit.id)
        if task is None or task.state(self.state.now) is not SandboxTaskState.SUCCESS:
            raise not_found("file not exist", http=404)
        order = task.spec
        makers: dict[str, tuple[str, Callable[[], Awaitable[bytes]]]] = {
            "png": ("image/png", lambda: self.gallery.picture(order.prompt, task.index, order.aspect_ratio)),
            "mp4": ("video/mp4", lambda: self.gallery.film(order, task.index)),
            "wav": ("audio/wav", lambda: self.gallery.sound(order)),
        }
        if visit.form not in forms_of(order):
            raise not_found("file not exist", http=404)
        media_type, make = makers[visit.form]
        return serve(await make(), media_type, visit.headers)

    async def _uploaded(self, visit: IncomingRequest) -> Answer:
        upload = self.gallery.uploads.find(visit.id)
        if upload is None or upload.name != visit.form:
            raise not_found("file not exist", http=404)
        return serve(upload.content, upload.media_type, visit.headers)

    def _params(self, visit: IncomingRequest) -> Any:
        """Let known callers pass, and decode what they want."""
        self._authorize(visit)
        try:
            return visit.params()
        except ValueError:
            raise parameter_error("request body is not valid JSON") from None

    def _authorize(self, visit: IncomingRequest) -> None:
        if not self.app.knows(visit, "sk-"):
            raise Refused(1002, "Authentication failed", http=401)


def _prompt(on: On, body: bytes) -> str:
    """Return what a call says to a model; for calls that say nothing, of which files it speaks."""
    try:
        params = {} if on == "upload" else json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(params, dict):
        return ""
    messages = params.get("messages")
    turns = [turn.get("content") for turn in messages if isinstance(turn, dict)] if isinstance(messages, list) else []
    return words_of({**params, "messages": turns}, *_SAYING) or words_of(params, *_SHOWING)


def _interaction(prompt: str) -> str:
    return "int_" + hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:12]
