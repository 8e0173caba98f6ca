"""BetterWaifu: its client, in both editions, and its one request.

`GenerateImage` is a frozen value; `client.run(request)` returns a `GeneratedImage`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery._base.public_names import lazy_names

_NAMES: Final = {
    "_client": ("LIMITS", "BetterWaifu"),
    "_model_listing": ("Account", "ModelVersion", "Subscription"),
    "_request_types": ("REQUESTS", "from_dict", "request_type", "to_dict"),
    "requests._choices": ("MODELS", "SAMPLERS", "Edition", "Sampler"),
    "requests._images": ("GeneratedImage", "GenerateImage"),
}

# `python -m tests.tables --write` writes the imports below and `__all__` from this table.
if TYPE_CHECKING:
    from aiowery.betterwaifu._client import LIMITS, BetterWaifu
    from aiowery.betterwaifu._model_listing import Account, ModelVersion, Subscription
    from aiowery.betterwaifu._request_types import REQUESTS, from_dict, request_type, to_dict
    from aiowery.betterwaifu.requests._choices import MODELS, SAMPLERS, Edition, Sampler
    from aiowery.betterwaifu.requests._images import GeneratedImage, GenerateImage
else:
    __getattr__, __dir__ = lazy_names(__name__, _NAMES)

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
    "ModelVersion",
    "Sampler",
    "Subscription",
    "from_dict",
    "request_type",
    "to_dict",
)
