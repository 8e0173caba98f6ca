"""BetterWaifu on the command line: pictures, a batch of one task at a time, models, credits, and invalid options."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from aiowery.sandbox import Sandbox
from tests.cli.conftest import Command, Manifest


@pytest.fixture
def betterwaifu_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox that the v1-images edition finds through the environment."""
    with Sandbox(speed=100, keys=None) as sandbox:
        monkeypatch.setenv("BETTERWAIFU_BASE_URL", sandbox.url)
        monkeypatch.setenv("BETTERWAIFU_API_KEY", sandbox.key)
        yield sandbox


def test_generate_with_betterwaifu_saves_one_picture(
    aiowery_command: Command, betterwaifu_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The options reach the provider, and the saved file opens."""
    options = ("--steps", "30", "--seed", "7", "--width", "512", "--height", "768", "--model", "plant-milk")
    ended = aiowery_command("generate", "1girl, rain", "--provider", "betterwaifu", "--out", "out", *options)
    assert (ended.returncode, ended.stdout) == (0, f"out{os.sep}1girl-rain.png\n"), ended.stderr
    with Image.open(tmp_path / "out" / "1girl-rain.png") as picture:
        assert picture.size == (341, 512)
    (generation,) = betterwaifu_sandbox.betterwaifu.generations
    assert (generation.seed, generation.spec.model) == (7, "plant-milk")


def test_batch_with_betterwaifu_runs_one_task_at_a_time(
    aiowery_command: Command, manifest: Manifest, tmp_path: Path
) -> None:
    """Four pictures of the jobs edition are made in order, and saved with their facts."""
    (tmp_path / "p.txt").write_text("a\nb\nc\nd\n")
    arguments = ("--provider", "betterwaifu", "--edition", "jobs", "--model", "814910", "--sandbox", "--speed", "100")
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--gallery", *arguments)
    assert ended.returncode == 0, ended.stderr
    records = manifest()
    assert [record["files"] for record in records] == [[f"000{n}-{name}.webp"] for n, name in enumerate("abcd", 1)]
    assert {record["request"]["model"] for record in records} == {814910}
    assert all(isinstance(record["facts"]["seed"], int) and record["facts"]["image_ids"] for record in records)
    gallery = (tmp_path / "out" / "gallery.html").read_text()
    assert f"seed {records[0]['facts']['seed']}" in gallery
    assert "credits" not in gallery.partition("</header>")[0].rpartition("<dl")[2]


def test_run_without_provider_uses_the_one_of_the_type(aiowery_command: Command, betterwaifu_sandbox: Sandbox) -> None:
    """`run generate-image` uses BetterWaifu without --provider."""
    ended = aiowery_command("run", "generate-image", "--set", "prompt=a cat", "--set", "cfg_scale=5.5")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{betterwaifu_sandbox.url}/images/")


def test_queries_of_the_jobs_edition_print_models_credits_and_status(
    aiowery_command: Command, betterwaifu_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs edition has endpoints for models, credits and status, and the commands print their responses."""
    monkeypatch.setenv("BETTERWAIFU_BASE_URL", betterwaifu_sandbox.jobs_url)
    edition = ("--provider", "betterwaifu", "--edition", "jobs")
    models = aiowery_command("models", *edition)
    assert "814910" in models.stdout, models.stderr
    assert "tPonynai3" in models.stdout
    assert aiowery_command("balance", *edition).stdout == "10000\n"
    lost = aiowery_command("status", "job_nowhere", *edition)
    assert (lost.returncode, "Generation not found" in lost.stderr) == (1, True)


def test_models_of_the_images_edition_prints_the_documented_ones(aiowery_command: Command) -> None:
    """The edition has no endpoint that lists models, so the documented ones are shown, without a key."""
    shown = aiowery_command("models", "--provider", "betterwaifu")
    assert "noobai-xl" in shown.stdout
    assert "realistic" in shown.stdout


def test_run_names_the_provider_by_the_request_type(aiowery_command: Command) -> None:
    """`--edition` belongs to the provider of the request type, although that is not the default one."""
    ended = aiowery_command(
        *("run", "generate-image", "--edition", "jobs", "--set", "prompt=x", "--set", "model=814910"),
        "--sandbox",
        "--speed",
        "500",
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("http://127.0.0.1")


def test_models_of_a_kind_that_the_edition_lacks_is_said(aiowery_command: Command) -> None:
    """A kind without models is one line, and needs no key where the documented models are shown."""
    shown = aiowery_command("models", "--provider", "betterwaifu", "--kind", "video")
    assert (shown.returncode, shown.stdout) == (0, "There are no such models.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "x", "--out", "o", "--edition", "jobs"), "--edition belongs to --provider betterwaifu"),
        (("generate", "x", "--out", "o", "--queue-file", "f"), "--queue-file belongs to --provider betterwaifu"),
        (("generate", "x", "--out", "o", "--steps", "30"), "--steps: text-to-image has no such field"),
        (
            ("generate", "x", "--out", "o", "--provider", "betterwaifu", "--aspect-ratio", "1:1"),
            "--aspect-ratio: generate-image has no such field",
        ),
        (("run", "music", "--provider", "betterwaifu"), "music is made by --provider weryai"),
        (
            ("batch", "p.txt", "--out", "o", "--provider", "betterwaifu", "--in-flight", "4", "--sandbox"),
            "--in-flight must be 1, got 4: BetterWaifu (v1-images) runs no more tasks",
        ),
        (("generate", "x", "--out", "o", "--provider", "betterwaifu"), "BETTERWAIFU_API_KEY"),
        (("generate", "x", "--out", "o", "--provider", "midwaifu"), "weryai"),
    ],
)
def test_commands_with_contradicting_options_send_nothing(
    aiowery_command: Command, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    """Options that contradict each other or do not apply to the request exit with 2."""
    (tmp_path / "p.txt").write_text("a\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith("BETTERWAIFU")}
    ended = aiowery_command(*arguments, env={**env, "COLUMNS": "200"})
    assert ended.returncode == 2
    assert message in ended.stderr + ended.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "814910"), "names models by a slug"),
        (("--edition", "jobs", "--model", "noobai-xl"), "names models by number"),
        (("--edition", "jobs"), "model is None; it cannot be empty with --edition jobs"),
        (("--steps", "10"), "takes 20 to 50"),
    ],
)
def test_generate_with_values_unknown_to_the_edition_exits_with_2(
    aiowery_command: Command, options: tuple[str, ...], message: str
) -> None:
    """The client refuses the value before anything is sent, and the exit code is 2."""
    ended = aiowery_command("generate", "x", "--out", "o", "--provider", "betterwaifu", "--sandbox", *options)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
