"""Create a virtual environment for each set of requirements, in a folder that git ignores."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers._peers import Peer

_HOME: Final = Path(__file__).parents[2]
_CACHE: Final = _HOME / ".peers"


class NotInstalledError(Exception):
    """An error: the packages of a peer cannot be installed."""


def interpreter(peer: Peer, *, latest: bool) -> Path:
    """Return the Python interpreter with this peer's packages; install them if that was not done before."""
    wanted = [one.partition("==")[0] if latest else one for one in peer.requirements]
    # aiowery is installed from the checkout, whose requirements may change.
    from_checkout = wanted == [str(_HOME)]
    project = (_HOME / "pyproject.toml").read_text(encoding="utf-8") if from_checkout else ""
    digest = hashlib.sha256("\n".join([sys.version, *wanted, project]).encode()).hexdigest()[:8]
    home = _CACHE / f"{peer.packages[0]}-{digest}"
    python, installed = home / "bin" / "python", home / "installed"
    if not installed.exists():
        print(f"installing {', '.join(wanted)} ...", file=sys.stderr, flush=True)
        _run_quietly([sys.executable, "-m", "venv", "--clear", str(home)])
        arguments = ["-e", *wanted] if from_checkout else wanted
        _run_quietly([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments])
        installed.touch()
    return python


def _run_quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a command of this module
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().rpartition("\n")[2] or "no reason given")
