"""Every Python block of README and of the files in docs/ runs, and is typed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiowery.sandbox import Sandbox

HOME = Path(__file__).parents[2]
DOCUMENTS = (HOME / "README.md", *sorted((HOME / "docs").glob("*.md")))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = {
    f"{document.stem}-{number}": block
    for document in DOCUMENTS
    for number, block in enumerate(BLOCK.findall(document.read_text("utf-8")), 1)
}
_SPEED = 100


@pytest.fixture(scope="module")
def running_blocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Start all blocks concurrently, each in a process of its own, against one sandbox."""
    with Sandbox(speed=_SPEED) as sandbox:
        environment = {
            f"{provider}_{name}": value
            for provider in ("WERYAI", "BETTERWAIFU")
            for name, value in (("API_KEY", sandbox.key), ("BASE_URL", sandbox.url))
        }
        environment["AIOWERY_SANDBOX_SPEED"] = str(_SPEED)
        runs = {name: _start(block, tmp_path_factory.mktemp("block"), environment) for name, block in BLOCKS.items()}
        yield runs
        for run in runs.values():
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


@pytest.mark.parametrize("name", BLOCKS)
def test_python_block_runs_without_error(name: str, running_blocks: dict[str, subprocess.Popen[str]]) -> None:
    """A block of README or docs, saved as a file and run against a sandbox, exits with 0."""
    run = running_blocks[name]
    output, _ = run.communicate(timeout=50)
    assert run.returncode == 0, output


@pytest.mark.slow("mypy reads the package and httpx anew")
def test_python_blocks_pass_mypy_strict(tmp_path: Path) -> None:
    """The blocks pass mypy --strict in another folder, as a user's code would."""
    for name, block in BLOCKS.items():
        (tmp_path / f"block_{name.lower().replace('-', '_')}.py").write_text(block, "utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", HOME / ".mypy_cache", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_documents_have_python_blocks() -> None:
    """The tests above have something to run."""
    assert len(BLOCKS) >= 12
