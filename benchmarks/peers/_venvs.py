"""An environment of its own for each set of requirements, in a folder that git does not see."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.peers._peers import Peer

_CACHE: Final = Path(__file__).parents[2] / ".peers"


class NotInstalledError(Exception):
    """The packages of a peer cannot be installed."""


def interpreter(peer: Peer, *, latest: bool) -> Path:
    """Return the Python that has this peer's packages, after installing them if that was not done before."""
    wanted = [one.partition("==")[0] if latest else one for one in peer.requirements]
    digest = hashlib.sha256("\n".join([sys.version, *wanted]).encode()).hexdigest()[:8]
    home = _CACHE / f"{peer.packages[0]}-{digest}"
    python, mark = home / "bin" / "python", home / "installed"
    if not mark.exists():
        print(f"installing {', '.join(wanted)} ...", file=sys.stderr, flush=True)
        _quietly([sys.executable, "-m", "venv", "--clear", str(home)])
        # Ours is installed from the checkout as it is now, and stays what the checkout is.
        arguments = ["-e", *wanted] if peer.ours else wanted
        _quietly([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments])
        mark.touch()
    return python


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise NotInstalledError(done.stderr.strip().rpartition("\n")[2] or "no reason given")
