"""Bad surroundings of a command: one sentence on standard error, the right exit code, and no traceback."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import trustme

from aiowery import RetryPolicy
from tests.cli.conftest import Command, in_thread
from tests.support import PNG, http_response, peer, responding

KEY = {"WERYAI_API_KEY": "sk-made-up-key-0123456789"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses."""
    monkeypatch.setattr(RetryPolicy, "backoff", lambda *_: 0.0)


@pytest.fixture
def untrusted_url() -> Iterator[str]:
    """Run a server whose certificate no authority vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with in_thread(peer(http_response({}), tls=context)) as server:
        yield server.url


@contextlib.asynccontextmanager
async def provider_with_files_elsewhere() -> AsyncIterator[tuple[str, str]]:
    """Run a provider whose output lies at another port; yield its URL, and host and port of the output."""
    async with peer(http_response(PNG, content_type="image/png")) as files:

        def respond(request: bytes) -> bytes:
            task = {"task_id": "t1", "task_status": "SUCCESS", "images": [f"{files.url}/1.png"]}
            data = {"task_ids": ["t1"]} if request.startswith(b"POST") else task
            return http_response({"status": 0, "message": "success", "data": data})

        async with responding(respond) as provider:
            yield provider.url, files.url.partition("://")[2]


@pytest.fixture
def files_elsewhere() -> Iterator[tuple[str, str]]:
    """Run such a provider for a command."""
    with in_thread(provider_with_files_elsewhere()) as urls:
        yield urls


def assert_one_sentence(ended: CompletedProcess[str], code: int, *parts: str) -> None:
    """Assert the exit code, nothing on standard output, and one line on standard error that holds these parts."""
    assert ended.returncode == code, ended.stderr
    assert ended.stdout == ""
    told = [line for line in ended.stderr.splitlines() if "again in" not in line]  # each retry is logged
    assert len(told) == 1, ended.stderr
    assert told[0].startswith("aiowery: ")
    for part in parts:
        assert part in told[0]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:1", ("no connection to 127.0.0.1", "refused", "nothing was sent", "check the network")),
        ("https://name.invalid", ("no connection to name.invalid", "nothing was sent", "check the network")),
    ],
    ids=["refused", "no such host"],
)
def test_command_without_a_connection_prints_one_sentence(
    aiowery_command: Command, url: str, parts: tuple[str, ...]
) -> None:
    """A refused connection and a name without an address say so, and that nothing was sent."""
    assert_one_sentence(aiowery_command("balance", env={**KEY, "WERYAI_BASE_URL": url}), 1, *parts)


def test_command_with_an_untrusted_certificate_names_the_variable(aiowery_command: Command, untrusted_url: str) -> None:
    """The sentence says how to trust the server's authority."""
    ended = aiowery_command("balance", env={**KEY, "WERYAI_BASE_URL": untrusted_url})
    assert_one_sentence(ended, 1, "its certificate is not trusted", "SSL_CERT_FILE", "nothing was sent")


def test_command_with_a_missing_certificate_file_exits_with_2(aiowery_command: Command) -> None:
    """It is the caller's mistake, found before anything is sent."""
    env = {**KEY, "WERYAI_BASE_URL": "https://127.0.0.1:1", "SSL_CERT_FILE": "/not/there.pem"}
    assert_one_sentence(aiowery_command("balance", env=env), 2, "SSL_CERT_FILE='/not/there.pem'", "nothing was sent")


@pytest.mark.parametrize(
    ("variable", "value"), [("WERYAI_BASE_URL", "https://api.weryai.com/v1"), ("HTTPS_PROXY", "ftp://a:sesame@b")]
)
def test_command_with_a_wrong_url_names_its_variable(aiowery_command: Command, variable: str, value: str) -> None:
    """The variable is named, and a password is not shown."""
    ended = aiowery_command("balance", env={**KEY, variable: value})
    assert_one_sentence(ended, 2, f"{variable} must ")
    assert "sesame" not in ended.stderr


def test_sandbox_needs_neither_certificates_nor_the_proxy(aiowery_command: Command, tmp_path: Path) -> None:
    """`--sandbox` is on this machine: unusable certificates and proxies do not matter."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"garbage")
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:1")
    env = {"SSL_CERT_FILE": str(garbage), **proxies}
    ended = aiowery_command("generate", "a cat", "--sandbox", "--speed", "200", "--out", "out", env=env)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 1


@pytest.mark.parametrize("named", ["host and port", "host", "another", "nothing"])
def test_allow_host_names_private_hosts_of_outputs(
    aiowery_command: Command, files_elsewhere: tuple[str, str], tmp_path: Path, named: str
) -> None:
    """Outputs in a private network are fetched from the hosts that the user has named, and from no others."""
    base_url, files = files_elsewhere
    hosts = {"host and port": (files,), "host": ("127.0.0.1",), "another": ("127.0.0.1:1", "10.0.0.7"), "nothing": ()}
    options = [part for host in hosts[named] for part in ("--allow-host", host)]
    environment = {**os.environ, **KEY, "WERYAI_BASE_URL": base_url, "AIOWERY_SANDBOX_SPEED": "100"}
    ended = aiowery_command("generate", "a cat", "--no-check", "--out", "out", *options, env=environment)
    if named.startswith("host"):
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "out" / "a-cat.png").read_bytes() == PNG
    else:
        assert ended.returncode == 1, ended.stderr
        assert "--allow-host" in ended.stderr
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("host", ["http://10.0.0.7", "10.0.0.7:port", "", "127.1"])
def test_allow_host_that_is_no_host_exits_with_2(aiowery_command: Command, host: str) -> None:
    """The message names the option and the value, and nothing is sent."""
    ended = aiowery_command("status", "t1", "--allow-host", host, env=KEY)
    assert_one_sentence(ended, 2, "--allow-host must hold hosts such as '10.0.0.7'", repr(host))
