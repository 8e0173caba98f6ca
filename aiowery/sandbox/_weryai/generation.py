"""Endpoints that generate images and videos from text and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiowery.sandbox._media.shape import is_ratio
from aiowery.sandbox._parameter_rules import COMMON, Endpoint, Field, all_of, one_of, texts_of, url, urls
from aiowery.sandbox._response import parameter_error
from aiowery.sandbox._tasks import OutputKind, TaskSpec
from aiowery.sandbox._weryai import model_rows, prices
from aiowery.sandbox._weryai.model_rows import model_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIXED_NUMBER = {"WERYAI_IMAGE_1_0": 4}
_MOST_VIDEOS = 4
_MOST_REFERENCES = 12
_MODEL = Field("model", "model", required=True)
_PROMPT = Field("prompt", "prompt", required=True, max_length=2000)
_NEGATIVE = Field("negative_prompt", "negative prompt", max_length=1000)
_RESOLUTION = Field("resolution", "resolution")
# The documentation requires a ratio, but clients that are in use leave it out.
_RATIO = Field("aspect_ratio", "aspect ratio", allowed=is_ratio)
_VIDEO_NUMBER = Field("video_number", "video number", int, minimum=1, maximum=_MOST_VIDEOS)
_DURATION = Field("duration", "duration", int, required=True, minimum=1)
_PICTURES = (
    _MODEL,
    _PROMPT,
    _RATIO,
    _NEGATIVE,
    Field("image_number", "image number", int, minimum=1),
    _RESOLUTION,
    Field("use_web_search", "use web search", bool),
    *COMMON,
)
_VIDEOS = (
    _MODEL,
    _PROMPT,
    _DURATION,
    _NEGATIVE,
    _VIDEO_NUMBER,
    _RESOLUTION,
    Field("generate_audio", "generate audio", bool, spellings=("true", "false")),
    _RATIO,
    *COMMON,
)


def _image_number(params: Mapping[str, Any]) -> int:
    fixed = _FIXED_NUMBER.get(params["model"])
    number: int | None = params.get("image_number")
    if fixed is not None and number not in {None, fixed}:
        raise parameter_error("image number is not supported")
    return fixed or number or 1


def _pictures(params: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        prompt=params["prompt"],
        model=params["model"],
        aspect_ratio=params.get("aspect_ratio") or "1:1",
        task_count=_image_number(params),
        price=prices.IMAGE,
    )


def _videos(params: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        prompt=params.get("prompt") or texts_of(params, "images", "videos"),
        model=params["model"],
        aspect_ratio=params.get("aspect_ratio") or "16:9",
        task_count=params.get("video_number") or 1,
        output_kind=OutputKind.VIDEO,
        price=prices.VIDEO,
        seconds=params["duration"],
        has_cover=True,
    )


def _check_references(params: Mapping[str, Any]) -> None:
    pictures, videos, audios = (len(params.get(name) or ()) for name in ("images", "videos", "audios"))
    if audios and not (pictures or videos):
        raise parameter_error("audios are not supported without images or videos")
    if pictures + videos + audios > _MOST_REFERENCES:
        raise parameter_error(f"images, videos and audios exceed the limit of {_MOST_REFERENCES}")


def _effect(params: Mapping[str, Any]) -> TaskSpec:
    inputs = params.get("prompt_inputs") or {}
    return TaskSpec(
        prompt=texts_of({**params, **inputs}, *inputs, "image_url"),
        model="EFFECT",
        aspect_ratio=params.get("aspect_ratio") or "9:16",
        output_kind=OutputKind.VIDEO,
        price=prices.VIDEO,
        seconds=5,
        has_cover=True,
    )


ENDPOINTS = (
    Endpoint(
        "/v1/generation/text-to-image",
        (*_PICTURES, Field("quality", "quality")),
        _pictures,
        "batch",
        model_rule(model_rows.TEXT_TO_IMAGE),
    ),
    Endpoint(
        "/v1/generation/image-to-image",
        (*_PICTURES, urls("images", "image url", images_only=True)),
        _pictures,
        "batch",
        model_rule(model_rows.IMAGE_TO_IMAGE),
    ),
    Endpoint("/v1/generation/text-to-video", _VIDEOS, _videos, "batch", model_rule(model_rows.VIDEOS)),
    Endpoint(
        "/v1/generation/image-to-video",
        (*_VIDEOS, url("image", "image url", images_only=True)),
        _videos,
        "batch",
        model_rule(model_rows.VIDEOS),
    ),
    Endpoint(
        "/v1/generation/multi-image-to-video",
        (*_VIDEOS, urls("images", "image url", images_only=True, min_items=1, max_items=3)),
        _videos,
        "batch",
        model_rule(model_rows.MULTI_IMAGE),
    ),
    Endpoint(
        "/v1/generation/first-last-image-to-video",
        (
            *_VIDEOS,
            url("first_pic_url", "first pic url", images_only=True),
            url("end_pic_url", "end pic url", images_only=True),
        ),
        _videos,
        "batch",
        model_rule(model_rows.FIRST_LAST),
    ),
    Endpoint(
        "/v1/generation/almighty-reference-to-video",
        (
            _MODEL,
            Field("prompt", "prompt", max_length=500),
            Field("duration", "duration", int, required=True, minimum=4, maximum=15),
            urls("images", "image url", required=False, images_only=True, max_items=9),
            urls("videos", "video url", required=False, max_items=3),
            urls("audios", "audio url", required=False, max_items=3),
            Field("aspect_ratio", "aspect ratio", choices=("1:1", "9:16", "16:9")),
            Field("resolution", "resolution", choices=("480p", "720p")),
            Field("generate_audio", "generate audio", choices=("true", "false")),
            _VIDEO_NUMBER,
            *COMMON,
        ),
        _videos,
        rule=all_of(_check_references, one_of("images", "videos"), model_rule(model_rows.ALMIGHTY)),
    ),
    Endpoint(
        "/v1/generation/effect-template",
        (
            Field("template_config_id", "template config id", int, required=True),
            urls("image_url", "image url", images_only=True, min_items=1),
            Field("bgm", "bgm", bool),
            _RATIO,
            Field("prompt_inputs", "prompt inputs", dict),
            *COMMON,
        ),
        _effect,
        "batch",
    ),
)
