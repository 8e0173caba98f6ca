"""`aiowery run`: single requests of any type, from options to output, in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from aiowery.sandbox import Sandbox
from aiowery.weryai import REQUESTS
from tests.cli.conftest import Command

_FAST = ("--sandbox", "--speed", "200")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a picture to a local file."""
    path = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "teal").save(path)
    return path


def test_run_with_list_shows_every_type_with_required_fields(aiowery_command: Command) -> None:
    """`run --list` shows each type with its purpose and its required fields, but no endpoint."""
    ended = aiowery_command("run", "--list")
    assert ended.returncode == 0
    rows = {line.split()[0]: line for line in ended.stdout.splitlines() if line.strip()}
    assert rows.keys() >= REQUESTS.keys()
    assert "A request for videos from a prompt" in rows["text-to-video"]
    assert rows["image-face-swap"].rstrip().endswith("image_url, face_image_url")
    assert "POST" not in ended.stdout


@pytest.mark.parametrize("type_name", REQUESTS)
def test_run_with_fields_describes_every_field(aiowery_command: Command, type_name: str) -> None:
    """`run TYPE --fields` shows each field of the type, and `run TYPE --list` does the same."""
    ended = aiowery_command("run", type_name, "--fields")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"{type_name}: ")
    for field in REQUESTS[type_name].__attrs_attrs__:
        assert f"\n {field.name} " in ended.stdout
    assert ended.stdout == aiowery_command("run", type_name, "--list").stdout


def test_run_with_fields_shows_choices_and_defaults(aiowery_command: Command) -> None:
    """The table of fields shows choices, defaults and the kinds of values."""
    printed = " ".join(aiowery_command("run", "music", "--fields").stdout.split())
    assert "mode VOCAL_SONG | ONLY_MUSIC | ... VOCAL_SONG" in printed
    assert "reference_audio_url sound: a URL or a file" in printed
    printed = " ".join(aiowery_command("run", "image-expand", "--fields").stdout.split())
    assert "image_size size, such as 1024x768 (required)" in printed


@pytest.mark.parametrize("json_type", ["[]", '{"a": 1}', "7", '"music"'])
def test_run_with_another_type_in_json_exits_with_2(aiowery_command: Command, json_type: str) -> None:
    """If the JSON names another type than the command, the exit code is 2, and the message names both."""
    ended = aiowery_command("run", "text-to-image", "--sandbox", "--json", f'{{"type": {json_type}}}')
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("aiowery: --json has type ")
    assert "the command names text-to-image; nothing was sent: leave one out" in ended.stderr


def test_run_without_out_prints_urls(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """Without --out, standard output holds the URLs, one per line, and nothing else."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=a cat", "--set", "image_number=2")
    assert ended.returncode == 0, ended.stderr
    assert [line.startswith(aiowery_sandbox.url) for line in ended.stdout.splitlines()] == [True, True]


def test_run_with_out_saves_and_prints_paths(aiowery_command: Command, tmp_path: Path) -> None:
    """With --out, the pictures are saved as files, and their paths are printed."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=a cat", *_FAST, "--out", "out")
    assert (ended.returncode, ended.stdout) == (0, "out/a-cat.png\n"), ended.stderr
    with Image.open(tmp_path / "out" / "a-cat.png") as picture:
        picture.load()


