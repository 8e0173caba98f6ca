"""The commands from end to end, in the sandbox."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import httpx
import pytest
from PIL import Image

from aiowery import __version__
from aiowery.sandbox import Sandbox
from aiowery.weryai import ASPECT_RATIOS
from tests.cli.conftest import Command, Manifest

_FAST = ("--sandbox", "--speed", "200")


def test_generate_of_two_pictures_saves_them_and_prints_paths(aiowery_command: Command, tmp_path: Path) -> None:
    """Pictures have the requested aspect ratio and names made from the prompt. Their paths are printed."""
    ended = aiowery_command(
        "generate", "A tabby, on a windowsill!", *_FAST, "--out", "out", "--image-number", "2", "--aspect-ratio", "16:9"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["out/a-tabby-on-a-windowsill-1.png", "out/a-tabby-on-a-windowsill-2.png"]
    for path in ended.stdout.split():
        with Image.open(tmp_path / path) as picture:
            assert picture.width > picture.height


def test_generate_repeated_overwrites_nothing(aiowery_command: Command) -> None:
    """A second run with the same prompt saves its picture under another name."""
    paths = [aiowery_command("generate", "A tabby", *_FAST, "--out", "out").stdout.strip() for _ in range(2)]
    assert paths == ["out/a-tabby.png", "out/a-tabby-no2.png"]


def test_generate_failed_prints_reason_and_task_id(aiowery_command: Command) -> None:
    """After a failure, the exit code is 1, and the provider's reason and the task id are printed."""
    ended = aiowery_command("generate", "no [[fail]]", *_FAST, "--out", "out")
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "generation failed" in ended.stderr
    assert "task ids: task_" in ended.stderr


def test_batch_of_a_table_writes_pictures_manifest_and_gallery(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """Each prompt has one record in the manifest and a picture that opens. No further files remain."""
    (tmp_path / "p.tsv").write_text("Mood\tPrompt\tAspect Ratio\ncalm\ta red [fox]\t16:9\n\ngay\tfoo/../bar\t\n")
    ended = aiowery_command("batch", "p.tsv", *_FAST, "--out", "out", "--gallery")
    assert ended.returncode == 0, ended.stderr
    assert "2 of 2 done: 2 files, 2 credits" in ended.stdout
    first, second = sorted(manifest(), key=lambda record: record["index"])
    assert first["outcome"] == second["outcome"] == "done"
    assert (first["line"], second["line"]) == (2, 4)
    assert first["notes"] == {"Mood": "calm"}
    assert first["request"]["aspect_ratio"] == "16:9"
    assert first["files"] == ["0001-a-red-fox.png"]
    assert second["files"] == ["0002-foo-..-bar.png"]
    assert len(first["task_ids"]) == 1
    assert first["credits"] == 1
    assert first["seconds"] > 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {*first["files"], *second["files"], "manifest.jsonl", "gallery.html"}
    for name in (*first["files"], *second["files"]):
        with Image.open(tmp_path / "out" / name) as picture:
            picture.load()


def test_batch_with_mixed_types_saves_each_kind(aiowery_command: Command, manifest: Manifest, tmp_path: Path) -> None:
    """One input may mix all types. Each output is saved with the suffix of its kind, also a text."""
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "photo.png")
    requests = [
        {"prompt": "a storm"},
        {"type": "text-to-video", "prompt": "a fox", "aspect_ratio": "16:9"},
        {"type": "music", "description": "a slow waltz"},
        {"type": "text-to-audio", "text": "Good morning"},
        {"type": "image-upscale", "image_url": "photo.png"},
        {"type": "image-to-prompt", "image_url": "photo.png"},
        {"type": "deep-research", "input": "Why?"},
        {"type": "chat", "messages": [{"role": "user", "content": "Describe the rain"}]},
        {"type": "corpus-upload", "file_url": "https://example.com/a.pdf"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(request)}\n" for request in requests))
    ended = aiowery_command("batch", "p.jsonl", *_FAST, "--out", "out", "--gallery")
    assert ended.returncode == 0, ended.stderr
    records = sorted(manifest(), key=lambda record: record["index"])
    files = [record["files"] for record in records]
    assert [Path(names[0]).suffix for names in files] == [
        ".png", ".mp4", ".wav", ".wav", ".png", ".txt", ".md", ".txt", ".txt"
    ]  # fmt: skip
    assert files[2][1] == "0003-a-slow-waltz.txt"  # the lyrics of a song
    assert files[4] == ["0005-image-upscale-photo.png"]
    assert files[7] == ["0008-describe-the-rain.txt"]
    assert "Describe the rain" in (tmp_path / "out" / files[7][0]).read_text("utf-8")
    named = {name for record in records for name in (*record["files"], *record["covers"].values())}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*named, "manifest.jsonl", "gallery.html"}


