"""Models and account of the jobs edition (contract: 1.7, 1.8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from aiowery._core.codec import lenient_number
from aiowery._core.messages import HttpResponse
from aiowery._core.models import ModelInfo
from aiowery.betterwaifu._decode import unwrap_envelope
from aiowery.betterwaifu._schema import optional_datetime, optional_int, optional_text
from aiowery.errors import ConfigurationError


@attrs.frozen(kw_only=True)
class ModelVersion(ModelInfo):
    """A version of a model.

    `key`: the value for `GenerateImage.model`: a number in the jobs edition, a slug in v1-images. `name`: the version.
    `model_name`: the model. `base_model`, `type`, `filename`, `description`: the provider's texts. `cover_url`: a
    sample picture, if there is one. `nsfw`: None if not reported. `raw`: the entry as received. In v1-images only
    `key`, `model_name` and `description` are known.
    """

    kind: str = "image"
    mode: str = "generate-image"
    name: str = ""
    model_name: str = ""
    base_model: str = ""
    type: str = ""
    filename: str = ""
    cover_url: str | None = None
    nsfw: bool | None = None

    @property
    def details(self) -> Mapping[str, str]:
        """The names of the version, and whether its pictures are for adults only."""
        return {
            "name": self.model_name,
            "version": self.name,
            "base": self.base_model,
            "for adults": "yes" if self.nsfw else "",
            **super().details,
        }


@attrs.frozen(kw_only=True)
class Subscription:
    """The subscription of an account.

    `status`: such as "active" or "canceled". `plan`: its name. `ends_at`: the end of the paid period, None if not
    reported.
    """

    status: str = ""
    plan: str = ""
    ends_at: datetime | None = None


@attrs.frozen(kw_only=True)
class Account:
    """The account of the API key.

    `username`: its name. `credits`: the credits left, None if not reported. `subscription`: None without one.
    `raw`: the response as received.
    """

    username: str = ""
    credits: float | None = None
    subscription: Subscription | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)


def decode_models(response: HttpResponse) -> tuple[ModelVersion, ...]:
    """Return the models; an entry without a number cannot be used and is left out."""
    body = unwrap_envelope(response)
    entries = body.get("models")
    if not isinstance(entries, list):
        raise response.unexpected("no list of models", "$.models: an array is expected", body)
    return tuple(_model(entry) for entry in entries if isinstance(entry, Mapping) and optional_int(entry.get("id")))


def decode_account(response: HttpResponse) -> Account:
    """Return the account."""
    body = unwrap_envelope(response)
    subscription = body.get("subscription")
    return Account(
        username=optional_text(body.get("username")) or "",
        credits=lenient_number(body.get("credits")),
        subscription=_subscription(subscription) if isinstance(subscription, Mapping) else None,
        raw=body,
    )


def find_model(models: Iterable[ModelVersion], model_name: str, name: str | None) -> ModelVersion:
    """Return the one model of these names. Raises ConfigurationError if there is none, or more than one."""
    matches = [model for model in models if model.model_name == model_name and name in {None, model.name}]
    if len(matches) == 1:
        return matches[0]
    wanted = model_name if name is None else f"{model_name} {name}"
    if not matches:
        raise ConfigurationError(f"no model is called {wanted!r}; client.models() lists them")
    versions = ", ".join(repr(model.name) for model in matches)
    raise ConfigurationError(f"{len(matches)} models are called {wanted!r}; give the version too: {versions}")


def _model(entry: Mapping[str, Any]) -> ModelVersion:
    nsfw = entry.get("nsfw")
    return ModelVersion(
        key=optional_int(entry.get("id")) or 0,
        name=optional_text(entry.get("name")) or "",
        model_name=optional_text(entry.get("model_name")) or "",
        base_model=optional_text(entry.get("base_model")) or "",
        type=optional_text(entry.get("type")) or "",
        filename=optional_text(entry.get("filename")) or "",
        cover_url=optional_text(entry.get("cover_image")),
        nsfw=nsfw if isinstance(nsfw, bool) else None,
        raw=entry,
    )


def _subscription(entry: Mapping[str, Any]) -> Subscription:
    return Subscription(
        status=optional_text(entry.get("status")) or "",
        plan=optional_text(entry.get("plan")) or "",
        ends_at=optional_datetime(entry.get("endDate") or entry.get("end_date")),
    )