def test_run_of_a_video_saves_its_cover(aiowery_command: Command, tmp_path: Path) -> None:
    """A video is saved with the suffix of its kind, and its cover beside it."""
    settings = ("--set", "prompt=a storm", "--set", "duration=5", "--set", "aspect_ratio=16:9")
    ended = aiowery_command("run", "text-to-video", *settings, *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    video, cover = ended.stdout.split()
    assert video == "out/a-storm.mp4"
    assert cover.startswith("out/a-storm-cover.")
    assert (tmp_path / video).stat().st_size
    assert (tmp_path / cover).stat().st_size


def test_run_of_a_text_type_prints_and_saves_the_text(aiowery_command: Command, tmp_path: Path) -> None:
    """A text is printed on standard output. With --out it is also saved, and its path goes to standard error."""
    ended = aiowery_command("run", "deep-research", "--set", "input=Why is the sea salty?", *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "why-is-the-sea-salty.md"
    assert path.read_text("utf-8").strip() == ended.stdout.strip()
    assert str(path.relative_to(tmp_path)) in ended.stderr


def test_run_with_raw_prints_the_response(aiowery_command: Command) -> None:
    """With --raw, standard output holds one JSON object per task, and nothing else."""
    settings = ("--set", "prompt=a cat", "--set", "image_number=2")
    ended = aiowery_command("run", "text-to-image", *settings, *_FAST, "--raw")
    assert ended.returncode == 0, ended.stderr
    tasks = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [bool(task["images"]) for task in tasks] == [True, True]


def test_run_with_a_local_file_uploads_it(aiowery_command: Command, aiowery_sandbox: Sandbox, photo: Path) -> None:
    """A local file in a field for a picture is uploaded before the request is sent."""
    ended = aiowery_command("run", "image-upscale", "--set", f"image_url={photo.name}")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(aiowery_sandbox.url)


def test_run_of_a_direct_endpoint_prints_the_result(aiowery_command: Command, photo: Path) -> None:
    """image-to-prompt starts no task, and the text of its result is printed."""
    ended = aiowery_command("run", "image-to-prompt", "--set", f"image_url={photo.name}", *_FAST)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip()


def test_run_of_a_podcast_prints_the_next_command(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The script is printed, and the printed command makes the audio of it."""
    speaker = json.loads(aiowery_command("speakers", "--language", "en", "--json").stdout.splitlines()[0])["id"]
    script = aiowery_command("run", "podcast", "--set", "query=tea", "--set", f"speakers={speaker}")
    assert script.returncode == 0, script.stderr
    assert all(": " in line for line in script.stdout.splitlines())
    message = next(line for line in script.stderr.splitlines() if line.startswith("To continue: "))
    audio = aiowery_command(*message.partition("aiowery ")[2].split())
    assert audio.returncode == 0, audio.stderr
    assert audio.stdout.startswith(aiowery_sandbox.url)


def test_run_with_json_reads_argument_file_and_standard_input(
    aiowery_command: Command, aiowery_alone: Command, tmp_path: Path
) -> None:
    """--json accepts an object, @FILE and `-` for standard input, and --set overrides its fields."""
    (tmp_path / "r.json").write_text('{\n  "prompt": "a file"\n}\n')
    for source in ('{"prompt": "an object"}', "@r.json"):
        ended = aiowery_command("run", "text-to-image", "--json", source, *_FAST, "--out", "out")
        assert ended.returncode == 0, ended.stderr
    piped = aiowery_alone("run", "text-to-image", "--json", "-", *_FAST, "--out", "out", input='{"prompt": "piped"}')
    assert piped.returncode == 0, piped.stderr
    aiowery_command("run", "text-to-image", "--json", "@r.json", "--set", "prompt=a setting", *_FAST, "--out", "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"an-object.png", "a-file.png", "piped.png", "a-setting.png"}


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ((), ("--list",)),
        (("text-to-image", "--set", "prompt="), ("text-to-image needs prompt",)),
        (("txt-to-video",), ("there is no request type 'txt-to-video'", "did you mean text-to-video")),
        (("quux",), ("there is no request type 'quux'; nothing was sent: aiowery run --list",)),
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
        (("text-to-image", "--json", '{"prompt": "a", "aspect": "1:1"}'), ("did you mean aspect_ratio?",)),
        (("text-to-image", "--set", "prompt=\u200b"), ("prompt holds only characters that cannot be seen",)),
        (("text-to-image", "--set", "prompt=a\x1a"), ("Ctrl-Z",)),
        (("text-to-image", "--set", "prompt=a", "--speed", "2"), ("--speed works with --sandbox only",)),
        (("text-to-image", "--set", "prompt=a"), ("WERYAI_API_KEY", "--sandbox")),
    ],
)  # fmt: skip
def test_run_with_invalid_arguments_exits_with_2(
    aiowery_command: Command, arguments: Sequence[str], messages: Sequence[str]
) -> None:
    """Before anything is sent, a message names the mistake and the remedy, and the exit code is 2."""
    ended = aiowery_command("run", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("aiowery: ")
    for message in messages:
        assert message in ended.stderr


def test_run_with_unknown_json_members_does_not_send_them(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """An unknown name in the JSON is no parameter: a message reports it, and only `extra` is sent with the fields."""
    values = '{"prompt": "a", "zzz": 7, "note.aspect": "x", "extra": {"seed": 5}}'
    ended = aiowery_command("run", "text-to-image", "--json", values, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert "Note: text-to-image has no field 'zzz'; it is not sent." in ended.stderr
    (spec,) = [task.spec for task in aiowery_sandbox.weryai.tasks]
    assert "zzz" not in repr(spec)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read photo.png: No such file"),
        (b"", "photo.png is empty"),
        (b"hello, I am no picture", "photo.png is no image"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "photo.png is HEIC; convert it to jpg"),
        (b"\x89PNG\r\n\x1a\n" + bytes(11 * 1024**2), "photo.png must have fewer"),
    ],
    ids=["missing", "empty", "text", "heic", "large"],
)
def test_run_with_an_invalid_file_exits_with_2(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, content: bytes | None, message: str
) -> None:
    """For a missing, broken or oversized file, the exit code is 2, and nothing is charged."""
    if content is not None:
        (tmp_path / "photo.png").write_bytes(content)
    ended = aiowery_command("run", "image-upscale", "--set", "image_url=photo.png")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert aiowery_sandbox.weryai.charged == 0


def test_run_failed_exits_with_1_and_prints_the_task_id(aiowery_command: Command) -> None:
    """After a failure, the task id goes to standard error, and standard output stays empty."""
    ended = aiowery_command("run", "text-to-image", "--set", "prompt=no [[fail]]", *_FAST)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "task ids: task_" in ended.stderr
