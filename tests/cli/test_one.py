"""`aiowery run`: single requests of any type from options to output, in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from PIL import Image

from aiowery.cli.input.set_option import request_of
from aiowery.sandbox import Sandbox
from aiowery.weryai import REQUESTS, DeepResearch, ImageExpand, Message, MultiImageToVideo, Podcast, Point, Size

Command = Callable[..., CompletedProcess[str]]

_FAST = ("--sandbox", "--speed", "200")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A local picture."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "teal").save(path)
    return path


def test_run_list_shows_every_type_with_required_fields(aiowery_command: Command) -> None:
    """`run --list` shows each type with its purpose, without endpoints, and its required fields."""
    ended = aiowery_command("run", "--list")
    assert ended.returncode == 0
    lines = {line.split()[0]: line for line in ended.stdout.splitlines() if line.strip()}
    assert lines.keys() >= REQUESTS.keys()
    assert "A request for videos from a prompt" in lines["text-to-video"]
    assert lines["image-face-swap"].rstrip().endswith("image_url, face_image_url")
    assert "POST" not in ended.stdout


@pytest.mark.parametrize("type_name", REQUESTS)
def test_run_fields_describes_every_field(aiowery_command: Command, type_name: str) -> None:
    """`run TYPE --fields` shows the class's description and each field."""
    ended = aiowery_command("run", type_name, "--fields")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"{type_name}: ")
    for field in REQUESTS[type_name].__attrs_attrs__:
        assert f"\n {field.name} " in ended.stdout
    assert ended.stdout == aiowery_command("run", type_name, "--list").stdout


def test_run_fields_shows_choices_and_defaults(aiowery_command: Command) -> None:
    """The table shows choices, defaults and value types."""
    printed = " ".join(aiowery_command("run", "music", "--fields").stdout.split())
    assert "mode VOCAL_SONG | ONLY_MUSIC | ... VOCAL_SONG" in printed
    assert "reference_audio_url sound: a url or a file" in printed
    printed = " ".join(aiowery_command("run", "image-expand", "--fields").stdout.split())
    assert "image_size size, such as 1024x768 (required)" in printed


@pytest.mark.parametrize("message", ["[]", '{"a": 1}', "7", '"music"'])
def test_run_with_another_type_in_json_exits_with_2(aiowery_command: Command, message: str) -> None:
    """Any other type in the JSON is refused with one line."""
    ended = aiowery_command("run", "text-to-image", "--sandbox", "--json", f'{{"type": {message}}}')
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("aiowery: --json has type ")
    assert "the command names text-to-image; leave one out" in ended.stderr


def test_run_without_out_prints_urls(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """Without --out the urls are on standard output, a line each, and nothing else."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=a cat", "--set", "image_number=2")
    assert ended.returncode == 0, ended.stderr
    assert [line.startswith(aiowery_sandbox.url) for line in ended.stdout.splitlines()] == [True, True]


def test_run_with_out_saves_and_prints_paths(aiowery_command: Command, tmp_path: Path) -> None:
    """With --out the pictures are files, and their paths are printed."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=a cat", *_FAST, "--out", "out")
    assert (ended.returncode, ended.stdout) == (0, "out/a-cat.png\n"), ended.stderr
    with Image.open(tmp_path / "out" / "a-cat.png") as picture:
        picture.load()


