"""One provider's API: each operation as a coroutine that sends the provider's request and decodes the response."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiowery._base.snapshot import Snapshot
from aiowery._core.messages import HttpRequest, HttpResponse
from aiowery._core.provider import Provider
from aiowery._core.request import Request
from aiowery._http.retry import Decode, RetryingClient, T
from aiowery.errors import AioweryError, ConfigurationError, NotFound


class ProviderApi:
    """The operations of one provider through one client; `read_gate` limits its concurrent free reads."""

    def __init__(self, provider: Provider, client: RetryingClient, read_gate: asyncio.Semaphore) -> None:
        self.provider: Provider = provider
        self.client: RetryingClient = client
        self._read_gate = read_gate

    async def status(self, task_id: str) -> Snapshot:
        """Return a task's status, requested once: the poll scheduler repeats status checks by itself."""
        return await self.client.send_once(
            self.provider.status_request(task_id), lambda response: self.provider.decode_status(response, task_id)
        )

    async def batch(self, provider_batch_id: str) -> Sequence[Snapshot] | None:
        """Return the statuses of all tasks of a provider batch, requested once.

        None if the provider has no such endpoint.
        """
        request = self.provider.batch_request(provider_batch_id)
        return None if request is None else await self.client.send_once(request, self.provider.decode_batch)

    async def read(self, request: HttpRequest, decode: Decode[T]) -> T:
        """Send a request that costs nothing, each attempt behind the gate of all reads."""
        return await self.client.send_idempotent(request, decode, self._read_gate)

    async def read_status(self, task_id: str) -> Snapshot:
        """Return a task's status like any read: repeated while that can help."""
        request = self.provider.status_request(task_id)
        return await self.read(request, lambda response: self.provider.decode_status(response, task_id))

    async def may_belong_to(self, request: Request[Any], task_id: str, sent_at: float) -> bool:
        """Return True if the task exists, and its status does not show that another request started it."""
        try:
            snapshot = await self.read_status(task_id)
        except (ConfigurationError, NotFound):
            return False
        return not self.provider.contradicts_request(request, snapshot, sent_at)

    async def liveness_fault(self) -> str | None:
        """Send the provider's cheapest free read; return the reason if the provider did not respond, else None."""
        request = self.provider.liveness_request()
        if request is None:
            return None

        def fault_in(response: HttpResponse) -> str | None:
            if self.provider.is_own_response(response):
                return None
            return f"{request.path}: HTTP {response.http_status} that is not the provider's own ({response.excerpt!r})"

        try:
            async with self._read_gate:
                return await self.client.send_once(request, fault_in)
        except AioweryError as error:
            return f"{request.path}: {error}"
