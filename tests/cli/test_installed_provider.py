"""The command line finds a provider that another distribution installs."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from aiowery.cli import providers
from tests.cli.conftest import Command, read_manifest
from tests.examples.test_acme import KEY, acme

HOME: Final = Path(__file__).parents[2]
GUIDE: Final = HOME / "docs" / "write-a-provider.md"


BROKEN: Final = """
import attrs
import aiowery
from aiowery.betterwaifu import BetterWaifu

NOT_A_CLIENT = 5

class Empty(aiowery.Client): ...

class WrongEditions(aiowery.Client):
    editions = {"v1": None}

class NoPromptType(aiowery.Client):
    editions = {"v1": attrs.evolve(BetterWaifu.editions["jobs"], prompt_type="nothing")}
"""


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example with the pyproject.toml of the guide, and install it into a directory."""
    project, target = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("installed")
    shutil.copy(HOME / "examples" / "acme_provider.py", project)
    pyproject = re.search(r"```toml\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert pyproject is not None
    (project / "pyproject.toml").write_text(pyproject[1])
    module = [sys.executable, "-m"]
    subprocess.run([*module, "hatchling", "build", "-t", "wheel"], cwd=project, check=True, capture_output=True)
    (wheel,) = (project / "dist").glob("*.whl")
    install = [*module, "uv", "pip", "install", "-q", "--offline", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return target


@pytest.fixture
def forget_providers() -> Iterator[None]:
    """Make the command line read the installed providers again, before the test and after it."""
    for read in (providers.clients, providers.request_types):
        read.cache_clear()
    yield
    for read in (providers.clients, providers.request_types):
        read.cache_clear()


@pytest.fixture
def installed(
    distribution: Path,
    monkeypatch: pytest.MonkeyPatch,
    forget_providers: None,  # noqa: ARG001 - it is in force while this fixture is
) -> None:
    """Install the distribution for commands in this process."""
    monkeypatch.syspath_prepend(distribution)
    monkeypatch.setenv("ACME_API_KEY", KEY)
    monkeypatch.setenv("WERYAI_API_KEY", "sk-unused")


@pytest.mark.slow("five commands, each in a process of its own")
@pytest.mark.anyio
async def test_installed_provider_runs_batches_and_lists_models_and_entries(distribution: Path, tmp_path: Path) -> None:
    """`batch`, its second run, `models`, `ledger list` and `run` work with an installed provider."""
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")

    async def command(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aiowery", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, **settings},
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async with acme() as server:
        settings = {
            "PYTHONPATH": str(distribution),
            "ACME_API_KEY": KEY,
            "ACME_BASE_URL": server.url,
            "AIOWERY_SANDBOX_SPEED": "50",
        }
        for _ in range(2):
            await command("batch", "prompts.txt", "--provider", "acme", "--out", "out")
            records = sorted(read_manifest(tmp_path / "out"), key=lambda record: record["index"])
            assert [record["outcome"] for record in records] == ["done", "done"]
            assert [record["request"]["prompt"] for record in records] == ["a cat", "a dog"]
            assert all((tmp_path / "out" / name).is_file() for record in records for name in record["files"])
            assert server.posts == 2
        models = [" ".join(line.split()) for line in (await command("models", "--provider", "acme")).splitlines()]
        assert models[-3:] == ["pencil for sketches", "brush for paintings", ""]
        entries = await command("ledger", "list", "--ledger", "out")
        assert all(text in entries for text in ("a cat", "a dog", "done"))
        assert await command("run", "acme-picture", "--set", "prompt=a bird") == f"{server.url}/files/j3.png\n"


@pytest.mark.usefixtures("installed")
def test_installed_provider_with_request_types_lists_them(aiowery_command: Command) -> None:
    """The list of request types includes the provider's, and the fields of each can be shown."""
    listed = aiowery_command("run", "--list")
    assert (listed.returncode, "acme-picture" in listed.stdout, "text-to-image" in listed.stdout) == (0, True, True)
    fields = aiowery_command("run", "acme-picture", "--fields")
    assert (fields.returncode, "callback" in fields.stdout) == (0, True)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("balance --provider nowhere", "--provider must be one of weryai, betterwaifu, acme, got 'nowhere'"),
        ("run acme-picture --set prompt=a --provider weryai", "acme-picture is made by --provider acme, not weryai"),
        ("run acme-picture --set prompt=a --sandbox", "the sandbox does not simulate acme; leave it out"),
        ("chat hello --provider acme", "Acme has no chat models"),
        ("speakers --provider acme", "Acme has no speakers"),
        ("upload a.png --provider acme", "Acme accepts no uploads"),
        ("upload a.png --provider acme --legacy", "--legacy: Acme has one upload endpoint"),
        ("batch-status b1 --provider acme", "Acme has none; use aiowery status for each task"),
        ("models --provider acme --edition v2", "--edition belongs to --provider betterwaifu"),
    ],
)
def test_installed_provider_without_a_capability_is_reported(
    aiowery_command: Command, tmp_path: Path, arguments: str, message: str
) -> None:
    """If the provider or the sandbox lacks a capability, the message names it, and the exit code is 2."""
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nacme")
    ended = aiowery_command(*arguments.split())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("installed")
def test_installed_provider_that_reports_no_balance_prints_unknown(aiowery_command: Command) -> None:
    """If a provider reports no balance, the command prints "unknown" and exits with 0."""
    ended = aiowery_command("balance", "--provider", "acme")
    assert (ended.returncode, ended.stdout) == (0, "unknown\n")


def install_broken(folder: Path, entry_point: str) -> None:
    """Install a distribution with this entry point into a folder."""
    info = folder / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[aiowery.providers]\n{entry_point}\n")


@pytest.mark.usefixtures("forget_providers")
@pytest.mark.parametrize("name", ["Missing", "NOT_A_CLIENT", "Empty", "WrongEditions", "NoPromptType"])
def test_installed_provider_that_cannot_be_used_is_left_out(
    aiowery_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A client that cannot be loaded is reported once, and commands with the built-in providers still work."""
    (tmp_path / "broken_provider.py").write_text(BROKEN)
    install_broken(tmp_path, f"broken = broken_provider:{name}")
    monkeypatch.syspath_prepend(tmp_path)
    ended = aiowery_command("run", "text-to-image", "--fields")
    assert (ended.returncode, "prompt" in ended.stdout) == (0, True)
    assert ended.stderr.count("aiowery: the provider 'broken' (broken_provider:") == 1
    assert "is left out" in ended.stderr


@pytest.mark.usefixtures("forget_providers")
def test_installed_provider_with_a_name_of_the_package_is_left_out(
    aiowery_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No distribution replaces a provider of the package, and the attempt is reported."""
    install_broken(tmp_path, "weryai = aiowery:BetterWaifu")
    monkeypatch.syspath_prepend(tmp_path)
    ended = aiowery_command("run", "text-to-image", "--fields")
    assert (ended.returncode, "prompt" in ended.stdout) == (0, True)
    assert "'weryai' (aiowery:BetterWaifu) is left out: ValueError: another provider has this name" in ended.stderr


@pytest.mark.usefixtures("installed")
def test_run_value_that_a_foreign_validator_refuses_is_one_message(aiowery_command: Command) -> None:
    """A validator that raises ValueError, as attrs' do, ends in a message and not in a traceback."""
    ended = aiowery_command("run", "acme-picture", "--set", "prompt=a", "--set", "size=huge")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "acme-picture: 'size' must be in" in ended.stderr
    assert "Traceback" not in ended.stderr
