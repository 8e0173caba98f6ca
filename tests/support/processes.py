"""Scripts in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def lines_of_script(code: str, *arguments: object, options: Sequence[str] = ()) -> list[str]:
    """Return the lines that a script prints in a fresh interpreter, in which it must succeed without any complaint."""
    command = [sys.executable, *options, "-c", code, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.splitlines()
