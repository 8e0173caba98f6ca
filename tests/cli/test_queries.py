"""Commands without a job: models, speakers, chat, upload, and the states of tasks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from aiowery.sandbox import Sandbox
from tests.cli.conftest import Command

_SANDBOX = ("--sandbox",)


def test_models_without_json_prints_a_table_per_mode(aiowery_command: Command) -> None:
    """Every model has one row below its mode, with its aspect ratios and its numbers of pictures."""
    printed = aiowery_command("models", *_SANDBOX).stdout.splitlines()
    titles = [line.strip() for line in printed if line and not line.startswith(" ")]
    assert titles[:2] == ["text-to-image", "image-to-image"]
    assert titles[-1] == "chat"
    row = next(line for line in printed if line.split()[:1] == ["WERYAI_IMAGE_2_0"])
    assert "16:9" in row
    assert "1 to 4" in row


@pytest.mark.parametrize("kind", ["image", "video", "chat"])
def test_models_with_json_prints_one_object_per_line(aiowery_command: Command, kind: str) -> None:
    """With --json, each line of the output is an object, and every model is of the requested kind."""
    ended = aiowery_command("models", *_SANDBOX, "--json", "--kind", kind)
    models = [json.loads(line) for line in ended.stdout.splitlines()]
    assert models
    assert {model["kind"] for model in models} == {kind}
    assert all(model["key"] and "raw" not in model for model in models)


def test_speakers_with_language_lists_only_that_language(aiowery_command: Command) -> None:
    """The ids for a podcast are in the first column, and in the output of --json."""
    table = aiowery_command("speakers", *_SANDBOX, "--language", "ja").stdout
    printed = aiowery_command("speakers", *_SANDBOX, "--language", "ja", "--json").stdout
    speakers = [json.loads(line) for line in printed.splitlines()]
    assert {speaker["language"] for speaker in speakers} == {"ja"}
    assert all(f"\n {speaker['id']} " in table for speaker in speakers)


def test_chat_on_an_ascii_output_replaces_characters(aiowery_alone: Command) -> None:
    """A paid answer is printed with replacement characters if the output cannot encode it."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = aiowery_alone("chat", "über allen Gipfeln", *_SANDBOX, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "?ber allen Gipfeln" in ended.stdout


def test_chat_typed_or_piped_prints_only_the_answer(aiowery_command: Command, aiowery_alone: Command) -> None:
    """For a message from the arguments or from standard input, only the answer is printed."""
    typed = aiowery_command("chat", "good morning", *_SANDBOX, "--model", "GPT_5_5", "--temperature", "0")
    assert typed.returncode == 0, typed.stderr
    assert "good morning" in typed.stdout
    assert typed.stderr == ""
    piped = aiowery_alone("chat", "-", *_SANDBOX, "--system", "be brief", input="good evening\n")
    assert "good evening" in piped.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chat", "hi", "--temperature", "3"), "a number from 0 to 2"),
        (("chat", "--modle", "X"), "--modle"),
        (("chat", "\u200b", "--sandbox"), "the message holds only characters that cannot be seen"),
        (("chat", "hi", "--system", "\udcff", "--sandbox"), "--system holds an invalid character"),
        (("chat", "hi", "--model", "GPT\udcff", "--sandbox"), "model holds an invalid character"),
        (("upload",), "name the files"),
        (("models", "--kind", "sound", "--sandbox"), "one of image, video, chat, got 'sound'"),
    ],
)
def test_commands_with_invalid_arguments_exit_with_2(
    aiowery_command: Command, arguments: tuple[str, ...], message: str
) -> None:
    """Invalid arguments exit with 2, and the message names the argument."""
    ended = aiowery_command(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr


@pytest.mark.parametrize("arguments", [("models",), ("speakers",), ("chat", "hi"), ("upload", "a.png"), ("balance",)])
def test_commands_without_a_key_name_the_variable(aiowery_command: Command, arguments: tuple[str, ...]) -> None:
    """Every command that needs a key names the environment variable for it, and exits with 2."""
    ended = aiowery_command(*arguments)
    assert ended.returncode == 2
    assert "WERYAI_API_KEY" in ended.stderr


@pytest.mark.parametrize("endpoint", [(), ("--legacy",)])
def test_upload_of_two_files_prints_one_url_per_line(
    aiowery_command: Command, aiowery_sandbox: Sandbox, tmp_path: Path, endpoint: tuple[str, ...]
) -> None:
    """URLs are printed in the order of the files, with both endpoints."""
    for name in ("b.png", "a.jpg"):
        Image.new("RGB", (8, 8), "teal").save(tmp_path / name)
    ended = aiowery_command("upload", "b.png", "a.jpg", *endpoint)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert first.startswith(aiowery_sandbox.url)
    assert (first.endswith("b.png"), second.endswith("a.jpg")) == (True, True)


def test_upload_of_a_missing_file_names_it(aiowery_command: Command) -> None:
    """For a missing file, the command names it and exits with 2."""
    ended = aiowery_command("upload", "gone.png", *_SANDBOX)
    assert ended.returncode == 2
    assert "cannot read gone.png" in ended.stderr


def test_batch_status_of_two_tasks_prints_both(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """All tasks that one request started are printed, each with its state."""
    assert aiowery_command("run", "text-to-image", "--set", "prompt=a", "--set", "image_number=2").returncode == 0
    tasks = aiowery_sandbox.weryai.tasks
    batch_id = str(aiowery_sandbox.weryai.batches[0].id)
    printed = aiowery_command("batch-status", batch_id).stdout
    assert all(f"{task.id}: done (" in printed for task in tasks)


def test_status_of_a_text_task_prints_the_text(aiowery_command: Command, aiowery_sandbox: Sandbox) -> None:
    """The text of a task is printed again by a later status command."""
    text = aiowery_command("run", "deep-research", "--set", "input=Why?").stdout.strip()
    assert text
    assert text in aiowery_command("status", aiowery_sandbox.weryai.tasks[0].id).stdout
