"""A local server that behaves like WeryAI, and like BetterWaifu in both editions, over a real socket.

    async with Sandbox(speed=100) as sandbox:
        client = WeryAI(sandbox.key, base_url=sandbox.url)

Every call is served: pictures, videos, music, voices, tools, podcasts, research, chat, uploads, registries. It keeps
tasks, credits and time as the service does: a picture costs one credit and takes 5-15 s (divided by `speed`), a video
five and 30-90 s, 20 tasks run at once, a bad parameter is refused. `Fault` brings misfortune to chosen calls,
`faults` lists the kinds. Marks in a prompt, in lyrics, in a podcast's lines or in the address of a tool's file decide
a task's fate: `MODERATED` (refused with 1005), `FAIL` (accepted, then FAILED, credit given back), `SLOW` (ten times
as long), `STUCK` (never ends); calls that answer at once know only `MODERATED`. Pictures are
PNG files drawn from the prompt, videos MP4 films of them, sounds WAV files. A `webhook_url` on this machine is called
when a task ends. Needs the extra: pip install 'aiowery[sandbox]'.

BetterWaifu is served at `sandbox.jobs_url` (jobs) and at `sandbox.url` (v1-images). One generation is made at a time,
in 8-20 s; the next job is refused with HTTP 429 until `cool_down` (60 s, divided by `speed`) has passed since the end,
or the start, of the last. `MODERATED` is refused with HTTP 400 there, and `STUCK` gives its place back after ten
minutes. `sandbox.studio` counts what came too early. Pictures are WebP (jobs) and PNG files.

    _server → _thread → _routes → _world        WeryAI: the world knows nothing of HTTP
                      → _studio_routes → _studio, _studio_models    BetterWaifu: neither does the studio
                      → _http                   requests and faults, for both
                      → _connection, _delivery  sockets, and rudeness on them
    _endpoints (_generation, _tools, _speech), _calls → _rules, _prices     parameters and orders
    _models                                     what there is to choose from
    _reports, _webhooks                         what is told of tasks, and to whom
    _gallery (_draw, _film, _sound, _uploads)   files
    faults, _faults                             values: what goes wrong, and when
"""

from __future__ import annotations

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