def test_run_of_a_video_saves_its_cover(aiowery_command: Command, tmp_path: Path) -> None:
    """A video is saved with its own suffix, and its cover beside it."""
    settings = ("--set", "prompt=a storm", "--set", "duration=5", "--set", "aspect_ratio=16:9")
    ended = aiowery_command("run", "text-to-video", *settings, *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    video, cover = ended.stdout.split()
    assert video == "out/a-storm.mp4"
    assert cover.startswith("out/a-storm-cover.")
    assert (tmp_path / video).stat().st_size
    assert (tmp_path / cover).stat().st_size


def test_run_of_a_text_type_prints_and_saves_the_text(aiowery_command: Command, tmp_path: Path) -> None:
    """A report goes to standard output; with --out it is a file too, whose path goes to standard error."""
    ended = aiowery_command("run", "deep-research", "--set", "input=Why is the sea salty?", *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "why-is-the-sea-salty.md"
    assert path.read_text("utf-8").strip() == ended.stdout.strip()
    assert str(path.relative_to(tmp_path)) in ended.stderr


def test_run_with_raw_prints_the_response(aiowery_command: Command) -> None:
    """--raw prints JSON, an object a task, and nothing besides."""
    settings = ("--set", "prompt=a cat", "--set", "image_number=2")
    ended = aiowery_command("run", "text-to-image", *settings, *_FAST, "--raw")
    assert ended.returncode == 0, ended.stderr
    tasks = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [bool(task["images"]) for task in tasks] == [True, True]


def test_run_with_a_local_file_uploads_it(aiowery_command: Command, aiowery_sandbox: Sandbox, photo: Path) -> None:
    """A path where a picture is wanted just works."""
    ended = aiowery_command("run", "image-upscale", "--set", f"image_url={photo.name}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(aiowery_sandbox.url)


def test_run_of_a_direct_endpoint_prints_the_result(aiowery_command: Command, photo: Path) -> None:
    """image-to-prompt starts no task; its words are printed all the same."""
    ended = aiowery_command("run", "image-to-prompt", "--set", f"image_url={photo.name}", *_FAST)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_run_of_a_podcast_prints_the_next_command(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The script is printed line by line, and the printed command for the audio works."""
    speaker = json.loads(aiowery_command("speakers", "--language", "en", "--json").stdout.splitlines()[0])["id"]
    script = aiowery_command("run", "podcast", "--set", "query=tea", "--set", f"speakers={speaker}")
    assert script.returncode == 0, script.stderr
    assert all(": " in line for line in script.stdout.splitlines())
    hint = next(line for line in script.stderr.splitlines() if line.startswith("To continue: "))
    voiced = aiowery_command(*hint.partition("aiowery ")[2].split())
    assert voiced.returncode == 0, voiced.stderr
    assert voiced.stdout.startswith(aiowery_sandbox.url)


def test_run_reads_json_from_argument_file_and_standard_input(
    aiowery_command: Command, aiowery_alone: Command, tmp_path: Path
) -> None:
    """--json takes an object, @FILE and -; --set overrules it."""
    (tmp_path / "r.json").write_text('{\n  "prompt": "a file"\n}\n')
    for source in ('{"prompt": "words"}', "@r.json"):
        ended = aiowery_command("run", "text-to-image", "--json", source, *_FAST, "--out", "out")
        assert ended.returncode == 0, ended.stderr
    piped = aiowery_alone("run", "text-to-image", "--json", "-", *_FAST, "--out", "out", input='{"prompt": "piped"}')
    assert piped.returncode == 0, piped.stderr
    aiowery_command("run", "text-to-image", "--json", "@r.json", "--set", "prompt=a setting", *_FAST, "--out", "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"words.png", "a-file.png", "piped.png", "a-setting.png"}


def test_request_of_converts_settings_by_field_type() -> None:
    """Numbers, sizes, places, lists by repetition or as JSON: each text is converted to its field's type."""
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
    """A field such as the aspect ratio can be left out on the command line."""
    video: Any = request_of(
        REQUESTS["text-to-video"], '{"resolution": "720p"}', ["prompt=p", "aspect_ratio=", "resolution="]
    )
    assert (video.aspect_ratio, video.resolution) == (None, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--list",)),
        (("text-to-image", "--set", "prompt="), ("text-to-image needs prompt",)),
        (("txt-to-video",), ("there is no request type 'txt-to-video'", "did you mean text-to-video")),
        (("quux",), ("there is no request type 'quux'; aiowery run --list",)),
        (("text-to-image",), ("text-to-image needs prompt", "--set prompt=...")),
        (("text-to-image", "--set", "promt=a"), ("no field 'promt'", "did you mean prompt?", "--fields")),
        (("image-upscale", "--set", "img_url=a.png"), ("no field 'img_url'", "did you mean image_url")),
        (("text-to-image", "--set", "prompt"), ("--set must be field=value, got 'prompt'",)),
        (("text-to-image", "--set", "prompt=a", "--set", "image_number=two"), ("must be a whole number, got 'two'",)),
        (("text-to-image", "--set", "prompt=a", "--set", "use_web_search=maybe"), ("must be true or false",)),
        (("music", "--set", "styles=jazz"), ("styles must be JSON, got 'jazz'",)),
        (("music", "--set", "lyrics=la"), ("give description or styles",)),
        (("text-to-audio", "--set", f"text={'x' * 501}"), ("at most 500 characters", "501")),
        (("image-expand", "--set", "image_url=a.png", "--set", "image_size=big", "--set", "canvas_size=2x2",
          "--set", "image_location=0,0"), ("'big'", "1024x768")),
        (("text-to-image", "--json", "{prompt}"), ("--json is not JSON",)),
        (("text-to-image", "--json", "[1]"), ("--json is not a JSON object",)),
        (("text-to-image", "--json", "@gone.json"), ("cannot read gone.json: No such file",)),
        (("text-to-image", "--json", '{"type": "music"}'), ("has type 'music'",)),
        (("text-to-image", "--json", '{"prompt": "a", "negativ_prompt": "b"}'), ("did you mean negative_prompt",)),
        (("text-to-image", "--set", "prompt=a", "--speed", "2"), ("--speed works with --sandbox only",)),
        (("text-to-image", "--set", "prompt=a"), ("WERYAI_API_KEY", "--sandbox")),
    ],
)  # fmt: skip
def test_run_with_invalid_arguments_exits_with_2(
    aiowery_command: Command, arguments: Sequence[str], words: Sequence[str]
) -> None:
    """Each mistake ends in one message that names it and the remedy, before anything is sent."""
    ended = aiowery_command("run", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("aiowery: ")
    for word in words:
        assert word in ended.stderr


def test_run_with_unknown_json_members_sends_them_with_a_note(aiowery_command: Command) -> None:
    """An unknown parameter is sent, and a note says that it is unknown."""
    ended = aiowery_command("run", "text-to-image", "--json", '{"prompt": "a", "zzz": 7}', *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert "Note: text-to-image has no field 'zzz'; it is sent unchanged." in ended.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read photo.png: No such file"),
        (b"", "photo.png is empty"),
        (b"hello, I am no picture", "photo.png is no image"),
        (b"\xff\xd8\xff" + bytes(100), "photo.png has the content of a .jpg file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(11 * 1024**2), "photo.png must have fewer"),
    ],
)
def test_run_with_an_invalid_file_exits_with_2(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """A missing, broken or oversized file is exit code 2, and nothing is paid."""
    if content is not None:
        (tmp_path / "photo.png").write_bytes(content)
    ended = aiowery_command("run", "image-upscale", "--set", "image_url=photo.png")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert aiowery_sandbox.weryai.charged == 0


def test_run_failed_exits_with_1_and_prints_the_task_id(aiowery_command: Command) -> None:
    """The provider's reason and the task id are printed; standard output stays empty."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=no [[fail]]", *_FAST)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "task ids: task_" in ended.stderr
