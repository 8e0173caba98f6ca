"""A local server that behaves like WeryAI, and like both editions of BetterWaifu, over a real socket.

    async with Sandbox(speed=100) as sandbox:
        client = WeryAI(sandbox.key, base_url=sandbox.url)

Install it with `pip install 'aiowery[sandbox]'`.

**WeryAI** is served at `sandbox.url`, with every endpoint: images, videos, music, voices, tools, podcasts, research,
chat, uploads and model listings. The sandbox keeps tasks, credits and durations as the service does:

- An image costs 1 credit and takes 5-15 seconds, a video 5 credits and 30-90 seconds. `speed` divides all durations.
- 20 tasks run at the same time. Further submissions are refused with code 6010.
- Invalid parameters are refused with the messages of the service: also models that are documented nowhere (code 1006),
  and aspect ratios, durations and numbers that a model's documentation excludes.
- Words for the state of a task, and codes of refusals, are in the dialect of `status_words` and `codes`.
- Images are PNG files drawn from the prompt, videos are MP4 files of such images, sounds are WAV files.
- When a task ends, its `webhook_url` receives a delivery if the URL is on this machine.

**BetterWaifu** is served at `sandbox.jobs_url` (jobs) and at `sandbox.url` (v1-images). One generation runs at a time
and takes 8-20 seconds. Until `cool_down` (60 seconds, divided by `speed`) has passed since the end or the start of
the last generation, the next job is refused with HTTP 429. `sandbox.betterwaifu` counts these refusals. Images are
WebP files (jobs) and PNG files (v1-images).

**Markers** in a prompt, in lyrics, in a podcast's lines or in the URL of a tool's input file control a task:

- `MODERATED`: the submission is refused with code 1005, at BetterWaifu with HTTP 400.
- `FAIL`: the task is accepted, then fails, and its credits are refunded.
- `SLOW`: the task takes ten times as long.
- `STUCK`: the task never ends. At BetterWaifu its slot is free again after ten minutes.

Requests that start no task (chat, image descriptions) react to `MODERATED` only.

**Hosts**: without a `host`, requests are refused whose `Host` or `Origin` is not this machine.

**Faults**: `sandbox.inject(Fault(faults.SERVER_ERROR, on="status"))` makes chosen requests or deliveries fail. The
module `faults` lists the fault behaviors.

`sandbox.weryai`, `sandbox.betterwaifu` and `sandbox.weryai.counters` contain the records for assertions.
"""

from __future__ import annotations

from aiowery._base.public_names import publish

try:
    from aiowery.sandbox import faults
    from aiowery.sandbox._betterwaifu.state import BetterWaifuState, Generation, GenerationStatus, Rejection
    from aiowery.sandbox._faults.script import Fault
    from aiowery.sandbox._server import Sandbox, run
    from aiowery.sandbox._tasks import FAIL, MODERATED, SLOW, STUCK, Batch, SandboxTaskState, Task
    from aiowery.sandbox._weryai.state import WeryAIState
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] not in {"PIL", "av", "python_multipart", "starlette", "uvicorn"}:
        raise
    raise ImportError(
        f"aiowery.sandbox needs {_error.name}, which is not installed; run: pip install 'aiowery[sandbox]'"
    ) from _error

__all__ = (
    "FAIL",
    "MODERATED",
    "SLOW",
    "STUCK",
    "Batch",
    "BetterWaifuState",
    "Fault",
    "Generation",
    "GenerationStatus",
    "Rejection",
    "Sandbox",
    "SandboxTaskState",
    "Task",
    "WeryAIState",
    "faults",
    "run",
)

publish(__name__)
