"""WeryAI's HTTP facade: routes, authorization, envelopes."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from aiowery.sandbox._faults.script import FaultTarget
from aiowery.sandbox._http.files import file_response
from aiowery.sandbox._media.uploads import LARGEST_UPLOAD, read_upload
from aiowery.sandbox._parameter_rules import check, texts_of, webhook_url_of
from aiowery.sandbox._response import PlannedResponse, Refused, not_found, parameter_error, success
from aiowery.sandbox._tasks import OutputKind, SandboxTaskState, TaskSpec
from aiowery.sandbox._weryai import prices
from aiowery.sandbox._weryai.direct_calls import (
    CHAT,
    CHAT_MODEL,
    CORPUS,
    DESCRIPTION,
    chat_spec,
    completion,
    corpus,
    description,
    description_spec,
)
from aiowery.sandbox._weryai.endpoints import ENDPOINTS
from aiowery.sandbox._weryai.models import LANGUAGES, NAMES, chat_models, image_models, speakers, video_models
from aiowery.sandbox._weryai.responses import (
    accepted_audio_response,
    accepted_response,
    file_extensions,
    podcast_script,
    research_outputs,
    task_data,
)
from aiowery.sandbox._weryai.speech import PODCAST_AUDIO_FIELDS, RESEARCH, podcast_dialogue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.routing import Route

    from aiowery.sandbox._faults.script import On
    from aiowery.sandbox._http.app import IncomingRequest, SandboxApp
    from aiowery.sandbox._media.gallery import Gallery
    from aiowery.sandbox._parameter_rules import Endpoint
    from aiowery.sandbox._tasks import Task
    from aiowery.sandbox._weryai.dialect import Dialect
    from aiowery.sandbox._weryai.state import WeryAIState
    from aiowery.sandbox._weryai.webhooks import WebhookSender

_PROMPT_FIELDS = ("prompt", "query", "description", "text", "input", "messages")
_FILE_FIELDS = ("img_url", "image_url", "images", "video_url", "video_urls", "videos", "audio_url", "file_url")


@attrs.frozen
class WeryAIFacade:
    """HTTP interface of WeryAI's state."""

    path_prefix: ClassVar[str] = "/"

    app: SandboxApp
    state: WeryAIState
    gallery: Gallery
    webhook_sender: WebhookSender
    dialect: Dialect

    def routes(self) -> list[Route]:
        """Return all routes, including those of files."""
        route = partial(self.app.route, self)
        submits = [route("POST", endpoint.path, "submit", partial(self._submit, endpoint)) for endpoint in ENDPOINTS]
        uploads = [
            route("POST", path, "upload", self._upload, max_bytes=LARGEST_UPLOAD)
            for path in ("/v1/generation/upload-file", "/growthai/v1/generation/upload-file")
        ]
        posts = [
            route("POST", "/v1/generation/podcast/generate/{id}/audio", "submit", self._podcast_audio),
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

    def refusal_body(self, refused: Refused, http: int) -> Any:  # noqa: ARG002 - signature of `ProviderFacade`
        """Return the refusal in WeryAI's envelope."""
        data = refused.acceptance_body.get("data")
        return {"status": refused.code, "desc": refused.desc, "message": refused.message, "data": data}

    def in_dialect(self, refused: Refused) -> Refused:
        """Return a refusal of WeryAI's own with the code of the chosen dialect."""
        return self.dialect.refusal(refused)

    def describe_target(self, on: On, request: IncomingRequest) -> FaultTarget:
        """Describe the request by the tasks concerned, or by its prompt if there are none."""
        tasks = self._tasks_of(on, request.id)
        prompts = {task.spec.prompt for task in tasks} if tasks else {_prompt(on, request.body)}
        age = self.state.now - tasks[-1].accepted_at if tasks else None
        return FaultTarget(on, "\n".join([request.path, *prompts]), age)

    def _tasks_of(self, on: On, id_: str) -> tuple[Task, ...]:
        if on == "batch":
            batch = self.state.batch(id_)
            return batch.tasks if batch else ()
        task = self.state.task(id_)
        return (task,) if task else ()

    async def _submit(self, endpoint: Endpoint, request: IncomingRequest) -> PlannedResponse:
        spec = endpoint.read(self._params(request))
        if endpoint.shape == "research" and spec.model != RESEARCH:
            self.state.charge(spec)
            return success(
                {"interaction_id": _interaction(spec.prompt), "deep_research_outputs": research_outputs(spec)}
            )
        batch = self.state.submit(spec)
        for task in batch.tasks:
            self.webhook_sender.schedule(task, request.base_url)
        return accepted_response(endpoint.shape, batch, self.dialect)

    async def _podcast_audio(self, request: IncomingRequest) -> PlannedResponse:
        params = self._params(request)
        check(PODCAST_AUDIO_FIELDS, None, params)
        task = self.state.task(request.id)
        if task is None or task.spec.output_kind not in {OutputKind.SCRIPT, OutputKind.PODCAST}:
            raise not_found("task not exist")
        if task.spec.output_kind is OutputKind.PODCAST:
            raise Refused(8002, "podcast audio has already been submitted")
        if task.state(self.state.now) is not SandboxTaskState.SUCCESS:
            raise Refused(8001, "podcast script is not ready")
        spec = attrs.evolve(
            task.spec,
            output_kind=OutputKind.PODCAST,
            model="VOICES",
            price=prices.AUDIO,
            seconds=8,
            dialogue=podcast_dialogue(params) or tuple(podcast_script(task.spec)),
            webhook_url=webhook_url_of(params),
        )
        continued = self.state.continue_task(task, spec)
        self.webhook_sender.schedule(continued, request.base_url)
        return accepted_audio_response(continued, self.dialect)

    async def _upload(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        upload = await read_upload(request.body, request.headers)
        return success({"object_url_list": [request.base_url + self.gallery.uploads.keep(upload)]})

    async def _describe(self, request: IncomingRequest) -> PlannedResponse:
        params = self._params(request)
        check(DESCRIPTION, None, params)
        self.state.charge(description_spec(params))
        return success(description(params))

    async def _store(self, request: IncomingRequest) -> PlannedResponse:
        params = self._params(request)
        check(CORPUS, None, params)
        return success(corpus(params))

    async def _chat(self, request: IncomingRequest) -> PlannedResponse:
        params = self._params(request)
        check(CHAT, CHAT_MODEL, params)
        self.state.charge(chat_spec(params))
        return PlannedResponse(completion(params, self.state.counters.posts))

    async def _registry(self, registry: Callable[[], dict[str, Any]], request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        return success(registry())

    async def _chat_models(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        return PlannedResponse(chat_models())

    async def _speakers(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        language = request.query.get("language")
        if language is not None and language not in LANGUAGES:
            raise parameter_error("language is not supported")
        return success(speakers(language, request.base_url))

    async def _status(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        task = self.state.task(request.id)
        if task is None:
            raise not_found("task not exist")
        return success(task_data(task, self.state.now, request.base_url, self.dialect))

    async def _batch(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        batch = self.state.batch(request.id)
        if batch is None:
            raise not_found("batch not exist")
        now = self.state.now
        return success([task_data(task, now, request.base_url, self.dialect) for task in batch.tasks])

    async def _balance(self, request: IncomingRequest) -> PlannedResponse:
        self._authorize(request)
        return success(self.state.credits)

    async def _file(self, request: IncomingRequest) -> PlannedResponse:
        if request.id in NAMES and request.form == "wav":
            demo = TaskSpec(prompt=f"I am {NAMES[request.id]}", model="DEMO")
            return file_response(await self.gallery.sound(demo), "audio/wav", request.headers)
        task = self.state.task(request.id)
        if task is None or task.state(self.state.now) is not SandboxTaskState.SUCCESS:
            raise not_found("file not exist", http=404)
        spec = task.spec
        makers: dict[str, tuple[str, Callable[[], Awaitable[bytes]]]] = {
            "png": ("image/png", lambda: self.gallery.picture(spec.prompt, task.index, spec.aspect_ratio)),
            "mp4": ("video/mp4", lambda: self.gallery.film(spec, task.index)),
            "wav": ("audio/wav", lambda: self.gallery.sound(spec)),
        }
        if request.form not in file_extensions(spec):
            raise not_found("file not exist", http=404)
        media_type, make = makers[request.form]
        return file_response(await make(), media_type, request.headers)

    async def _uploaded(self, request: IncomingRequest) -> PlannedResponse:
        upload = self.gallery.uploads.find(request.id)
        if upload is None or upload.name != request.form:
            raise not_found("file not exist", http=404)
        return file_response(upload.content, upload.media_type, request.headers)

    def _params(self, request: IncomingRequest) -> Any:
        """Check the API key and decode the body."""
        self._authorize(request)
        try:
            return request.params()
        except ValueError:
            raise parameter_error("request body must be valid JSON") from None

    def _authorize(self, request: IncomingRequest) -> None:
        if not self.app.is_authorized(request, "sk-"):
            raise Refused(1002, "Authentication failed", http=401)


def _prompt(on: On, body: bytes) -> str:
    """Return the text of a request, or the names of its input files if it has no text."""
    try:
        params = {} if on == "upload" else json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(params, dict):
        return ""
    messages = params["messages"] if isinstance(params.get("messages"), list) else []
    texts = [message.get("content") for message in messages if isinstance(message, dict)]
    return texts_of({**params, "messages": texts}, *_PROMPT_FIELDS) or texts_of(params, *_FILE_FIELDS)


def _interaction(prompt: str) -> str:
    return "int_" + hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()[:12]