def test_batch_with_a_type_column_mixes_types(aiowery_command: Command, manifest: Manifest, tmp_path: Path) -> None:
    """A CSV file with a type column may mix types, and each cell is converted for the type of its row."""
    (tmp_path / "p.csv").write_text(
        "type,prompt,duration,text,messages,image size\ntext-to-video,a fox,5,,,\ntext-to-audio,,,Hello,,\n"
        "chat,,,,Good day,\n"
    )
    ended = aiowery_command("batch", "p.csv", *_FAST, "--out", "out", "--model", "WERYAI_VIDEO_1_0")
    assert ended.returncode == 0, ended.stderr
    records = sorted(manifest(), key=lambda record: record["index"])
    video, _, chat = (record["request"] for record in records)
    assert video["duration"] == 5
    assert chat["messages"] == [{"role": "user", "content": "Good day"}]
    assert chat["model"] != "WERYAI_VIDEO_1_0"  # the options apply to pictures and videos only


def test_batch_from_standard_input_with_json_prints_events(aiowery_alone: Command, manifest: Manifest) -> None:
    """With --json, standard output holds only events, and those of finished items equal the manifest."""
    prompts = '{"prompt": "a", "image_number": 2}\n{"prompt": "b [[fail]]"}\n'
    ended = aiowery_alone("batch", "-", *_FAST, "--out", "out", "--json", input=prompts)
    assert ended.returncode == 1, ended.stderr
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[0] == {"event": "started", "total": 2}
    assert [event["event"] for event in events].count("accepted") == 2
    printed = [{k: v for k, v in event.items() if k != "event"} for event in events if event["event"] == "ended"]
    assert [{**record, "batch": "standard input"} for record in printed] == manifest()
    assert (events[-1]["done"], events[-1]["failed"], events[-1]["exit_code"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("prompt,client\na fox,ACME\n", ()),
        ("prompt\tclient\na fox\tACME\n", ()),
        ('[\n {"prompt": "a fox", "client": "ACME"}\n]\n', ()),
        ('{"prompt": "a fox", "client": "ACME"}\n', ()),
        ("client;prompt\nACME;a fox\n", ("--format", "csv")),
        ("client\tprompt\nACME\ta fox\n", ("--format", "tsv")),
        ('{"prompt": "a fox",\n "client": "ACME"}\n', ("--format", "json")),
    ],
)
def test_batch_from_standard_input_recognizes_its_format(
    aiowery_command: Command,
    manifest: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    options: Sequence[str],
) -> None:
    """A heading or an array on standard input is no prompt. What names no field is a note in the manifest."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    ended = aiowery_command("batch", "-", *_FAST, "--out", "out", *options)
    assert ended.returncode == 0, ended.stderr
    (record,) = manifest()
    assert record["request"]["prompt"] == "a fox"
    assert record["notes"] == {"client": "ACME"}
    assert "extra" not in record["request"]


def test_batch_with_a_format_reads_a_file_as_that(aiowery_command: Command, manifest: Manifest, tmp_path: Path) -> None:
    """--format decides whatever the name of the file is; without it a heading is refused as a prompt."""
    (tmp_path / "p.txt").write_text("prompt,model\na fox,GPT_IMAGE_2\n")
    ended = aiowery_command("batch", "p.txt", *_FAST, "--out", "out")
    assert ended.returncode == 2
    assert "p.txt begins like a table; nothing was sent: read it with --format csv" in ended.stderr
    ended = aiowery_command("batch", "p.txt", *_FAST, "--out", "out", "--format", "csv")
    assert ended.returncode == 0, ended.stderr
    assert [record["request"]["prompt"] for record in manifest()] == ["a fox"]


def test_batch_with_nearly_a_field_sends_only_other_lines(
    aiowery_command: Command, manifest: Manifest, aiowery_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A line with `aspect` is not paid for with another shape. With --strict nothing is."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a kite", "aspect": "16:9"}\n{"prompt": "a fox"}\n')
    strict = aiowery_command("batch", "p.jsonl", "--out", "out", "--strict")
    assert strict.returncode == 2
    assert "line 1: text-to-image has no field 'aspect': did you mean aspect_ratio?" in strict.stderr
    assert len(aiowery_sandbox.weryai.tasks) == 0
    ended = aiowery_command("batch", "p.jsonl", "--out", "out")
    assert ended.returncode == 1
    assert "line 1: text-to-image has no field 'aspect': did you mean aspect_ratio?" in ended.stderr
    assert [record["outcome"] for record in sorted(manifest(), key=lambda record: record["index"])] == [
        "failed",
        "done",
    ]
    assert len(aiowery_sandbox.weryai.tasks) == 1


def test_batch_shows_prompts_in_messages_only_if_verbose(aiowery_command: Command, tmp_path: Path) -> None:
    """Prompts are personal data: a failure is named by its line, and with -v by its prompt too."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "secret [[fail]]", "image_number": 1}\n')
    ended = aiowery_command("batch", "p.jsonl", *_FAST, "--out", "out")
    assert ended.returncode == 1
    assert "failed: line 1: " in ended.stderr
    verbose = aiowery_command("batch", "p.jsonl", *_FAST, "--out", "verbose", "-v")
    assert "secret" in verbose.stderr


