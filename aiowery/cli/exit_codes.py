"""Exit codes of the command line."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
SOME_FAILED: Final = 1
WRONG_USE: Final = 2
IN_DOUBT: Final = 3
INTERRUPTED: Final = 130
