"""Read how much memory this process uses.

This module imports only the standard library, because the peers' environments have no other packages of the project.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

_MEMORY_PAGE = resource.getpagesize()
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_STATM = Path("/proc/self/statm")
_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def resident() -> int:
    """Return the bytes of memory that the process uses now; without /proc, the most that it has used."""
    return int(_STATM.read_text().split()[1]) * _MEMORY_PAGE if _STATM.exists() else most_resident()


def most_resident() -> int:
    """Return the most bytes of memory that the process has used.

    Where /proc has it, it is read there: `ru_maxrss` also counts the process that has started this one.
    """
    found = _PEAK.search(_STATUS.read_text()) if _STATUS.exists() else None
    if found is not None:
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT
