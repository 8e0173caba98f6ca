"""The HTTP face of the world: routes, authorization, envelopes."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from aiowery.sandbox._answer import Answer, Refused, not_found, parameter_error, success
from aiowery.sandbox._counters import RequestRecord
from aiowery.sandbox._delivery import deliver, request_id
from aiowery.sandbox._endpoints import ENDPOINTS
from aiowery.sandbox._faults import Call
from aiowery.sandbox._files import serve
from aiowery.sandbox._world import State

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive, Scope, Send

    from aiowery.sandbox._endpoints import Endpoint
    from aiowery.sandbox._faults import On, Script
    from aiowery.sandbox._gallery import Gallery
    from aiowery.sandbox._world import Task, World

LARGEST_BODY = 1_000_000
"""Bytes of a request body; more is answered with HTTP 413."""


@attrs.frozen
class Visit:
    """One request, read completely."""

    path: str
    id: str
    authorization: str
    headers: dict[str, str]
    base_url: str
    body: bytes


@attrs.frozen
class Application:
    """The ASGI application over one world. `closing` tells hanging answers that the server ends."""

    world: World
    script: Script
    gallery: Gallery
    keys: tuple[str, ...] | None
    closing: asyncio.Event

    def build(self) -> Starlette:
        """Make the application with all its routes."""
        submits = [
            self._route("POST", endpoint.path, "submit", partial(self._submit, endpoint)) for endpoint in ENDPOINTS
        ]
        reads = [
            self._route("GET", "/v1/generation/balance", "balance", self._balance),
            self._route("GET", "/v1/generation/batch/{id}/status", "batch", self._batch),
            self._route("GET", "/v1/generation/{id}/status", "status", self._status),
            self._route("GET", "/files/{id}.png", "file", self._file),
        ]
        return Starlette(routes=[*submits, *reads], exception_handlers={HTTPException: self._no_such_route})

    def _route(self, method: str, path: str, on: On, perform: Callable[[Visit], Awaitable[Answer]]) -> Route:
        return Route(path, _Operation(self, on, perform), methods=[method])

    async def _no_such_route(self, request: Request, exc: Exception) -> Response:
        self.world.counters.received(_record(request))
        http = exc.status_code if isinstance(exc, HTTPException) else 500
        answer = not_found(f"{request.method} {request.url.path} does not exist").answer
        return Response(answer.content, http, request_id(), media_type="application/json")

    async def answer(self, on: On, visit: Visit, perform: Callable[[Visit], Awaitable[Answer]]) -> Answer:
        """Answer a request: the world's part, and the part of the faults that strike it."""
        if on == "status":
            self.world.counters.polled(visit.id)
        call = self._call(on, visit)
        kinds = self.script.strike(call)
        for kind in kinds:
            instead = kind.before(call)
            if instead is not None:
                return instead
        try:
            answer = await perform(visit)
        except Refused as refusal:
            answer = refusal.answer
        for kind in kinds:
            answer = kind.after(answer)
        return answer

    def _call(self, on: On, visit: Visit) -> Call:
        tasks = self._tasks_of(on, visit.id)
        prompts = {task.order.prompt for task in tasks} if tasks else {_prompt(visit.body)}
        age = self.world.now - tasks[-1].accepted_at if tasks else None
        return Call(on, "\n".join([visit.path, *prompts]), age)

    def _tasks_of(self, on: On, id_: str) -> tuple[Task, ...]:
        if on == "batch":
            batch = self.world.batch(id_)
            return batch.tasks if batch else ()
        task = self.world.task(id_)
        return (task,) if task else ()

    async def _submit(self, endpoint: Endpoint, visit: Visit) -> Answer:
        self._authorize(visit)
        try:
            params = json.loads(visit.body)
        except ValueError:
            raise parameter_error("request body is not valid JSON") from None
        batch = self.world.submit(endpoint.read(params))
        return success({"batch_id": batch.id, "task_ids": [task.id for task in batch.tasks]})

    async def _status(self, visit: Visit) -> Answer:
        self._authorize(visit)
        task = self.world.task(visit.id)
        if task is None:
            raise not_found("task not exist")
        return success(self._report(task, visit))

    async def _batch(self, visit: Visit) -> Answer:
        self._authorize(visit)
        batch = self.world.batch(visit.id)
        if batch is None:
            raise not_found("batch not exist")
        return success([self._report(task, visit) for task in batch.tasks])

    async def _balance(self, visit: Visit) -> Answer:
        self._authorize(visit)
        return success(self.world.credits)

    async def _file(self, visit: Visit) -> Answer:
        task = self.world.task(visit.id)
        if task is None or task.state(self.world.now) is not State.SUCCESS:
            raise not_found("file not exist", http=404)
        content = await self.gallery.picture(task.order.prompt, task.index, task.order.aspect_ratio)
        return serve(content, "image/png", visit.headers)

    def _authorize(self, visit: Visit) -> None:
        scheme, _, key = visit.authorization.partition(" ")
        is_known = key.startswith("sk-") if self.keys is None else key in self.keys
        if scheme.lower() != "bearer" or not is_known:
            raise Refused(1002, "Authentication failed", http=401)

    def _report(self, task: Task, visit: Visit) -> dict[str, Any]:
        state = task.state(self.world.now)
        report: dict[str, Any] = {"task_id": task.id, "task_status": state}
        if state is State.SUCCESS:
            report |= {"images": [f"{visit.base_url}files/{task.id}.png"], "cost_credits": 1}
        elif state is State.FAILED:
            report |= {"msg": task.reason, "cost_credits": 0}
        return report


@attrs.frozen
class _Operation:
    """One route's ASGI application."""

    application: Application
    on: On
    perform: Callable[[Visit], Awaitable[Answer]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        counters = self.application.world.counters
        counters.received(_record(request))
        try:
            answer = await self.application.answer(self.on, await _read(request), self.perform)
        except Refused as refusal:
            answer = refusal.answer
        except ClientDisconnect:
            return
        counters.sent(answer)
        await deliver(answer, scope, receive, send, self.application.closing)


def _record(request: Request) -> RequestRecord:
    return RequestRecord(request.method, request.url.path, "authorization" in request.headers)


async def _read(request: Request) -> Visit:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Refused(1001, f"request body exceeds the limit of {LARGEST_BODY} bytes", http=413)
    return Visit(
        path=request.url.path,
        id=request.path_params.get("id", ""),
        authorization=request.headers.get("authorization", ""),
        headers=dict(request.headers),
        base_url=str(request.base_url),
        body=bytes(body),
    )


def _prompt(body: bytes) -> str:
    try:
        params = json.loads(body)
    except ValueError:
        return ""
    return str(params.get("prompt", "")) if isinstance(params, dict) else ""
