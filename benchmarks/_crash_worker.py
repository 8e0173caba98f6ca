"""A worker of the crash test: it runs all prompts through the service with one of three strategies.

`ledger` is a batch of aiowery. The other two are typical hand-written loops. `queue` stores that an item is done, and
starts it anew if that is not stored. `ids` stores each task id as soon as it is received, and continues to poll after
a restart. Both repeat what failed.
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

_CONCURRENT: Final = 16
_ATTEMPTS: Final = 20


async def with_ledger(url: str, store: Path, prompts: list[str]) -> None:
    """Stream the batch until all its requests are finished."""
    client = WeryAI(
        "sk-made-up",
        base_url=url,
        ledger=store,
        # Many responses are lost in this test, so the circuit breaker would pause submissions.
        limits=Limits(in_flight=_CONCURRENT, submissions=8, max_doubts=None),
        polling=PollPolicy(min_interval=0.1, max_interval=0.2, known_max_interval=0.1),
        retries=RetryPolicy(initial_backoff=0.05, max_backoff=0.2),
        http_timeout=1.0,
    )
    requests = [TextToImage(prompt=prompt) for prompt in prompts]
    async with client, client.stream(requests, batch="crashes") as outcomes:
        async for _ in outcomes:
            pass


class ByHand:
    """A typical hand-written loop, which stores its task ids in a file of JSON lines."""

    def __init__(self, url: str, store: Path, *, keeps_ids: bool) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=1.0)
        self._store = store
        self._keeps_ids = keeps_ids
        self._slots = asyncio.Semaphore(_CONCURRENT)
        store.touch()
        lines = [json.loads(line) for line in store.read_text().splitlines() if line.endswith("}")]
        self._known = {line["prompt"]: line["task_id"] for line in lines}

    async def run(self, prompts: list[str]) -> None:
        """Run all prompts."""
        async with self._http:
            await asyncio.gather(*map(self._run_one, prompts))

    async def _run_one(self, prompt: str) -> None:
        async with self._slots:
            for _ in range(_ATTEMPTS):
                try:
                    await self._generate(prompt)
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                else:
                    return

    async def _generate(self, prompt: str) -> None:
        task_id = self._known.get(prompt)
        if task_id is not None and not self._keeps_ids:
            return
        if task_id is None:
            task_id = (await self._request("POST", "/v1/generation/text-to-image", prompt))["task_ids"][0]
            if self._keeps_ids:
                self._store_id(prompt, task_id)
        while (await self._request("GET", f"/v1/generation/{task_id}/status"))["task_status"] != "SUCCESS":  # noqa: ASYNC110 - a typical hand-written loop
            await asyncio.sleep(0.1)
        if not self._keeps_ids:
            self._store_id(prompt, task_id)

    async def _request(self, method: str, path: str, prompt: str | None = None) -> Any:
        response = await self._http.request(method, path, json=None if prompt is None else {"prompt": prompt})
        response.raise_for_status()
        return response.json()["data"]

    def _store_id(self, prompt: str, task_id: str) -> None:
        self._known[prompt] = task_id
        with self._store.open("a") as lines:
            lines.write(json.dumps({"prompt": prompt, "task_id": task_id}) + "\n")
            lines.flush()
            os.fsync(lines.fileno())


def main(strategy: str, url: str, store: Path, count: int) -> None:
    """Run this number of prompts with a strategy."""
    prompts = [f"prompt {number}" for number in range(count)]
    if strategy == "ledger":
        asyncio.run(with_ledger(url, store, prompts))
    else:
        asyncio.run(ByHand(url, store, keeps_ids=strategy == "ids").run(prompts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