@pytest.mark.parametrize("command", ["batch", "generate", "run"])
@pytest.mark.parametrize("provider", ["weryai", "betterwaifu"])
def test_verbose_lets_the_library_s_log_name_the_prompt(
    command: str, provider: str, aiowery_command: Command, tmp_path: Path
) -> None:
    """`-v` alone shows the library's records, and tells the client to put the prompt into them."""
    (tmp_path / "p.txt").write_text("a secret garden\n")
    kind = "text-to-image" if provider == "weryai" else "generate-image"
    arguments = {
        "batch": ("p.txt", "--out", "out"),
        "generate": ("a secret garden", "--out", "out"),
        "run": (kind, "--set", "prompt=a secret garden", "--out", "out"),
    }[command]
    quiet = aiowery_command(command, *arguments, *_FAST, "--provider", provider)
    verbose = aiowery_command(command, *arguments, *_FAST, "--provider", provider, "-v")
    assert (quiet.returncode, verbose.returncode) == (0, 0), verbose.stderr
    assert "INFO" not in quiet.stderr
    accepted = [line for line in verbose.stderr.splitlines() if line.startswith("INFO accepted: ")]
    assert [kind in line and "'a secret garden'" in line for line in accepted] == [True]


def test_batch_with_options_uses_them_as_defaults(aiowery_command: Command, manifest: Manifest, tmp_path: Path) -> None:
    """--model fills a field that the input leaves out, and --limit takes the first lines only."""
    (tmp_path / "p.txt").write_text("a\nb\nc\n")
    ended = aiowery_command(
        "batch", "p.txt", *_FAST, "--out", "out", "--limit", "2", "--model", "GPT_IMAGE_2", "--in-flight", "1"
    )
    assert ended.returncode == 0, ended.stderr
    assert [record["request"]["model"] for record in manifest()] == ["GPT_IMAGE_2"] * 2


def test_batch_into_a_used_directory_moves_the_earlier_files(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """A second batch in the same directory overwrites neither the pictures nor the manifest of the first."""
    (tmp_path / "p.txt").write_text("a cat\n")
    for _ in range(2):
        ended = aiowery_command("batch", "p.txt", *_FAST, "--out", "out", "--gallery")
        assert ended.returncode == 0, ended.stderr
    assert "earlier-1" in ended.stderr
    names = {path.name for path in (tmp_path / "out" / "earlier-1").iterdir()}
    assert names == {"0001-a-cat.png", "manifest.jsonl", "gallery.html"}
    assert (tmp_path / "out" / "0001-a-cat.png").exists()
    assert len(manifest()) == 1


def test_batch_of_the_examples_succeeds(aiowery_command: Command, manifest: Manifest) -> None:
    """The example prompts all succeed, and there are at least 24 of them."""
    examples = Path(__file__).parents[2] / "examples" / "prompts.txt"
    ended = aiowery_command("batch", str(examples), *_FAST, "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert len({record["request"]["prompt"] for record in manifest()}) >= 24


def test_status_and_balance_without_options_use_the_environment(
    aiowery_command: Command, aiowery_sandbox: Sandbox
) -> None:
    """Both commands use the base URL and the key of the environment."""
    assert aiowery_command("balance").stdout == "10000\n"
    ended = aiowery_command("status", "task_unknown")
    assert ended.returncode == 1
    assert ended.stderr.startswith("aiowery: ")
    aiowery_sandbox.weryai.submit(_task_spec("a cat"))
    task = aiowery_sandbox.weryai.tasks[0]
    printed = aiowery_command("status", task.id)
    assert printed.returncode == 0
    assert printed.stdout.startswith(f"{task.id}: ")


def _task_spec(prompt: str) -> Any:
    from aiowery.sandbox._tasks import TaskSpec  # noqa: PLC0415 - not public

    return TaskSpec(prompt=prompt, model="WERYAI_IMAGE_2_0", aspect_ratio="1:1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_after_a_signal_ends_cleanly(
    aiowery_process: Callable[..., Popen[str]], aiowery_command: Command, number: signal.Signals
) -> None:
    """`aiowery sandbox` prints working settings for a client, and ends cleanly after the signal."""
    server = aiowery_process("sandbox", "--port", "0", "--speed", "100")
    assert server.stdout is not None
    printed = [server.stdout.readline() for _ in range(9)]
    exports = (line.removeprefix("  export ").strip() for line in printed if "export" in line)
    settings = dict(line.split("=", 1) for line in exports)
    keys_and_urls = {f"{name}_{what}" for name in ("WERYAI", "BETTERWAIFU") for what in ("BASE_URL", "API_KEY")}
    assert settings.keys() == {*keys_and_urls, "WERYAI_MODELS_BASE_URL", "AIOWERY_SANDBOX_SPEED"}
    url = settings["WERYAI_BASE_URL"]
    assert f"v1-images at {url} and jobs at {url}/api/v1:" in "".join(printed)
    ended = aiowery_command("balance", env={**os.environ, **settings})
    server.send_signal(number)
    rest, errors = server.communicate(timeout=10)
    assert ended.stdout == "10000\n", ended.stderr
    assert (server.returncode, rest, errors) == (0, "", "")


def test_sandbox_on_a_used_port_exits_with_2(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """If the port is in use, the message names it, and the exit code is 2."""
    port = aiowery_sandbox.url.rpartition(":")[2]
    ended = aiowery_command("sandbox", "--port", port)
    assert ended.returncode == 2
    assert f"cannot listen on port {port}" in ended.stderr


def test_sandbox_options_reach_the_server(aiowery_process: Callable[..., Popen[str]]) -> None:
    """Keys, credits, tasks, dialects and faults are those of the options; some may be repeated."""
    options = ("--key", "any text", "--key", "second", "--credits", "3", "--in-flight", "2", "--seed", "5")
    dialect = ("--status-words", "lower", "--codes", "late", "--host", "127.0.0.1")
    injected = ("--fault", "bad-gateway@balance", "--fault", "server-error@models:1")
    server = aiowery_process("sandbox", "--port", "0", *options, *dialect, *injected)
    assert server.stdout is not None
    url = server.stdout.readline().split()[4]
    body = {"model": "FLUX", "prompt": "hills", "aspect_ratio": "1:1", "image_number": 3}
    headers = {"authorization": "Bearer second", "host": "other.example"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False) as http:
        assert http.get("/v1/generation/balance").status_code == 502
        assert http.get("/v1/chat/models").status_code == 500
        submit = "/v1/generation/text-to-image"
        assert http.post(submit, json=body).json()["status"] == 6010
        accepted = http.post(submit, json={**body, "image_number": 2}).json()
        task = accepted["data"]["task_ids"][0]
        assert http.get(f"/v1/generation/{task}/status").json()["data"]["task_status"] == "waiting"
        assert http.post(submit, json={**body, "prompt": ""}).json()["status"] == 1002
        wrong_key = {"authorization": "Bearer sk-sandbox"}
        assert http.get("/v1/generation/balance", headers=wrong_key).status_code == 502
        assert http.post(submit, json=body, headers=wrong_key).status_code == 403
    assert "API_KEY='any text'" in "".join(server.stdout.readline() for _ in range(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fault", "sever-error"), "such as server-error@status:0.2, got 'sever-error'"),
        (("--fault", "server-error:7"), "must be a number from 0 to 1"),
        (("--key", ""), "none that is empty"),
        (("--status-words", "UPPERCASE"), "--status-words"),
        (("--codes", "newest"), "--codes"),
        (("--in-flight", "0"), "--in-flight"),
        (("--credits", "-1"), "--credits"),
        (("--host", "192.0.2.1", "--port", "9"), "cannot listen on port 9 of 192.0.2.1"),
    ],
)
def test_sandbox_with_wrong_options_exits_with_2(
    aiowery_command: Command, options: Sequence[str], message: str
) -> None:
    """A wrong option is named with what is possible, and nothing is started."""
    ended = aiowery_command("sandbox", *options)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr


def test_version_prints_the_package_version(aiowery_command: Command) -> None:
    """`--version` prints the version and nothing else."""
    ended = aiowery_command("--version")
    assert (ended.returncode, ended.stdout) == (0, f"{__version__}\n")


def test_batch_with_help_lists_the_use_of_each_aspect_ratio(aiowery_command: Command) -> None:
    """The help text holds every aspect ratio with its use."""
    text = " ".join(aiowery_command("batch", "--help").stdout.replace("│", " ").split())
    for ratio, use in ASPECT_RATIOS.items():
        assert f"{ratio} {use}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate",), "requires"),
        (("nothing",), "there is no command"),
        (("batch", "p.txt", "--out", "o", "--limit", "0"), "--limit"),
        (("batch", "p.txt", "--out", "o", "--nonsense"), "--nonsense"),
    ],
)
def test_commands_not_understood_exit_with_2(aiowery_command: Command, arguments: Sequence[str], message: str) -> None:
    """For arguments that cannot be parsed, the exit code is 2, and standard error names the argument."""
    ended = aiowery_command(*arguments)
    assert ended.returncode == 2
    assert message in ended.stderr


_WITHOUT_MODULE = "import sys; sys.modules[{0!r}] = None; from aiowery.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("cyclopts", "cli", ("balance",)),
        ("rich", "cli", ("balance",)),
        ("uvicorn", "sandbox", ("generate", "a", "--out", "o", "--sandbox")),
        ("PIL", "sandbox", ("sandbox",)),
    ],
)
def test_commands_without_an_extra_name_it(tmp_path: Path, missing: str, extra: str, arguments: Sequence[str]) -> None:
    """If a package of an extra is missing, the command prints one line with the install command."""
    with Popen(
        [sys.executable, "-c", _WITHOUT_MODULE.format(missing), *arguments], cwd=tmp_path, stderr=PIPE, text=True
    ) as process:
        _, message = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"pip install 'aiowery[{extra}]'" in message
    assert len(message.splitlines()) == 1
