"""BetterWaifu's pure translator, one for each edition: requests to HTTP requests, responses to values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import attrs

from aiowery._base.snapshot import Snapshot
from aiowery._base.text import synchronous_task_id
from aiowery._core.contradictions import contradicts
from aiowery._core.fields import fits_in_a_path, wrong_request
from aiowery._core.messages import HttpRequest, HttpResponse, json_body
from aiowery._core.provider import Provider
from aiowery._core.request import Accepted, Request
from aiowery.betterwaifu import _decode
from aiowery.betterwaifu._schema import read_outputs, to_state
from aiowery.betterwaifu.requests._choices import Edition
from aiowery.betterwaifu.requests._images import GenerateImage
from aiowery.errors import (
    APIError,
    AuthenticationError,
    InsufficientCredits,
    PermissionDenied,
)

ACCOUNT: Final = HttpRequest("GET", "/account")
LIST_MODELS: Final = HttpRequest("GET", "/models")
_V1: Final = "v1-images"
# The response holds the picture: rendering may take minutes.
_RENDERED_WITHIN: Final = 300.0
_ECHOED: Final = ("prompt", "negative_prompt", "model", "seed")
_RANGES: Final = {"steps": (20, 50), "cfg_scale": (1, 20)}


@attrs.frozen
class BetterWaifuProvider(Provider):
    """A translator for BetterWaifu; the v1-images edition answers with the picture and has no status requests."""

    edition: Edition

    @property
    def account_errors(self) -> tuple[type[APIError], ...]:
        """The rejections that concern the account."""
        return (AuthenticationError, InsufficientCredits, PermissionDenied)

    @property
    def name(self) -> str:
        """The provider and its edition."""
        return f"BetterWaifu ({self.edition})"

    def validate(self, request: object) -> None:
        """Raise ConfigurationError for what is not this edition's."""
        if not isinstance(request, GenerateImage):
            raise wrong_request(f"{request!r} is not a BetterWaifu request; give a GenerateImage")
        if self.edition == _V1:
            _validate_v1(request)
        elif isinstance(request.model, str):
            raise wrong_request(
                f"GenerateImage.model is {request.model!r}; edition='jobs' names models by number, which"
                " client.models() lists and client.find_model(...) looks up"
            )

    def encode(self, request: Request[Any]) -> HttpRequest:
        """Return the POST with the fields that were set; for a field that is None the server's default applies."""
        body = {
            field.name: value
            for field in attrs.fields(type(request))
            if field.name != "extra" and (value := getattr(request, field.name)) is not None
        }
        if self.edition == _V1:
            return HttpRequest(
                "POST", "/v1/images/generate", json_body({**body, **request.extra}), timeout=_RENDERED_WITHIN
            )
        if "model" in body:
            body["model_version_id"] = body.pop("model")
        if body.get("seed") == -1:  # random, which is what leaving it out means; whether -1 is taken is not known
            del body["seed"]
        return HttpRequest("POST", "/generate", json_body({**body, **request.extra}))

    def decode_submission(self, request: Request[Any], response: HttpResponse) -> Accepted:  # noqa: ARG002 - one sort of request
        """Return the id of the job in a response, or the picture itself."""
        if self.edition == _V1:
            return _decode.decode_image(response, synchronous_task_id())
        return _decode.decode_queued(response)

    def status_request(self, task_id: str) -> HttpRequest:
        """Return the GET for one job."""
        if self.edition == _V1:
            raise wrong_request("edition='v1-images' answers at once: there is nothing to ask for later")
        if not fits_in_a_path(task_id):
            raise wrong_request(f"the id is {task_id!r}; an id as the provider gave it is needed")
        return HttpRequest("GET", f"/generate/{quote(task_id, safe='')}")

    def decode_status(self, response: HttpResponse, task_id: str) -> Snapshot:
        """Return the status of one job."""
        return _decode.decode_status(response, task_id)

    def contradicts_request(self, request: Request[Any], snapshot: Snapshot, sent_at: float) -> bool:
        """Return True for another prompt, model or seed than asked for, or a job that began before the request."""
        made = read_outputs(snapshot.raw)
        answer = {**made.parameters, **snapshot.raw, "seed": made.seed}
        asked = {name: getattr(request, name, None) for name in _ECHOED}
        asked["model_version_id"] = asked["model"]
        if asked["seed"] == -1:  # random
            del asked["seed"]
        return contradicts(answer, asked, sent_at)

    def is_known_status(self, raw_status: str) -> bool:
        """Return True if the status is documented."""
        return to_state(raw_status) is not None

    def liveness_request(self) -> HttpRequest | None:
        """Return the GET for the account; the v1-images edition has no free request."""
        return None if self.edition == _V1 else ACCOUNT

    def is_own_response(self, response: HttpResponse) -> bool:
        """Return True for an object with an `error`, or in the shape of one of the good answers."""
        return _decode.is_own_response(response)


def _validate_v1(request: GenerateImage) -> None:
    if isinstance(request.model, int):
        raise wrong_request(
            f"GenerateImage.model is {request.model!r}; edition='v1-images' names models by a slug such as"
            " 'noobai-xl' (numbers belong to edition='jobs')"
        )
    values: Mapping[str, float | None] = {"steps": request.steps, "cfg_scale": request.cfg_scale}
    for name, (least, most) in _RANGES.items():
        value = values[name]
        if value is not None and not least <= value <= most:
            raise wrong_request(f"GenerateImage.{name} is {value!r}; edition='v1-images' takes {least} to {most}")
