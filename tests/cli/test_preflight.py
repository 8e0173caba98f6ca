"""The check against the model registry: its issues, --no-check, and a missing registry."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aiowery.sandbox import Sandbox
from tests.cli.conftest import Command, Manifest

_MODEL = {"model_key": "WERYAI_IMAGE_2_0", "aspect_ratios": ["1:1", "16:9"], "num_images": ["1", "2"]}


class _Registry(BaseHTTPRequestHandler):
    """A registry that lists one model for pictures and none for videos."""

    def do_GET(self) -> None:
        models = {"text_to_image": [_MODEL]} if "image" in self.path else {}
        body = json.dumps({"status": 0, "data": models}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Write nothing."""


@pytest.fixture
def registry(aiowery_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox, and a separate registry that lists one model."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Registry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("WERYAI_MODELS_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield aiowery_sandbox
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_registry(aiowery_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Run a sandbox whose registry cannot be reached."""
    monkeypatch.setenv("WERYAI_MODELS_BASE_URL", "http://127.0.0.1:1")
    return aiowery_sandbox


@pytest.mark.parametrize(
    "command",
    [
        ("generate", "a cat", "--aspect-ratio", "7:1", "--image-number", "3"),
        ("run", "text-to-image", "--set", "prompt=a cat", "--set", "aspect_ratio=7:1", "--set", "image_number=3"),
    ],
)
def test_commands_with_a_registry_issue_send_nothing(
    aiowery_command: Command, registry: Sandbox, command: Sequence[str]
) -> None:
    """Nothing is sent, and one message holds the fields, their values, the accepted values and --no-check."""
    ended = aiowery_command(*command, "--out", "out")
    assert (ended.returncode, ended.stdout) == (2, "")
    (message,) = ended.stderr.splitlines()
    for part in ("aspect_ratio is '7:1'", "takes 1:1, 16:9", "image_number is 3", "--no-check sends it anyway"):
        assert part in message
    assert registry.weryai.counters.posts == 0


@pytest.mark.usefixtures("registry")
def test_generate_with_no_check_sends_despite_issues(aiowery_command: Command) -> None:
    """With --no-check, a request with an issue is sent, and the provider decides."""
    ended = aiowery_command("generate", "a cat", "--image-number", "3", "--no-check", "--out", "out")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 3


def test_batch_with_a_registry_issue_runs_the_other_items(
    aiowery_command: Command, registry: Sandbox, manifest: Manifest, tmp_path: Path
) -> None:
    """A request with an issue is not sent, its reason is printed and recorded, and further items run."""
    (tmp_path / "p.csv").write_text("prompt,aspect ratio\na,1:1\nb,7:1\nc,16:9\n")
    ended = aiowery_command("batch", "p.csv", "--out", "out")
    assert ended.returncode == 1, ended.stderr
    assert "not submitted: line 3: aspect_ratio is '7:1'" in ended.stderr
    first, second, third = sorted(manifest(), key=lambda record: record["index"])
    assert (first["outcome"], second["outcome"], third["outcome"]) == ("done", "not submitted", "done")
    assert "takes 1:1, 16:9" in second["error"]["message"]
    assert registry.weryai.counters.posts == 2


def test_strict_with_a_registry_issue_sends_nothing(
    aiowery_command: Command, registry: Sandbox, tmp_path: Path
) -> None:
    """With --strict, an issue or an unreadable file stops the whole batch. Each is reported with its line."""
    lines = [
        {"prompt": "a"},
        {"prompt": "b", "aspect_ratio": "7:1"},
        {"type": "image-upscale", "image_url": "gone.png"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    ended = aiowery_command("batch", "p.jsonl", "--out", "out", "--strict")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing was sent" in ended.stderr
    assert "line 2: aspect_ratio is '7:1'" in ended.stderr
    assert "line 3: cannot read gone.png" in ended.stderr
    assert registry.weryai.counters.posts == 0


def test_batch_with_an_unlisted_model_prints_one_message(
    aiowery_command: Command, registry: Sandbox, tmp_path: Path
) -> None:
    """Requests for an unlisted model are sent, and one message reports it for all of them."""
    (tmp_path / "p.txt").write_text("a\nb\nc\n")
    ended = aiowery_command("batch", "p.txt", "--out", "out", "--model", "GPT_IMAGE_2")
    assert ended.returncode == 0, ended.stderr
    assert [line for line in ended.stderr.splitlines() if "registry" in line] == [
        "Note: the model registry does not list GPT_IMAGE_2 for text-to-image"
    ]
    assert registry.weryai.counters.posts == 3


@pytest.mark.usefixtures("no_registry")
@pytest.mark.parametrize("verbose", [(), ("-v",)])
def test_batch_without_a_registry_prints_one_message_and_runs(
    aiowery_command: Command, tmp_path: Path, verbose: Sequence[str]
) -> None:
    """If the registry cannot be read, one message reports it for all requests, and the batch runs."""
    (tmp_path / "p.txt").write_text("a\nb\nc\nd\n")
    ended = aiowery_command("batch", "p.txt", "--out", "out", *verbose)
    assert ended.returncode == 0, ended.stderr
    (message,) = [line for line in ended.stderr.splitlines() if "registry" in line]
    assert message.startswith("Note: the model registry cannot be read (")
    assert message.endswith("requests go unchecked")
    assert "warnings of the library" not in ended.stderr


@pytest.mark.usefixtures("no_registry")
def test_generate_with_no_check_does_not_read_the_registry(aiowery_command: Command) -> None:
    """With --no-check, nothing is printed about a registry that cannot be reached."""
    ended = aiowery_command("generate", "a cat", "--out", "out", "--no-check")
    assert ended.returncode == 0
    assert "registry" not in ended.stderr
