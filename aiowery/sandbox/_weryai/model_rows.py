"""The models that WeryAI's documentation names, with the aspect ratios and durations that each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from aiowery.sandbox._parameter_rules import is_empty
from aiowery.sandbox._response import Refused, parameter_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@attrs.frozen
class ModelRow:
    """The values that one model takes. Without a documented list (an empty tuple) it takes any."""

    ratios: tuple[str, ...] = ()
    durations: tuple[int, ...] = ()


_THREE = ("9:16", "1:1", "16:9")
_FIVE = (*_THREE, "3:4", "4:3")
_SIX = (*_FIVE, "21:9")
_SEVEN = (*_FIVE, "3:2", "2:3")
_WIDE = ("9:16", "16:9")
_GPT_IMAGE_2 = (
    *("1:1", "2:3", "3:4", "3:2", "4:3"),
    *(f"{ratio}({size})" for ratio in ("16:9", "9:16") for size in ("1k", "2k", "4k")),
)
_FROM_FOUR = tuple(range(4, 16))
_FROM_FIVE = tuple(range(5, 16))


def _rows(keys: str, ratios: tuple[str, ...] = (), durations: tuple[int, ...] = ()) -> dict[str, ModelRow]:
    """Return the same row for several keys, which spaces separate."""
    return dict.fromkeys(keys.split(), ModelRow(ratios, durations))


IMAGE_TO_IMAGE: Mapping[str, ModelRow] = {
    **_rows("WERYAI_IMAGE_2_0", (*_FIVE, "21:9")),
    **_rows("WERYAI_IMAGE_1_0 WAN_2_6", _FIVE),
    **_rows("GEMINI_3_1_FLASH_IMAGE", (*_SEVEN, "5:4", "4:1", "1:4", "8:1", "1:8", "21:9")),
    **_rows("CHATBOT_GEMINI_3_PRO_IMAGE_PREVIEW GEMINI_2_5_FLASH", (*_SEVEN, "5:4", "21:9")),
    **_rows("GPT_IMAGE_2", _GPT_IMAGE_2),
    **_rows("GPT_IMAGE_1_5", ("3:2", "1:1", "2:3")),
    **_rows("SEEDREAM_5_0_LITE", (*_FIVE, "2k", "3k")),
    **_rows("SEEDREAM_4_5", (*_FIVE, "2k", "4k")),
    **_rows("SEEDREAM_4 SEEDREAM WAN_2_7 WAN_2_7_PRO", _SEVEN),
    **_rows("GROK_IMAGINE_IMAGE", ("3:4",)),
    **_rows("WAN_2_5 DREAMINA_4 DREAMINA DREAMINA_3 QWEN FLUX GPT_IMAGE_1_MINI GROK_2_IMAGE IMAGE4"),
    **_rows("RECRAFT_V4 RECRAFT_V4_PRO RECRAFT_V4_TO_VECTOR RECRAFT_V4_PRO_TO_VECTOR"),
    **_rows("FLUX_PRO QWEN_IMAGE GPT_IMAGE_MINI"),
}
TEXT_TO_IMAGE: Mapping[str, ModelRow] = {
    **IMAGE_TO_IMAGE,
    **_rows("WERYAI_IMAGE_2_0", _FIVE),
    **_rows("GPT_IMAGE_2", (*_GPT_IMAGE_2, "4:5", "5:4")),
}
ALMIGHTY: Mapping[str, ModelRow] = {
    **_rows("WERYDANCE WERYDANCE_2_0 WERYDANCE_2_0_FAST WERYDANCE_2_0_MINI", durations=_FROM_FOUR),
    **_rows("SEEDANCE_2_0 SEEDANCE_2_0_OS SEEDANCE_2_0_FAST_OS SEEDANCE_2_0_MINI_OS", durations=_FROM_FIVE),
}
VIDEOS: Mapping[str, ModelRow] = {
    **ALMIGHTY,
    **_rows("WERYAI_VIDEO_1_0 WERYDANCE_2_0 WERYDANCE_2_0_FAST", _THREE, _FROM_FOUR),
    **_rows("SEEDANCE_2_0", _THREE, _FROM_FIVE),
    **_rows("VEO_3_1 VEO_3_1_FAST CHATBOT_VEO_3_1_FAST VEO_3 VEO_3_FAST", _WIDE, (8,)),
    **_rows("SORA_2 SORA_2_PRO", _WIDE, (4, 8, 12)),
    **_rows("DOUBAO_1_5_PRO DOUBAO_1_LITE DOUBAO DOUBAO_1_PRO_FAST", _SIX, (5, 10)),
    **_rows("KLING_V3_0_STA KLING_V3_0_PRO", _THREE, (5, 10, 15)),
    **_rows("KLING_O1", _THREE, (5, 10)),
    **_rows("VIDU_Q3", _FIVE, (5, 10, 15)),
    **_rows("KLING_V2_6_PRO PIKA_2_2", durations=(5, 10)),
    **_rows("WAN_2_6", durations=(5, 10, 15)),
    **_rows("PIXVERSE_V6", durations=tuple(range(1, 16))),
    **_rows("HAILUO_2_3_STA_FAST HAILUO_2_3_STA", durations=(6, 10)),
    **_rows("HAILUO_2_3_PRO_FAST", durations=(5,)),
    **_rows("HAILUO_2_3_PRO RUNWAY_4_5 RUNWAY KLING_V2_5_TURBO WAN_2_5 DREAMINA_3_PRO DREAMINA_3"),
    **_rows("KLING_V2_1 KLING_V2_1_MASTER KLING_V2_1_PRO GROK_IMAGINE_VIDEO"),
}


def _some_videos(keys: str) -> dict[str, ModelRow]:
    return {key: VIDEOS[key] for key in keys.split()}


MULTI_IMAGE = _some_videos("VEO_3_1 WERYDANCE_2_0 WERYDANCE_2_0_FAST KLING_O1 PIKA_2_2 DOUBAO_1_LITE SEEDANCE_2_0")
FIRST_LAST = _some_videos(
    "VEO_3_1 VEO_3_1_FAST WERYDANCE_2_0 WERYDANCE_2_0_FAST DOUBAO_1_5_PRO KLING_V3_0_STA KLING_V3_0_PRO"
    " KLING_V2_5_TURBO KLING_V2_1_PRO SEEDANCE_2_0"
)
RESEARCH: Mapping[str, ModelRow] = _rows("GEMINI_25_PRO GEMINI_25_FLASH GEMINI_3_1_FLASH_LITE GEMINI_3_1_PRO")
CHAT: Mapping[str, ModelRow] = _rows(
    "GPT_5_5 GPT_5_4 CLAUDE_FABLE_5 CLAUDE_4_8_OPUS CLAUDE_4_6_OPUS GEMINI_3_5_FLASH GEMINI_3_1_PRO GPT_5_1"
    " CLAUDE_4_5_OPUS GPT_5 DEEPSEEK_R1 KIMI_K2_THINKING QWEN_QWQ_32B GROK_4 CLAUDE_SONNET_4_6 GEMINI_3_1_FLASH_LITE"
    " QWEN_3_5_PLUS GLM_5 KIMI_K2_5 CLAUDE_SONNET_4_5 GPT_4O GPT_4_1 GEMINI_25_PRO GLM_4_7_FLASH GEMINI_25_FLASH"
    " SEED_2_0_MINI CLAUDE_4_OPUS CLAUDE_4_SONNET"
)
_NAMED = frozenset([*TEXT_TO_IMAGE, *VIDEOS, *RESEARCH, *CHAT])


def model_rule(rows: Mapping[str, ModelRow]) -> Callable[[Mapping[str, Any]], None]:
    """Return a rule for requests with a model: it must have a row, and take the ratio and duration that are given.

    The rule raises `Refused` with code 1006 for a model that is documented nowhere, with 1001 for one of other
    endpoints, and for a value that its row excludes. A request that names no model passes.
    """

    def rule(params: Mapping[str, Any]) -> None:
        model = params.get("model")
        if is_empty(model):
            return
        row = _row_of(str(model), rows)
        for name, allowed in (("aspect_ratio", row.ratios), ("duration", row.durations)):
            value = params.get(name)
            if allowed and not is_empty(value) and value not in allowed:
                raise parameter_error(f"{name.replace('_', ' ')} is not supported")

    return rule


def _row_of(model: str, rows: Mapping[str, ModelRow]) -> ModelRow:
    if model in rows:
        return rows[model]
    if model in _NAMED:
        raise parameter_error("model is not supported")
    raise Refused(1006, "model is not exist", desc="Model does not exist")
