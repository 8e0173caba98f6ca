"""Import time: fresh interpreters that import, create and open a client, alternating with `python -c pass`.

Compiled files exist before the measurement. Figures are medians over the differences to the neighbouring start of bare
Python; the rounds are interleaved. Each of the first rows includes what it needs of the rows above. `import aiowery`
loads aiowery's values, a request class loads its own module, and the client's class loads asyncio and its provider. The
first client loads all that an open one needs (the HTTP library, the ledger). Opening it loads the event loop's part of
anyio. The ratios compare medians.

The longest stall of the event loop is the greatest lateness of a timer while the first client is opened, and from the
first submission to its result, against the fake server. A module that is loaded that late blocks all other tasks.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks._fake_server import FakeServer
from benchmarks._figures import Explanation, Figure, Section, Target, of_rounds

_HOME: Final = Path(__file__).parent.parent
_BARE: Final = "pass"
_OPEN: Final = """
import asyncio, aiowery
async def main():
    async with aiowery.WeryAI("sk-none"):
        pass
asyncio.run(main())
"""
_STARTS: Final = {
    "`import aiowery`": "import aiowery",
    "`from aiowery.weryai import TextToImage`": "from aiowery.weryai import TextToImage",
    "`from aiowery import WeryAI`": "from aiowery import WeryAI",
    "the same, and a client created": "import aiowery; aiowery.WeryAI('sk-none')",
    "the same, and the client opened and closed": _OPEN,
    "`import aiowery.transport`": "import aiowery.transport",
    "`import httpx`": "import httpx",
    "`import httpx, httptools, aiohappyeyeballs`": "import httpx, httptools, aiohappyeyeballs",
}
_AIOWERY, _, _CLASS, _, _OPENED, _TRANSPORT, _HTTPX, _LIBRARIES = _STARTS
_BEYOND_LIBRARIES: Final = 10.0
_OPENING: Final = "the first client created, opened and closed"
_STALLS: Final = """
import asyncio, sys
from aiowery import PollPolicy, WeryAI
from aiowery.weryai import TextToImage
from benchmarks._stall_gauge import StallGauge

async def measure_stall(work):
    gauge = StallGauge()
    gauge.start()
    await asyncio.sleep(0.01)
    await work
    await asyncio.sleep(0.01)
    gauge.stop()
    print(1000 * gauge.worst)

async def main():
    await measure_stall(client.open())
    await measure_stall(client.run(TextToImage(prompt="a cat", extra={"bench_seconds": 0.05})))
    await client.aclose()

client = WeryAI("sk-none", base_url=sys.argv[1], polling=PollPolicy().faster(50))
asyncio.run(main())
"""
_LIST: Final = """
import sys
before = set(sys.modules)
import aiowery
tops = {name.partition('.')[0] for name in set(sys.modules) - before}
print(*sorted(top for top in tops if top not in sys.stdlib_module_names and not top.startswith('_')))
"""
_OPTIONAL: Final = ("httpx2", "rich", "cyclopts", "starlette", "uvicorn", "PIL", "pytest")
_EXPLANATIONS: tuple[Explanation, ...] = (
    Explanation(
        "`import aiowery`",
        "attrs takes half of it, aiowery's own values the rest (by `python -X importtime`). Whatever else runs on the"
        " machine slows the start of an interpreter.",
    ),
    Explanation(
        _OPENING,
        "Besides these libraries it loads about 70 modules of aiowery and SQLite, and starts and ends an event loop.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Start interpreters round-robin and compare their times."""
    rounds = 3 if quick else 15
    _round()  # compiles the modules that are not compiled yet
    bare, *starts = zip(*[_round() for _ in range(rounds)], strict=True)
    over_bare = {name: _differences(taken, bare) for name, taken in zip(_STARTS, starts, strict=True)}
    with FakeServer() as server:
        opening, first = zip(*[map(float, _run(_STALLS, server.url).split()) for _ in range(rounds)], strict=True)
    loaded = _run(_LIST).split()
    optional = [name for name in loaded if name in _OPTIONAL]
    return Section(
        "Import time",
        __doc__,
        (
            *(of_rounds(f"{name}, over bare Python", taken, "ms") for name, taken in over_bare.items()),
            *_compare(over_bare),
            of_rounds("bare Python", [1000 * seconds for seconds in bare], "ms"),
            of_rounds("longest stall of the event loop while the first client is opened", opening, "ms"),
            of_rounds("longest stall of the event loop during the first job", first, "ms"),
            Figure("optional packages loaded", len(optional), target=Target(0)),
        ),
        f"Third-party packages that `import aiowery` loads: {', '.join(loaded)}."
        f" Optional packages that were searched for: {', '.join(_OPTIONAL)}. httpx loads click, pygments and rich if"
        " they are installed, which is a good part of the time for creating a client.",
        _EXPLANATIONS,
    )


def _compare(over_bare: Mapping[str, Sequence[float]]) -> Iterable[Figure]:
    """Compare medians, because single starts differ by more than what is compared."""
    middle = {name: median(taken) for name, taken in over_bare.items()}
    libraries = middle[_LIBRARIES]
    beyond = middle[_TRANSPORT] - libraries
    opening, after_import = middle[_OPENED] - middle[_CLASS], middle[_OPENED] - middle[_AIOWERY]
    yield Figure(f"{_AIOWERY} / {_HTTPX}", middle[_AIOWERY] / middle[_HTTPX], target=Target(0.7))
    yield Figure(f"{_TRANSPORT}, more than {_LIBRARIES}", beyond, "ms", target=Target(_BEYOND_LIBRARIES))
    yield Figure(f"{_OPENING} / {_LIBRARIES}", opening / libraries, target=Target(1))
    yield Figure(f"all that comes after {_AIOWERY} / {_LIBRARIES}", after_import / libraries)


def _round() -> list[float]:
    """Return the seconds that bare Python takes, and those of each start."""
    return [_start(code) for code in (_BARE, *_STARTS.values())]


def _differences(starts: Iterable[float], bare: Iterable[float]) -> list[float]:
    return [1000 * (start - base) for start, base in zip(starts, bare, strict=True)]


def _start(code: str) -> float:
    """Return the seconds that an interpreter takes to run the code."""
    began = time.perf_counter()
    _run(code)
    return time.perf_counter() - began


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=_HOME, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603 - code of this module
    return run.stdout
