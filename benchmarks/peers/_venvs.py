"""An environment of its own for each set of requirements, in a folder that git does not see."""

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
    """The packages of a peer cannot be installed."""


def interpreter(peer: Peer, *, latest: bool) -> Path:
    """Return the Python that has this peer's packages, after installing them if that was not done before."""
    wanted = [one.partition("==")[0] if latest else one for one in peer.requirements]
    # Ours is installed from the checkout, whose requirements may change.
    known = (_HOME / "pyproject.toml").read_text(encoding="utf-8") if peer.ours else ""
    digest = hashlib.sha256("\n".join([sys.version, *wanted, known]).encode()).hexdigest()[:8]
    home = _CACHE / f"{peer.packages[0]}-{digest}"
    python, mark = home / "bin" / "python", home / "installed"
    if not mark.exists():
        print(f"installing {', '.join(wanted)} ...", file=sys.stderr, flush=True)
        _quietly([sys.executable, "-m", "venv", "--clear", str(home)])
        arguments = ["-e", *wanted] if peer.ours else wanted
        _quietly([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments])
        mark.touch()
    return python


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().rpartition("\n")[2] or "no reason given")
