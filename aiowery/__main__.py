"""The command `aiowery`, also as `python -m aiowery`."""

from __future__ import annotations

import sys

_NEEDED = frozenset({"cyclopts", "rich"})
_WRONG_USE = 2


def main() -> int:
    """Run the command line with this process's arguments; return the exit code."""
    try:
        from aiowery.cli import run  # noqa: PLC0415 - its packages are an extra, which may be missing
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        print(f"aiowery: the command line needs {missing}; run: pip install 'aiowery[cli]'", file=sys.stderr)  # noqa: T201 - a command line prints
        return _WRONG_USE
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
