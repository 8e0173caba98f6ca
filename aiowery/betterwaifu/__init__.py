"""BetterWaifu: its client, in both editions, and the one thing it can be asked for.

    _client                              verbs
    _provider | _catalogue | _registry   requests to calls; requests by name; models and account
    _answers | _refusals                 answers to values, or to errors
    _images                              the request and its result
    _words | _known

`GenerateImage` is a frozen value; `client.run(request)` returns a `GeneratedImage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery._base.lazy import lazy_names

_HOMES: Final = {
    "_client": ("LIMITS", "BetterWaifu"),
    "_model_listing": ("Account", "Model", "Subscription"),
    "_request_types": ("REQUESTS", "from_dict", "request_type", "to_dict"),
    "requests._choices": ("MODELS", "SAMPLERS", "Edition", "Sampler"),
    "requests._images": ("GeneratedImage", "GenerateImage"),
}

if TYPE_CHECKING:
    from aiowery.betterwaifu._client import LIMITS, BetterWaifu
    from aiowery.betterwaifu._model_listing import Account, Model, Subscription
    from aiowery.betterwaifu._request_types import REQUESTS, from_dict, request_type, to_dict
    from aiowery.betterwaifu.requests._choices import MODELS, SAMPLERS, Edition, Sampler
    from aiowery.betterwaifu.requests._images import GeneratedImage, GenerateImage
else:
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)

__all__ = (
    "LIMITS",
    "MODELS",
    "REQUESTS",
    "SAMPLERS",
    "Account",
    "BetterWaifu",
    "Edition",
    "GenerateImage",
    "GeneratedImage",
    "Model",
    "Sampler",
    "Subscription",
    "from_dict",
    "request_type",
    "to_dict",
)
