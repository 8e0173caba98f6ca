"""Endpoints of tools that change an image or a video."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiowery.sandbox._parameter_rules import CALLER, COMMON, Endpoint, Field, matching, one_of, texts_of, url, urls
from aiowery.sandbox._response import parameter_error
from aiowery.sandbox._tasks import OutputKind, TaskSpec
from aiowery.sandbox._weryai import prices

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIZE = re.compile(r"\d{1,9}x\d{1,9}")
_PLACE = re.compile(r"-?\d{1,9},-?\d{1,9}")
_COLOUR = re.compile("#[0-9a-fA-F]{6}")
_CORNERS = ("lt_x", "lt_y", "rb_x", "rb_y")
_COLOURS = "TRANSPARENT BLACK WHITE GRAY RED GREEN BLUE YELLOW CYAN MAGENTA ORANGE".split()  # noqa: SIM905 - shorter
_IMAGE = url("img_url", "image url", images_only=True)
_VIDEO = url("video_url", "video url")


def _picture(params: Mapping[str, Any]) -> TaskSpec:
    prompt = texts_of(params, "prompt", "bg_color", "target_lang", "img_url", "face_img_url")
    ratio = params.get("aspect_ratio") or "1:1"
    return TaskSpec(prompt=prompt, model="IMAGE_TOOL", aspect_ratio=ratio, price=prices.TOOL)


def _video(params: Mapping[str, Any]) -> TaskSpec:
    return TaskSpec(
        prompt=texts_of(params, "prompt", "style", "video_style", "video_url", "video_urls", "image_url", "audio_url"),
        model="VIDEO_TOOL",
        aspect_ratio="16:9",
        output_kind=OutputKind.VIDEO,
        price=prices.TOOL,
        seconds=params.get("duration") or 4,
    )


def _check_regions(params: Mapping[str, Any]) -> None:
    for region in params.get("rect_vo_list") or ():
        edges: list[Any] = [region.get(name) for name in _CORNERS] if isinstance(region, dict) else []
        numbers = edges and all(type(edge) in {int, float} and 0 <= edge <= 1 for edge in edges)
        if not numbers or edges[0] >= edges[2] or edges[1] >= edges[3]:
            raise parameter_error("rect_vo_list is not supported")


def _image_tool(name: str, *fields: Field, **more: Any) -> Endpoint:
    return Endpoint(f"/v1/generation/image-{name}", (_IMAGE, *fields, *COMMON), _picture, **more)


def _video_tool(name: str, *fields: Field, **more: Any) -> Endpoint:
    return Endpoint(f"/v1/generation/video-{name}", (_VIDEO, *fields, *COMMON), _video, **more)


_RECTANGLES = Field("rect_vo_list", "rect_vo_list", list)

ENDPOINTS = (
    _image_tool(
        "bg-change",
        Field("prompt", "prompt"),
        Field("bg_color", "bg_color", allowed=matching(_COLOUR)),
        rule=one_of("prompt", "bg_color"),
    ),
    _image_tool("bg-remove"),
    _image_tool(
        "expand",
        Field("original_image_size", "original image size", required=True, allowed=matching(_SIZE)),
        Field("canvas_size", "canvas size", required=True, allowed=matching(_SIZE)),
        Field("original_image_location", "original image location", required=True, allowed=matching(_PLACE)),
    ),
    _image_tool("face-swap", url("face_img_url", "face image url", images_only=True)),
    _image_tool(
        "reframe",
        Field(
            "aspect_ratio",
            "aspect ratio",
            required=True,
            choices=("16:9", "9:16", "1:1", "4:3", "3:4", "21:9", "9:21"),
        ),
    ),
    _image_tool("repair"),
    _image_tool("text-erase", Field("model", "model")),
    _image_tool(
        "translate",
        Field("target_lang", "target language", required=True),
        Field("type", "type", choices=("text", "image")),
    ),
    _image_tool("upscale"),
    _video_tool(
        "anime-replace",
        url("image_url", "image url", images_only=True),
        Field("type", "type", choices=("move", "replace")),
        Field("resolution", "resolution", choices=("480p", "580p", "720p")),
    ),
    _video_tool("background-remove", Field("background_color", "background color", choices=_COLOURS)),
    _video_tool("face-change", url("image_url", "image url", images_only=True)),
    _video_tool("lips-change", url("audio_url", "audio url")),
    _video_tool(
        "magic", Field("video_style", "video style", choices=("realistic_2", "anime_style_3", "anime_style_4"))
    ),
    _video_tool("subtitle-erase", _RECTANGLES, rule=_check_regions),
    _video_tool(
        "subtitle-translate",
        Field("target_language", "target language", required=True, choices=("en", "zh", "ja", "ko", "fr", "de", "es")),
    ),
    _video_tool("upscaler", Field("resolution", "resolution", choices=("1080p", "2k", "4k"))),
    _video_tool("watermark-remove", _RECTANGLES, rule=_check_regions),
    # The documentation of these two has no webhook parameter.
    Endpoint(
        "/v1/generation/video-extend",
        (
            _VIDEO,
            Field("prompt", "prompt", required=True),
            Field("style", "style", choices=("anime", "3d_animation", "cyberpunk", "comic")),
            Field("resolution", "resolution", choices=("360p", "540p", "720p", "1080p")),
            Field("duration", "duration", int, choices=(5, 8)),
            CALLER,
        ),
        _video,
        has_webhook=False,
    ),
    Endpoint(
        "/v1/generation/video-merge",
        (urls("video_urls", "video urls", min_items=2, max_items=30), CALLER),
        _video,
        has_webhook=False,
    ),
)
