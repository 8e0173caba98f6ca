"""The rules of the house, and the words of README, hold."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiowery.sandbox import Sandbox

HOME = Path(__file__).parent.parent
README = (HOME / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_imports_point_down_and_only_the_door_knows_the_network() -> None:
    """The three layers' rules are in force: import-linter's contracts are kept."""
    command = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run([command, "--no-cache"], cwd=HOME, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


@pytest.fixture(scope="module")
def running_blocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[subprocess.Popen[str]]]:
    """Start every block of README at once, each in a process of its own, against one sandbox."""
    with Sandbox(speed=100) as sandbox:
        environment = {
            f"{provider}_{name}": value
            for provider in ("WERYAI", "BETTERWAIFU")
            for name, value in (("API_KEY", sandbox.key), ("BASE_URL", sandbox.url))
        }
        runs = [_start(block, tmp_path_factory.mktemp("block"), environment) for block in BLOCKS]
        yield runs
        for run in runs:
            run.kill()
            run.communicate()


def _start(block: str, directory: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    (directory / "block.py").write_text(block, "utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in block else []
    return subprocess.Popen(
        [sys.executable, *runner, "block.py"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_python_block_of_readme_runs(number: int, running_blocks: list[subprocess.Popen[str]]) -> None:
    """A block of README, saved as a file and run against a sandbox, ends without an error."""
    run = running_blocks[number]
    output, _ = run.communicate(timeout=50)
    assert run.returncode == 0, output


@pytest.mark.slow
def test_every_python_block_of_readme_is_typed(tmp_path: Path) -> None:
    """What README shows passes mypy --strict, from outside, as a user's code would."""
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"block_{number}.py").write_text(block, "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", HOME / ".mypy_cache", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_readme_has_blocks() -> None:
    """The test above has something to run."""
    assert len(BLOCKS) >= 4
