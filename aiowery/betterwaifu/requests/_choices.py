"""Values that BetterWaifu documents. They help to write requests and are not enforced: the sets change."""

from __future__ import annotations

from typing import Final, Literal

Edition = Literal["v1-images", "jobs"]
"""The two documented editions of the API. They differ in host, path, model names and result."""

Model = Literal["noobai-xl", "duchaiten", "duchaiten-real", "hassaku-illustrious", "wai-nsfw-illustrious", "plant-milk"]
"""Models of the v1-images edition; the jobs edition has numbers instead, see `client.models()`."""

Sampler = Literal["euler-a", "dpm-2m-karras", "dpm-sde-karras", "ddim", "euler_a"]
"""Documented samplers: with dashes in the v1-images edition, with an underscore in the only example of jobs."""

MODELS: Final[dict[str, str]] = {
    "noobai-xl": "anime of every sort",
    "duchaiten": "painterly",
    "duchaiten-real": "realistic",
    "hassaku-illustrious": "illustration",
    "wai-nsfw-illustrious": "for adults",
    "plant-milk": "experimental",
}
"""Uses of each model of the v1-images edition; `noobai-xl` is the provider's default."""

SAMPLERS: Final = ("dpm-2m-karras", "euler-a", "dpm-sde-karras", "ddim")
"""Samplers of the v1-images edition, the provider's default first."""
