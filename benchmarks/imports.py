"""Import time: fresh interpreters that import, make and open a client, beside `python -c pass`, in turns.

Compiled files are in place; figures are medians over the differences to the neighbouring start of bare Python. Each
row includes what it needs of those above: `import aiowery` brings our values, a request class its own module, the
client's class asyncio and its provider, the first client all that an open one needs (the HTTP library, the ledger),
opening it the event loop's part of anyio and the certificates.

The event loop's longest wait is how late a timer was at worst, while the first client is opened, and from the first
submission to its result, against the fake server: what loads as late as that makes everybody else wait.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from benchmarks._figures import Figure, Note, Section, Target, of_rounds
from benchmarks._server import FakeServer

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
    "the same and a client made": "import aiowery; aiowery.WeryAI('sk-none')",
    "the same, opened and closed": _OPEN,
}
_TARGETS: Final = {"`import aiowery`": Target(150)}
_WAITS: Final = """
import asyncio, sys
from aiowery import PollPolicy, WeryAI
from aiowery.weryai import TextToImage
from benchmarks._gauges import StallGauge

async def gauged(work):
    gauge = StallGauge()
    gauge.start()
    await asyncio.sleep(0.01)
    await work
    await asyncio.sleep(0.01)
    gauge.stop()
    print(1000 * gauge.worst)

async def main():
    await gauged(client.open())
    await gauged(client.run(TextToImage(prompt="a cat", extra={"bench_seconds": 0.05})))
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
_NOTES: tuple[Note, ...] = (
    Note(
        "`import aiowery`",
        "attrs takes half of it, our own values the rest (by `python -X importtime`), and starts of interpreters feel"
        " whatever else runs on the machine.",
    ),
)


def measure(*, quick: bool) -> Section:
    """Start interpreters in turns and compare."""
    rounds = 3 if quick else 15
    _round()  # compiles what is not compiled yet
    bare, *starts = zip(*[_round() for _ in range(rounds)], strict=True)
    with FakeServer() as server:
        opening, first = zip(*[map(float, _run(_WAITS, server.url).split()) for _ in range(rounds)], strict=True)
    loaded = _run(_LIST).split()
    optional = [name for name in loaded if name in _OPTIONAL]
    return Section(
        "Import time",
        __doc__,
        (
            *(
                of_rounds(f"{name}, over bare Python", _differences(taken, bare), "ms", target=_TARGETS.get(name))
                for name, taken in zip(_STARTS, starts, strict=True)
            ),
            of_rounds("bare Python", [1000 * seconds for seconds in bare], "ms"),
            of_rounds("longest wait of the event loop, the first client opened", opening, "ms"),
            of_rounds("longest wait of the event loop, the first job", first, "ms"),
            Figure("optional packages loaded", len(optional), target=Target(0)),
        ),
        f"Third-party packages that `import aiowery` loads: {', '.join(loaded)}."
        f" Optional ones looked for: {', '.join(_OPTIONAL)}. httpx loads click, pygments and rich by itself where they"
        " are installed, which is a good part of the client made.",
        _NOTES,
    )


def _round() -> list[float]:
    """Return the seconds that bare Python takes, and each of the starts."""
    return [_start(code) for code in (_BARE, *_STARTS.values())]


def _differences(ours: Iterable[float], bare: Iterable[float]) -> list[float]:
    return [1000 * (our - base) for our, base in zip(ours, bare, strict=True)]


def _start(code: str) -> float:
    """Return the seconds that an interpreter takes to run the code."""
    began = time.perf_counter()
    _run(code)
    return time.perf_counter() - began


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=_HOME, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603 - our own code
    return run.stdout
