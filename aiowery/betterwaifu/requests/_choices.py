"""Words that BetterWaifu's pages list, for those who write requests. None of them is a gate: the sets change."""

from __future__ import annotations

from typing import Final, Literal

Edition = Literal["v1-images", "jobs"]
"""The two ways in which BetterWaifu is documented. They differ in host, path, model names and result."""

Model = Literal["noobai-xl", "duchaiten", "duchaiten-real", "hassaku-illustrious", "wai-nsfw-illustrious", "plant-milk"]
"""Models that the v1-images edition documents; the jobs edition names them by number, see `client.models()`."""

Sampler = Literal["euler-a", "dpm-2m-karras", "dpm-sde-karras", "ddim", "euler_a"]
"""Samplers as written: with dashes in the v1-images edition, with an underscore in the one example of jobs."""

MODELS: Final[dict[str, str]] = {
    "noobai-xl": "anime of every sort",
    "duchaiten": "painterly",
    "duchaiten-real": "realistic",
    "hassaku-illustrious": "illustration",
    "wai-nsfw-illustrious": "for adults",
    "plant-milk": "experimental",
}
"""What each model of the v1-images edition is good for; `noobai-xl` is the server's default."""

SAMPLERS: Final = ("dpm-2m-karras", "euler-a", "dpm-sde-karras", "ddim")
"""Samplers of the v1-images edition, the server's default first."""
