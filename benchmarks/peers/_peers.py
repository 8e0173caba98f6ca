"""The peers: their packages, the API that is measured, and what puts each of them at a disadvantage here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

_HOME: Final = Path(__file__).parents[2]


@attrs.frozen
class Peer:
    """One library, or one loop written by hand.

    `requirements` are pinned as `name==version`. `packages` are those whose versions are reported. `api` is the call
    that is measured. `limitations`: what puts the peer at a disadvantage here, or what had to be changed to connect it
    to the fake server.
    """

    name: str
    module: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...]
    api: str
    limitations: str
    is_aiowery: bool = False
    threads: bool = False


HTTPX: Final = "httpx-gather"
HTTPX_POOLED: Final = "httpx-gather-pooled"
_THREE_SECONDS: Final = "Polls every 3 s. Any refusal or failed poll ends the job."

PEERS: Final = (
    Peer(
        "aiowery",
        "aiowery",
        (f"{_HOME}",),
        ("aiowery", "httptools", "httpx"),
        "`client.run`",
        "Gets `Limits(in_flight=...)` where more than 20 jobs run at the same time, because its default is WeryAI's own"
        " cap; not in the scenarios of 20 slots and of 20 requests/s. Polls every 3-5 s.",
        is_aiowery=True,
    ),
    Peer(
        "fal-client",
        "fal",
        ("fal-client==1.0.3",),
        ("fal-client", "httpx", "httpcore"),
        "`AsyncClient.subscribe` with `on_enqueue`",
        "Polls every 0.1 s by default, as its service allows, and fetches the result with one more request; no limit on"
        " jobs under way; 100 connections. The real service queues tasks instead of refusing them. An environment"
        " variable can set the host, but not plain HTTP: `fal_client.client.QUEUE_URL_FORMAT` is assigned.",
    ),
    Peer(
        "comfy-sdk",
        "comfy",
        ("comfy-sdk==0.5.0",),
        ("comfy-sdk", "httpx", "httpcore"),
        "`AsyncComfy.submit` and `AsyncJob.result`",
        "Polls after 0.5 s, then after pauses that grow by half up to 5 s; each poll returns the whole job, validated;"
        " 100 connections, and a timeout of 30 s for a free one; no limit on jobs under way. URL set by"
        " `COMFY_BASE_URL`, as documented.",
    ),
    Peer(
        "runwayml",
        "runway",
        ("runwayml==5.24.0",),
        ("runwayml", "httpx", "httpcore"),
        "`text_to_image.create` and `wait_for_task_output`",
        "Polls every 4.5-7.5 s; 100 connections, 20 of them kept alive; no limit on jobs under way. The real service"
        " queues tasks instead of refusing them. URL set by `base_url=`.",
    ),
    Peer(
        "openai",
        "openai",
        ("openai==3.57.0",),
        ("openai", "httpx2", "httpcore2"),
        "`videos.create_and_poll`",
        "Polls immediately, then every 1 s, because the server sets no other interval here; each poll returns the whole"
        " video; 1,000 connections, 100 of them kept alive; no limit on jobs under way; its caller gets the id only at"
        " the end. URL set by `base_url=`.",
    ),
    Peer(
        "replicate",
        "replicate_run",
        ("replicate==1.0.7",),
        ("replicate", "httpx", "httpcore"),
        "`async_run`",
        "Does not poll by default: the submission's connection stays open until the end (at most 60 s), 100 at the"
        " same time, and a job that waits more than 5 s for one fails; its caller never gets the id. URL set by"
        " `base_url=`.",
    ),
    Peer(
        "replicate-background",
        "replicate_wait",
        ("replicate==1.0.7",),
        ("replicate", "httpx", "httpcore"),
        "`predictions.async_create` and `async_wait`",
        "Polls every 0.5 s; each poll returns the whole prediction, validated; 100 connections, and a timeout of 10 s"
        " for a free one; no limit on jobs under way. URL set by `base_url=`.",
    ),
    Peer(
        "requests-threads",
        "requests_threads",
        ("requests==2.34.2",),
        ("requests", "urllib3"),
        "the loop of WeryAI's documentation, `time.sleep(3)`, a thread per job",
        f"A new connection for every request. {_THREE_SECONDS}",
        threads=True,
    ),
    Peer(
        HTTPX,
        "httpx_gather",
        ("httpx==0.28.1",),
        ("httpx", "httpcore"),
        "one `AsyncClient`, a coroutine per job, `asyncio.sleep(3)`",
        f"100 connections, 20 of them kept alive. {_THREE_SECONDS}",
    ),
    Peer(
        HTTPX_POOLED,
        "httpx_pooled",
        (f"{_HOME}",),
        ("aiowery", "httpx", "httptools"),
        "the same loop, with `AsyncClient(transport=aiowery.transport.PooledTransport())`",
        f"100 connections, 20 of them kept alive. {_THREE_SECONDS}",
    ),
    Peer(
        "aiohttp-gather",
        "aiohttp_gather",
        ("aiohttp==3.14.5",),
        ("aiohttp",),
        "one `ClientSession`, a coroutine per job, `asyncio.sleep(3)`",
        f"100 connections. {_THREE_SECONDS}",
    ),
)
