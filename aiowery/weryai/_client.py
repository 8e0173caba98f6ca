"""WeryAI's client: the verbs that all providers share, and WeryAI's own."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, overload

import attrs

from aiowery._base.secret import hide
from aiowery._client.arguments import check_id, check_request, check_type, checked_source, refused
from aiowery._client.client import Client
from aiowery._client.config import ProviderInfo, make_config
from aiowery._core.events import Observer, log
from aiowery._core.media import MediaSource
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.models import CheckIssue
from aiowery._core.policies import Limits, PollPolicy, RetryPolicy
from aiowery._core.request import DEFAULT, Request, Timeout
from aiowery._core.urls import refuse_path, validate_base_url
from aiowery._core.webhook_config import Webhooks
from aiowery._http.api_key import ApiKey
from aiowery.errors import AioweryError, ConfigurationError
from aiowery.weryai import _decode, _model_listing, _podcast_job
from aiowery.weryai._model_listing import ChatModel, Model, Speaker
from aiowery.weryai._podcast_job import PodcastJob
from aiowery.weryai._provider import (
    BALANCE,
    CHAT_MODELS,
    IMAGE_MODELS,
    MODELS_HOST,
    VIDEO_MODELS,
    WeryAIProvider,
    speakers_request,
)
from aiowery.weryai._request_types import CATALOGUE
from aiowery.weryai.requests._base import WeryAIRequest
from aiowery.weryai.requests._chat import Chat, ChatResult, Message
from aiowery.weryai.requests._podcast import Podcast

if TYPE_CHECKING:
    from aiowery._client.runtime import ClientRuntime
    from aiowery._http.httpx_transport import HTTPChoice
    from aiowery._journal.spending import PriceTable
    from aiowery.ledger import Ledger

_MODELS_URL: Final = "https://api-growth-agent.weryai.com"
_MODELS_PATH: Final = "/growthai/v1"
_MODELS_VARIABLE: Final = "WERYAI_MODELS_BASE_URL"
_Decode = Callable[[HttpResponse], Sequence[Model | ChatModel]]
_REGISTRIES: Final[Mapping[str, tuple[HttpRequest, _Decode]]] = {
    "image": (IMAGE_MODELS, _model_listing.decode_models),
    "video": (VIDEO_MODELS, _model_listing.decode_models),
    "chat": (CHAT_MODELS, _model_listing.decode_chat_models),
}
_FRESH: Final = 600.0
_FRESH_FAILURE: Final = 60.0
_translator: Final = WeryAIProvider()
INFO: Final = ProviderInfo(
    provider=_translator,
    key_variable="WERYAI_API_KEY",
    url_variable="WERYAI_BASE_URL",
    base_url="https://api.weryai.com",
    path="/v1",
    request_types=CATALOGUE,
    prompt_type="text-to-image",
)


class WeryAI(Client):
    """An asyncio client for WeryAI.

    The key comes from `api_key` or the environment variable WERYAI_API_KEY, the host from `base_url`,
    WERYAI_BASE_URL, or WeryAI's own. The model registries live on another host, which gets the same key:
    `models_base_url`, WERYAI_MODELS_BASE_URL, or WeryAI's own, unless another `base_url` was given, which then
    serves both. See `aiowery.weryai` for the requests, and `aiowery.typing.make_config` for the other settings.

    `webhooks`: let WeryAI report the end of each task to a `webhook_url`, documented for all requests but video-extend
    and video-merge; see `aiowery.webhook`. A request with a `webhook_url` of its own keeps it and is polled.
    """

    editions: ClassVar[Mapping[str, ProviderInfo]] = {"v1": INFO}
    """WeryAI has one edition."""

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        base_url: str | None = None,
        models_base_url: str | None = None,
        limits: Limits | None = None,
        polling: PollPolicy | None = None,
        retries: RetryPolicy | None = None,
        http_timeout: float = 30.0,
        http: HTTPChoice | None = None,
        observer: Observer | None = None,
        low_credits: float | None = None,
        ledger: Ledger | str | os.PathLike[str] | None = None,
        budget: float | None = None,
        prices: PriceTable | None = None,
        reuse: bool = False,
        price_per_credit: float | None = None,
        allow_hosts: Iterable[str] = (),
        webhooks: Webhooks | None = None,
        log_prompts: bool = False,
    ) -> None:
        api_key = hide(api_key)
        resolved = INFO.resolve_base_url(base_url)
        config = make_config(
            INFO,
            api_key,
            base_url=resolved,
            limits=limits,
            polling=polling,
            retries=retries,
            http_timeout=http_timeout,
            http=http,
            observer=observer,
            low_credits=low_credits,
            ledger=ledger,
            budget=budget,
            prices=prices,
            reuse=reuse,
            price_per_credit=price_per_credit,
            allow_hosts=allow_hosts,
            other_hosts={MODELS_HOST: _resolve_models_url(models_base_url, resolved)},
            webhooks=webhooks,
            log_prompts=log_prompts,
        )
        super().__init__(_translator, config)
        self._readings: dict[HttpRequest, _RegistryReading] = {}

    async def balance(self) -> float:
        """Return the account's credits; emit `LowCredits` if they are below `low_credits`."""
        balance = await self.read(BALANCE, _decode.decode_balance)
        self._report_balance(balance)
        return balance

    @overload
    async def models(self, kind: Literal["image", "video"]) -> tuple[Model, ...]: ...
    @overload
    async def models(self, kind: Literal["chat"]) -> tuple[ChatModel, ...]: ...
    @overload
    async def models(self, kind: str | None = None) -> tuple[Model | ChatModel, ...]: ...
    async def models(self, kind: str | None = None) -> tuple[Model | ChatModel, ...]:
        """Return the entries of a registry ("image", "video" or "chat"), or of all three.

        Images and videos have a `Model` for each mode of a model, chat has `ChatModel`s.
        """
        given: object = kind  # a caller without a type checker may pass anything
        if given is not None and not (isinstance(given, str) and given in _REGISTRIES):
            raise refused("models(): kind", kind, f"one of {', '.join(_REGISTRIES)}")
        registries = _REGISTRIES.values() if kind is None else (_REGISTRIES[kind],)
        found = await asyncio.gather(*(self.read(request, decode) for request, decode in registries))
        return tuple(itertools.chain.from_iterable(found))

    async def speakers(self, language: str | None = None) -> tuple[Speaker, ...]:
        """Return the speakers for podcasts, in one language (en, zh, ja) or in all."""
        check_type("speakers(): language", language, (str, type(None)), "en, zh, ja, or None for all")
        return await self.read(speakers_request(language), _model_listing.decode_speakers)

    async def check(self, request: Request[Any]) -> tuple[CheckIssue, ...]:
        """Return the conflicts between a request and the model registry, before money is spent; nothing is enforced.

        The registry is read at most once in 10 minutes, or once a minute after a failure. If it cannot be read, or
        does not list the model for such requests, a warning is logged and the result is empty.
        """
        check_request("check", request)
        if not isinstance(request, WeryAIRequest) or request.type_name not in _model_listing.REGISTRY_MODES:
            return ()
        models = await self._known_models(IMAGE_MODELS if request.kind == "image" else VIDEO_MODELS)
        if models is None:
            return ()
        line = _model_listing.find_entry(request, models)
        if line is None:
            log.warning("the model registry does not list %s for %s", request.model_name, request.type_name)
            return ()
        return _model_listing.check_issues(request, line, models)

    async def podcast(
        self, request: Podcast | None = None, *, task_id: str | None = None, job_timeout: Timeout = DEFAULT
    ) -> PodcastJob:
        """Submit a podcast, or continue one by its `task_id`; await the handle for the result.

        See `PodcastJob` for editing the script. Raises the errors of `submit`.
        """
        if (request is None) == (task_id is None):
            raise ConfigurationError("podcast(): give either a Podcast request or task_id=...; nothing was sent")
        if task_id is not None:
            check_id("podcast", "task_id", task_id)
        check_type("podcast(): request", request, (Podcast, type(None)), "an aiowery.weryai.Podcast")
        return await _podcast_job.begin(self, request, task_id, job_timeout, self.status)

    async def chat(self, messages: str | Iterable[Message | Mapping[str, Any]], **settings: Any) -> ChatResult:
        """Return a chat model's answer to a text or a conversation; `settings` are the other fields of `Chat`.

        The request costs credits: like any submission it is sent once. It may take minutes.
        """
        if isinstance(messages, (bytes, Mapping)) or not isinstance(messages, Iterable):
            raise refused("chat(): messages", messages, "a text, or a list of aiowery.weryai.Message")
        if unknown := sorted(settings.keys() - {field.name for field in attrs.fields(Chat)}):
            raise ConfigurationError(f"chat(): {unknown[0]} is no field of Chat; nothing was sent: use extra={{...}}")
        return await self.run(Chat(messages=messages, **settings))

    async def upload(
        self, source: MediaSource, *, legacy: bool = False, batch_no: str | None = None, fixed: bool = False
    ) -> str:
        """Upload a picture, video or sound (a path, bytes or an open binary file) and return its URL.

        Pictures (jpg, png, webp) must be under 10 MB, videos and sounds under 50 MB, and the content must match the
        file name extension. Anything else raises ConfigurationError, and nothing is sent. Equal content is uploaded
        once while the client is open. `batch_no` and `fixed` are sent unchanged; `legacy` uses the older endpoint.
        """
        uploads, media = self._runtime.uploads, checked_source(source)
        upload = partial(_translator.upload_request, legacy=legacy, batch_no=batch_no, fixed=fixed)
        return await uploads.url_of(await uploads.read(media), upload)

    async def _known_models(self, registry: HttpRequest) -> tuple[Model, ...] | None:
        """Return the models as last read, None if they could not be read; concurrent checks share one request."""
        reading = self._readings.get(registry)
        if reading is None or not reading.serves(self._runtime):
            reading = _RegistryReading(self._runtime, self._runtime.background.spawn(self._models_or_none(registry)))
            self._readings[registry] = reading
        await asyncio.wait((reading.task,))
        return None if reading.task.cancelled() else reading.task.result()  # cancelled: the client is closing

    async def _models_or_none(self, registry: HttpRequest) -> tuple[Model, ...] | None:
        try:
            return await self.read(registry, _model_listing.decode_models)
        except AioweryError as error:
            log.warning("the model registry cannot be read (%s); requests go unchecked", error)
            return None


def _resolve_models_url(models_base_url: str | None, base_url: str) -> str:
    """Return the base URL of the model registries. Raises ConfigurationError."""
    name = "models_base_url" if models_base_url else _MODELS_VARIABLE
    given = models_base_url or os.environ.get(_MODELS_VARIABLE)
    if given:
        return refuse_path(name, validate_base_url(given, name), _MODELS_PATH)
    # A client that is pointed at another address, such as a sandbox, does not mean the real registries.
    return _MODELS_URL if base_url == INFO.base_url else base_url


class _RegistryReading:
    """A reading of a registry that counts for a limited time."""

    def __init__(self, runtime: ClientRuntime, task: asyncio.Task[tuple[Model, ...] | None]) -> None:
        self.task = task
        self._runtime = runtime
        self._began = asyncio.get_running_loop().time()

    def serves(self, runtime: ClientRuntime) -> bool:
        """Return True if it still counts: made by this opening of the client, not cancelled, and fresh."""
        ended = self.task.done()
        if runtime is not self._runtime or (ended and (self.task.cancelled() or self.task.exception() is not None)):
            return False
        failed = ended and self.task.result() is None
        return asyncio.get_running_loop().time() - self._began < (_FRESH_FAILURE if failed else _FRESH)
