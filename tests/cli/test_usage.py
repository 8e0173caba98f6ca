"""Arguments that cannot be understood, and messages in the terms of the command line."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from aiowery import BetterWaifu
from aiowery.betterwaifu import GenerateImage
from aiowery.cli.input.user_terms import in_user_terms
from aiowery.weryai import REQUESTS, ImageToVideo, Music
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("generate", "a", "cat", "--out", "o"), ("'cat' is too much for generate", "put quotes around a text")),
        (("generate", "a", "red", "cat", "--out", "o"), ("'red' 'cat' are too much",)),
        (("generate",), ("generate requires PROMPT", "give PROMPT")),
        (("generate", "a"), ("generate requires --out", "add --out VALUE")),
        (("generate", "a", "--out"), ("--out needs a value",)),
        (("generate", "a", "--out", "o", "--aspect", "1:1"), ("no option --aspect", "did you mean --aspect-ratio")),
        (("generate", "a", "--out", "o", "--out", "p"), ("--out is given more than once",)),
        (("nothing",), ("there is no command 'nothing'", "aiowery --help")),
        (("genrate", "a"), ("there is no command 'genrate'", "did you mean generate?")),
        (("--verson",), ("aiowery has no option --verson", "did you mean --version?")),
        (("ledger", "lst"), ("there is no command 'lst'", "did you mean list?", "aiowery ledger --help")),
        (("batch", "p.txt", "--out", "o", "--limit", "0"), ("--limit must be >= 1, got 0",)),
        (("batch", "p.txt", "--out", "o", "--limit", "x"), ("--limit must be a whole number, got 'x'",)),
        (("batch", "p.txt", "--out", "o", "--budget", "x"), ("--budget must be a number, got 'x'",)),
        (("batch", "p.txt", "--out", "o", "--budget", "-1"), ("--budget must be >= 0, got -1",)),
        (("batch", "p.txt", "--out", "o", "--format", "xml"), ("--format must be one of txt, csv, tsv, jsonl, json",)),
        (("batch", "--nonsense", "--out", "o"), ("unknown option --nonsense",)),
        (("batch", "a.txt", "b.txt", "--out", "o"), ("'b.txt' is too much for batch",)),
        (("run", "text-to-image", "prompt=a"), ("'prompt=a' is too much for run", "write --set prompt=a")),
        (("ledger", "show", "x"), ("must be a whole number, got 'x'",)),
        (("ledger", "show", "0"), ("must be >= 1, got 0",)),
        (("ledger", "list", "--state", "gone"), ("--state must be one of new, claimed, sending",)),
        (("webhook", "--port", "99999"), ("--port must be <= 65535, got 99999",)),
        (("sandbox", "--codes", "newest"), ("--codes must be one of seed, late, got 'newest'",)),
        (("doubts", "adopt"), ("doubts adopt requires ENTRY_ID",)),
        (("chat", "a", "b"), ("'b' is too much for chat",)),
        (("status",), ("status requires TASK_ID",)),
    ],
)  # fmt: skip
def test_arguments_not_understood_get_one_sentence(
    aiowery_command: Command, arguments: Sequence[str], messages: Sequence[str]
) -> None:
    """The sentence names the argument and what to do, in words of this program, and the exit code is 2."""
    ended = aiowery_command(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith("aiowery: ")
    assert "nothing was sent" in ended.stderr
    for message in messages:
        assert message in ended.stderr


@pytest.mark.parametrize(
    ("text", "request_type", "shown"),
    [
        ("model_version_id cannot be empty", GenerateImage, "model cannot be empty"),
        (
            "Model version: 'model_version_id' must be a number",
            GenerateImage,
            "Model version: 'model' must be a number",
        ),
        ("music type cannot be empty (code 1001)", Music, "mode cannot be empty (code 1001)"),
        ("type must be one of A, B", Music, "mode must be one of A, B"),
        ("this type of music is great", Music, "this type of music is great"),
        ("image is required", ImageToVideo, "image_url is required"),
        ("Image can not be empty", ImageToVideo, "image_url can not be empty"),
        ("image not supported", ImageToVideo, "image_url not supported"),
        ("img url error, face img url empty", REQUESTS["image-face-swap"], "image_url error, face_image_url empty"),
        ("the image shows too much", ImageToVideo, "the image shows too much"),
        ("model_version_id_2 and xmodel_version_id", GenerateImage, "model_version_id_2 and xmodel_version_id"),
        ("original image size is not supported", REQUESTS["image-expand"], "image_size is not supported"),
        ("TextToImage.prompt must be a string, got 5", None, "prompt must be a string, got 5"),
        ("Music: give description or styles", None, "music: give description or styles"),
        ("music: Music: give description or styles", None, "music: give description or styles"),
        ("Music can heal", None, "Music can heal"),
        ("give a GenerateImage", None, "give a generate-image"),
        ("account(): edition='jobs' has none", None, "--edition jobs has none"),
        ("models(): kind must be one of a, b", None, "--kind must be one of a, b"),
        (
            "batch_status(): X has none; use status() for each task",
            None,
            "X has none; use aiowery status for each task",
        ),
        ("check the key (WERYAI_API_KEY or api_key=)", None, "check the key (WERYAI_API_KEY)"),
        ("ids from client.speakers() are needed", None, "ids from aiowery speakers are needed"),
        ("queue_file='q.json' cannot be used", None, "--queue-file q.json cannot be used"),
    ],
)
def test_in_user_terms_names_fields_and_options(text: str, request_type: type | None, shown: str) -> None:
    """Names of Python and of the HTTP request become what the user has written. Other words stay."""
    assert in_user_terms(text, request_type) == shown
    assert in_user_terms(shown, request_type) == shown


def test_in_user_terms_of_a_long_text_is_fast() -> None:
    """A message of the most characters that are kept costs no more than its length."""
    for text in ("A" * 2000, "model_version_id " * 100, "music " * 300, "edition='" * 200, "x=" * 1000):
        assert len(in_user_terms(text, GenerateImage)) <= 2000


@pytest.mark.parametrize(
    ("arguments", "messages", "absent"),
    [
        (("generate", "a", "--provider", "betterwaifu", "--edition", "jobs"), ("model",), ("model_version_id",)),
        (
            ("generate", "a", "--provider", "betterwaifu", "--edition", "jobs", "--model", "x"),
            ("model is 'x'", "--edition jobs", "aiowery models"),
            ("edition='", "client.", "GenerateImage"),
        ),
        (("generate", "a", "--provider", "betterwaifu", "--model", "7"), ("--edition v1-images",), ("edition='",)),
        (("status", "x", "--provider", "betterwaifu"), ("--edition v1-images",), ("edition='",)),
        (("batch-status", "x", "--provider", "betterwaifu"), ("use aiowery status for each",), ("batch_status()",)),
        (("models", "--kind", "x"), ("aiowery: --kind must be one of",), ("models()",)),
        (("run", "music", "--set", "lyrics=la"), ("aiowery: music: give description or styles",), ("Music",)),
        (("run", "text-to-image", "--set", f"prompt={'x' * 3000}"), ("prompt must have",), ("TextToImage",)),
    ],
)
def test_commands_refused_name_what_the_user_knows(
    aiowery_command: Command, arguments: Sequence[str], messages: Sequence[str], absent: Sequence[str]
) -> None:
    """Neither class names nor names of the HTTP request reach the user."""
    out = ("--out", "o") if arguments[0] == "generate" else ()
    ended = aiowery_command(*arguments, *out, "--sandbox")
    assert ended.returncode in {1, 2}
    for message in messages:
        assert message in ended.stderr
    for name in absent:
        assert name not in ended.stderr


def test_balance_of_an_edition_without_an_account_is_unknown(aiowery_command: Command) -> None:
    """The edition reports no credits, and no name of a method is printed."""
    assert "jobs" in BetterWaifu.editions
    ended = aiowery_command("balance", "--provider", "betterwaifu", "--sandbox")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "unknown\n", "")
