"""BetterWaifu's models."""

from __future__ import annotations

from typing import Any

SLUGS = (
    "noobai-xl",
    "duchaiten",
    "duchaiten-real",
    "hassaku-illustrious",
    "wai-nsfw-illustrious",
    "plant-milk",
)
SAMPLERS = ("euler-a", "dpm-2m-karras", "dpm-sde-karras", "ddim")

# The service documents two of these models; the others are invented.
_CHECKPOINTS = (
    (1496755, "Amanatsu", "(Illustrious) V1.1", "Illustrious", False),
    (910101, "Hinode Mix", "v2.0", "Illustrious", False),
    (910102, "Hinode Mix", "v3.0", "Illustrious", False),
    (910203, "Inkwell", "v1.4", "Pony", False),
    (910304, "Kasumi Night", "v1.0", "Illustrious", True),
    (910405, "Paper Lantern", "beta", "Pony", False),
    (814910, "tPonynai3", "v6.5", "Pony", True),
    (910506, "Yuki Real", "v5.1", "Pony", True),
)
_WITHOUT_COVER = 910405

CHECKPOINTS = {id_: name for id_, name, *_ in _CHECKPOINTS}
"""Names of the models by id."""


def checkpoints(base_url: str) -> dict[str, Any]:
    """Return the model listing. Covers are URLs under `base_url`, which ends in a slash."""
    models = [
        {
            "id": id_,
            "name": version,
            "model_name": name,
            "base_model": base,
            "type": "Checkpoint",
            "filename": f"{name} {version}.safetensors".replace(" ", "_"),
            "cover_image": None if id_ == _WITHOUT_COVER else f"{base_url}images/{cover(id_)}.webp",
            "nsfw": nsfw,
        }
        for id_, name, version, base, nsfw in _CHECKPOINTS
    ]
    return {"models": models, "count": len(models)}


def cover(id_: int) -> str:
    """Return the file name of a model's cover."""
    return f"cover-{id_}"


COVERS = {cover(id_): name for id_, name in CHECKPOINTS.items()}
"""Prompts of the covers by file name."""
