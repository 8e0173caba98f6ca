"""A worker of the storm: runs all prompts through the service, in one of three ways, and knows nothing of the storm.

`ledger` is a batch of aiowery's. The other two are what people write: `queue` marks an item as done once it is, and
starts it anew if that mark is missing; `ids` writes each task id down as soon as it has it, and polls on at restart.
Both repeat what failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import httpx

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.weryai import TextToImage

_AT_ONCE: Final = 16
_TRIES: Final = 20


async def with_ledger(url: str, store: Path, prompts: list[str]) -> None:
    """Stream the batch to its end."""
    client = WeryAI(
        "sk-made-up",
        base_url=url,
        ledger=store,
        # Answers are lost all the time here, so submissions would pause by themselves.
        limits=Limits(in_flight=_AT_ONCE, submissions=8, max_doubts=None),
        polling=PollPolicy(min_interval=0.1, max_interval=0.2, known_max_interval=0.1),
        retries=RetryPolicy(initial_backoff=0.05, max_backoff=0.2),
        http_timeout=1.0,
    )
    requests = [TextToImage(prompt=prompt) for prompt in prompts]
    async with client, client.stream(requests, batch="storm") as outcomes:
        async for _ in outcomes:
            pass


class ByHand:
    """The loop that people write, with a file of JSON lines for its memory."""

    def __init__(self, url: str, store: Path, *, keeps_ids: bool) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=1.0)
        self._store = store
        self._keeps_ids = keeps_ids
        self._slots = asyncio.Semaphore(_AT_ONCE)
        store.touch()
        lines = [json.loads(line) for line in store.read_text().splitlines() if line.endswith("}")]
        self._known = {line["prompt"]: line["task_id"] for line in lines}

    async def run(self, prompts: list[str]) -> None:
        """Run all prompts."""
        async with self._http:
            await asyncio.gather(*map(self._one, prompts))

    async def _one(self, prompt: str) -> None:
        async with self._slots:
            for _ in range(_TRIES):
                try:
                    await self._generated(prompt)
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def _generated(self, prompt: str) -> None:
        task_id = self._known.get(prompt)
        if task_id is not None and not self._keeps_ids:
            return
        if task_id is None:
            task_id = (await self._asked("POST", "/v1/generation/text-to-image", prompt))["task_ids"][0]
            if self._keeps_ids:
                self._remember(prompt, task_id)
        while (await self._asked("GET", f"/v1/generation/{task_id}/status"))["task_status"] != "SUCCESS":  # noqa: ASYNC110 - as people write it
            await asyncio.sleep(0.1)
        if not self._keeps_ids:
            self._remember(prompt, task_id)

    async def _asked(self, method: str, path: str, prompt: str | None = None) -> Any:
        answer = await self._http.request(method, path, json=None if prompt is None else {"prompt": prompt})
        answer.raise_for_status()
        return answer.json()["data"]

    def _remember(self, prompt: str, task_id: str) -> None:
        self._known[prompt] = task_id
        with self._store.open("a") as lines:
            lines.write(json.dumps({"prompt": prompt, "task_id": task_id}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())


def main(way: str, url: str, store: Path, count: int) -> None:
    """Run so many prompts."""
    prompts = [f"prompt {number}" for number in range(count)]
    if way == "ledger":
        asyncio.run(with_ledger(url, store, prompts))
    else:
        asyncio.run(ByHand(url, store, keeps_ids=way == "ids").run(prompts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
