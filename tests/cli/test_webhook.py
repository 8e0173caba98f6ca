"""`aiowery webhook` beside `aiowery batch --public-url`: two processes and one ledger."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Manifest, Start


@pytest.mark.slow("pictures take seconds, so that deliveries come before the first poll")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_batch_with_a_public_url_receives_deliveries_from_another_process(
    number: signal.Signals,
    aiowery_process: Start,
    aiowery_command: Command,
    manifest: Manifest,
    tmp_path: Path,
) -> None:
    """The receiver prints its address, records every delivery, and ends cleanly after the signal."""
    receiver = aiowery_process("webhook", "--port", "0", "--ledger", "jobs.db")
    assert receiver.stdout is not None
    address = receiver.stdout.readline().split()[2]
    (tmp_path / "prompts.txt").write_text("".join(f"cat {n}\n" for n in range(6)))
    options = ("--sandbox", "--speed", "4", "--ledger", "jobs.db", "--public-url", address, "--out", "out")
    ended = aiowery_command("batch", "prompts.txt", *options)
    receiver.send_signal(number)
    rest, errors = receiver.communicate(timeout=10)
    assert ended.returncode == 0, ended.stderr
    assert len(manifest()) == 6
    assert (receiver.returncode, errors) == (0, "")
    assert rest.splitlines()[-1] == "6 deliveries recorded, 0 rejected."
    assert list((tmp_path / "jobs.db.owners").glob("*.alive")) == []


def test_webhook_with_an_unknown_path_responds_before_the_body(aiowery_process: Start) -> None:
    """The receiver responds with 404 before it receives any of the announced 256 KiB."""
    receiver = aiowery_process("webhook", "--port", "0", "--ledger", "jobs.db")
    assert receiver.stdout is not None
    host, _, port = receiver.stdout.readline().split()[2].removeprefix("http://").partition(":")
    with socket.socket() as client_socket:
        client_socket.settimeout(5)
        while client_socket.connect_ex((host, int(port))):  # the address is printed before it accepts connections
            time.sleep(0.01)
        client_socket.sendall(f"POST /{'0' * 32} HTTP/1.1\r\nhost: x\r\ncontent-length: 262144\r\n\r\n".encode())
        assert client_socket.recv(1000).startswith(b"HTTP/1.1 404")


def test_webhook_on_an_unusable_address_exits_with_2(aiowery_command: Command) -> None:
    """If the address cannot be used, the message names it, and the exit code is 2."""
    ended = aiowery_command("webhook", "--host", "192.0.2.1", "--port", "9")
    assert ended.returncode == 2
    assert "cannot listen on 192.0.2.1:9" in ended.stderr


def test_webhook_with_a_foreign_file_leaves_it_unchanged(aiowery_command: Command, tmp_path: Path) -> None:
    """A file that is not a ledger stays unchanged, and the message names the remedy."""
    (tmp_path / "notes").write_text("mine")
    ended = aiowery_command("webhook", "--port", "0", "--ledger", "notes")
    assert ended.returncode == 1
    assert "give another file" in ended.stderr
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sandbox",), "file with --ledger"),
        (
            ("--sandbox", "--ledger", "l.db", "--provider", "betterwaifu"),
            "BetterWaifu (v1-images) delivers none",
        ),
        (("--sandbox", "--ledger", "l.db", "--public-url", "http://example.com"), "unencrypted"),
    ],
    ids=["no ledger", "betterwaifu", "http"],
)
def test_batch_with_an_unusable_public_url_sends_nothing(
    options: tuple[str, ...], message: str, aiowery_command: Command, tmp_path: Path
) -> None:
    """The command is refused before anything is sent or created."""
    (tmp_path / "prompts.txt").write_text("a cat\n")
    url = () if "--public-url" in options else ("--public-url", "https://app.example.com")
    ended = aiowery_command("batch", "prompts.txt", "--out", "out", *options, *url)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not (tmp_path / "out").exists()
