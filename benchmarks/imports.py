"""Import time: `python -c "import aiowery"` beside `python -c pass`, in turns, and what it brings along.

Each start is a fresh interpreter with compiled files in place; figures are medians over the differences of
neighbouring starts. The second row includes what the first client loads: the HTTP library comes with it, not
with the import.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Final

from benchmarks._figures import Figure, Note, Section, Target, of_rounds

_BARE: Final = "pass"
_IMPORT: Final = "import aiowery"
_CLIENT: Final = "import aiowery; aiowery.WeryAI('sk-none')"
_LIST: Final = """
import sys
before = set(sys.modules)
import aiowery
tops = {name.partition('.')[0] for name in set(sys.modules) - before}
print(*sorted(top for top in tops if top not in sys.stdlib_module_names and not top.startswith('_')))
"""
_OPTIONAL: Final = ("httpx2", "rich", "cyclopts", "starlette", "uvicorn", "PIL", "pytest")
_NOTES: tuple[Note, ...] = (
    Note(
        "over bare Python",
        "About a third is the classes of WeryAI's requests and answers, which attrs makes as they are imported (by"
        " `python -X importtime`); loading them on demand would spare it.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Start interpreters in turns and compare."""
    rounds = 3 if quick else 15
    for code in (_BARE, _IMPORT, _CLIENT):
        _start(code)  # compiles what is not compiled yet
    bare, imported, client = zip(
        *[(_start(_BARE), _start(_IMPORT), _start(_CLIENT)) for _ in range(rounds)], strict=True
    )
    loaded = _run(_LIST).split()
    optional = [name for name in loaded if name in _OPTIONAL]
    return Section(
        "Import time",
        __doc__,
        (
            of_rounds("`import aiowery` over bare Python", _differences(imported, bare), "ms", target=Target(150)),
            of_rounds("the same and a client made, over bare Python", _differences(client, bare), "ms"),
            of_rounds("bare Python", [1000 * seconds for seconds in bare], "ms"),
            Figure("optional packages loaded", len(optional), target=Target(0)),
        ),
        f"Third-party packages that `import aiowery` loads: {', '.join(loaded)}."
        f" Optional ones looked for: {', '.join(_OPTIONAL)}.",
        _NOTES,
    )


def _differences(ours: tuple[float, ...], bare: tuple[float, ...]) -> list[float]:
    return [1000 * (our - base) for our, base in zip(ours, bare, strict=True)]


def _start(code: str) -> float:
    """Return the seconds that an interpreter takes to run the code."""
    began = time.perf_counter()
    _run(code)
    return time.perf_counter() - began


def _run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout  # noqa: S603 - our own code
