"""Commands that create no job: models, speakers, chat, upload, and the states of tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image

from aiowery.sandbox import Sandbox

Command = Callable[..., CompletedProcess[str]]

_SANDBOX = ("--sandbox",)


def test_models_without_json_prints_a_table_per_mode(aiowery_command: Command) -> None:
    """Every model has one line below its mode, with shapes and numbers in words."""
    printed = aiowery_command("models", *_SANDBOX).stdout.splitlines()
    titles = [line.strip() for line in printed if line and not line.startswith(" ")]
    assert titles[:2] == ["text-to-image", "image-to-image"]
    assert titles[-1] == "chat"
    line = next(line for line in printed if line.split()[:1] == ["WERYAI_IMAGE_2_0"])
    assert "16:9" in line
    assert "1 to 4" in line


@pytest.mark.parametrize("kind", ["image", "video", "chat"])
def test_models_with_json_prints_one_object_per_line(aiowery_command: Command, kind: str) -> None:
    """With --json there is one object a line, of the kind that was asked for."""
    ended = aiowery_command("models", *_SANDBOX, "--json", "--kind", kind)
    models = [json.loads(line) for line in ended.stdout.splitlines()]
    assert models
    assert {model["kind"] for model in models} == {kind}
    assert all(model["key"] and "raw" not in model for model in models)


def test_speakers_with_language_lists_only_that_language(aiowery_command: Command) -> None:
    """The ids that a podcast wants stand in the first column, and in --json."""
    table = aiowery_command("speakers", *_SANDBOX, "--language", "ja").stdout
    lines = aiowery_command("speakers", *_SANDBOX, "--language", "ja", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert {speaker["language"] for speaker in found} == {"ja"}
    assert all(f"\n {speaker['id']} " in table for speaker in found)


def test_chat_on_an_ascii_output_replaces_other_characters(aiowery_alone: Command) -> None:
    """A paid answer is printed with replacement characters if the output cannot encode it."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = aiowery_alone("chat", "über allen Gipfeln", *_SANDBOX, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "?ber allen Gipfeln" in ended.stdout


def test_chat_prints_only_the_answer_on_standard_output(aiowery_command: Command, aiowery_alone: Command) -> None:
    """A message, typed or piped, gets an answer and nothing around it."""
    typed = aiowery_command("chat", "good morning", *_SANDBOX, "--model", "GPT_5_5", "--temperature", "0")
    assert typed.returncode == 0, typed.stderr
    assert "good morning" in typed.stdout
    assert typed.stderr == ""
    piped = aiowery_alone("chat", "-", *_SANDBOX, "--system", "be brief", input="good evening\n")
    assert "good evening" in piped.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chat", "hi", "--temperature", "3"), "a number from 0 to 2"),
        (("chat", "--modle", "X"), "--modle"),
        (("upload",), "name the files"),
        (("models", "--kind", "sound", "--sandbox"), "one of image, video, chat, got 'sound'"),
    ],
)
def test_commands_with_invalid_arguments_exit_with_2(
    aiowery_command: Command, arguments: tuple[str, ...], words: str
) -> None:
    """Invalid arguments exit with 2, and the message names the argument."""
    ended = aiowery_command(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr


@pytest.mark.parametrize("arguments", [("models",), ("speakers",), ("chat", "hi"), ("upload", "a.png"), ("balance",)])
def test_commands_without_a_key_name_the_remedies(aiowery_command: Command, arguments: tuple[str, ...]) -> None:
    """Every command that needs a key names the environment variable."""
    ended = aiowery_command(*arguments)
    assert ended.returncode == 2
    assert "WERYAI_API_KEY" in ended.stderr


@pytest.mark.parametrize("address", [(), ("--legacy",)])
def test_upload_prints_one_url_per_line(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, address: tuple[str, ...]
) -> None:
    """Urls come in the order of the files, through either address."""
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (8, 8), "teal").save(tmp_path / name)
    ended = aiowery_command("upload", "b.png", "a.jpg", *address)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert first.startswith(aiowery_sandbox.url)
    assert (first.endswith("b.png"), second.endswith("a.jpg")) == (True, True)


def test_upload_of_a_missing_file_names_it(aiowery_command: Command) -> None:
    """A missing file is exit code 2."""
    ended = aiowery_command("upload", "gone.png", *_SANDBOX)
    assert ended.returncode == 2
    assert "cannot read gone.png" in ended.stderr


def test_batch_status_prints_all_tasks_of_a_submission(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """All tasks of one submission are printed, each with its state."""
    assert aiowery_command("run", "text-to-image", "--set", "prompt=a", "--set", "image_number=2").returncode == 0
    tasks = aiowery_sandbox.weryai.tasks
    batch_id = str(aiowery_sandbox.weryai.batches[0].id)
    printed = aiowery_command("batch-status", batch_id).stdout
    assert all(f"{task.id}: done (" in printed for task in tasks)


def test_status_of_a_text_task_prints_the_text(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The text of a task is printed again by a later status command."""
    message = aiowery_command("run", "deep-research", "--set", "input=Why?").stdout.strip()
    assert message
    assert message in aiowery_command("status", aiowery_sandbox.weryai.tasks[0].id).stdout
