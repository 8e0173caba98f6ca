"""Durations of the models: ranges in seconds at speed 1."""

from __future__ import annotations

from collections.abc import Mapping

Durations = Mapping[str, tuple[float, float]] | tuple[float, float]

ANY_MODEL = "*"
"""Key of the range for models that are not listed."""

TYPICAL: Mapping[str, tuple[float, float]] = {
    "WERYAI_IMAGE_2_0": (6.0, 11.0),
    "WERYAI_IMAGE_1_0": (8.0, 14.0),
    "GEMINI_2_5_FLASH": (5.0, 8.0),
    "GEMINI_3_1_FLASH_IMAGE": (6.0, 10.0),
    "GPT_IMAGE_2": (10.0, 15.0),
    "GPT_IMAGE_1_5": (9.0, 15.0),
    "SEEDREAM_4_5": (6.0, 12.0),
    "SEEDREAM_5_0_LITE": (5.0, 9.0),
    "QWEN": (5.0, 9.0),
    "QWEN_IMAGE": (5.0, 9.0),
    "FLUX": (5.0, 10.0),
    "FLUX_PRO": (6.0, 12.0),
    "VIDEO_TOOL": (15.0, 40.0),
    ANY_MODEL: (5.0, 15.0),
}


BY_KIND: Mapping[str, tuple[float, float]] = {
    "video": (30.0, 90.0),
    "song": (20.0, 50.0),
    "music": (20.0, 50.0),
    "podcast": (20.0, 60.0),
    "report": (60.0, 180.0),
    "waifu": (8.0, 20.0),
}
"""Ranges by kind of output, for models that no table lists."""


def range_of(model: str, durations: Durations | None, kind: str = "image") -> tuple[float, float]:
    """Return the shortest and longest duration of `model` in seconds.

    `durations` is one pair for all models, or a table by model that comes before the defaults.
    """
    if isinstance(durations, tuple):
        return durations
    table = {**TYPICAL, **(durations or {})}
    if model in table:
        return table[model]
    return table[ANY_MODEL] if ANY_MODEL in (durations or {}) else BY_KIND.get(kind, table[ANY_MODEL])
