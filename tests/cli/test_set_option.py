"""Single requests from command-line options: `--set` and `--json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiowery.cli.input.set_option import request_of
from aiowery.weryai import REQUESTS, DeepResearch, ImageExpand, Message, MultiImageToVideo, Podcast, Point, Size


def test_request_of_settings_converts_them_by_field_type() -> None:
    """Each text is converted to the type of its field, and a list is given by repetition or as JSON."""
    expanded = request_of(
        REQUESTS["image-expand"], None,
        ["image-url=https://x/a.png", "image_size=10x20", "canvas_size=30X40", "image_location=5,6"],
    )  # fmt: skip
    assert isinstance(expanded, ImageExpand)
    assert (expanded.image_size, expanded.image_location) == (Size(10, 20), Point(5, 6))
    video = request_of(
        REQUESTS["multi-image-to-video"], None, ["prompt=p", "image_urls=a.png", "image_urls=https://x/b.png"]
    )
    assert isinstance(video, MultiImageToVideo)
    assert video.image_urls == (Path("a.png"), "https://x/b.png")
    podcast = request_of(REQUESTS["podcast"], None, ["query=q", 'speakers=["a", "b"]'])
    assert isinstance(podcast, Podcast)
    assert podcast.speakers == ("a", "b")
    messages = ['messages={"role": "system", "content": "be kind"}', "messages=hi"]
    chat: Any = request_of(REQUESTS["chat"], None, messages)
    assert chat.messages == (Message("system", "be kind"), Message("user", "hi"))
    research = request_of(REQUESTS["deep-research"], None, ["input=q", 'tools={"type": "GOOGLE_SEARCH"}'])
    assert isinstance(research, DeepResearch)
    assert [dict(tool) for tool in research.tools] == [{"type": "GOOGLE_SEARCH"}]
    erased: Any = request_of(
        REQUESTS["video-subtitle-erase"],
        None,
        ["video_url=v.mp4", "regions=[0, 0.8, 1, 1]", "regions=[[0, 0, 1, 0.1]]"],
    )
    assert [region.top for region in erased.regions] == [0.8, 0]


def test_request_of_with_an_empty_setting_leaves_the_field_out() -> None:
    """An empty setting leaves out a default of the library, and a field of the JSON."""
    video: Any = request_of(
        REQUESTS["text-to-video"], '{"resolution": "720p"}', ["prompt=p", "aspect_ratio=", "resolution="]
    )
    assert (video.aspect_ratio, video.resolution) == (None, None)
