"""The HTTP that all providers share: requests, what faults do to their answers, routes."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import attrs
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from aiowery.sandbox._answer import Answer, Refused, not_found
from aiowery.sandbox._http.counters import RequestRecord
from aiowery.sandbox._http.write_answer import deliver, request_id

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from aiowery.sandbox._faults.script import FaultCall, FaultScript, On
    from aiowery.sandbox._http.counters import Counters

    Perform = Callable[["IncomingRequest"], Awaitable[Answer]]

LARGEST_BODY = 1_000_000
"""Bytes of a request body; more is answered with HTTP 413."""


@attrs.frozen
class IncomingRequest:
    """One request, read completely."""

    path: str
    id: str
    form: str
    query: dict[str, str]
    authorization: str
    headers: dict[str, str]
    base_url: str
    body: bytes

    def params(self) -> Any:
        """Decode the body, {} where there is none. Raises ValueError when it is not JSON."""
        try:
            params = json.loads(self.body or b"{}", parse_constant=_no_constant)
            # Half a surrogate pair is found by writing it.
            json.dumps(params, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("JSON without a bottom") from None
        return params


class ProviderFacade(Protocol):
    """One provider as HTTP shows it: routes and words."""

    path_prefix: ClassVar[str]
    """How its paths begin."""

    def routes(self) -> list[Route]:
        """Make all its routes."""

    def describe_call(self, on: On, visit: IncomingRequest) -> FaultCall:
        """Tell faults what a request is about."""

    def refusal_body(self, refused: Refused, http: int) -> Any:
        """Put a refusal into the provider's shape."""


@attrs.frozen
class SandboxApp:
    """Where requests arrive. `closing` tells hanging answers that the server ends."""

    script: FaultScript
    counters: Counters
    keys: tuple[str, ...] | None
    closing: asyncio.Event

    def application(self, *faces: ProviderFacade) -> Starlette:
        """Make the ASGI application; a path without a route is refused by the first face whose home it is in."""
        routes = [route for face in faces for route in face.routes()]
        return Starlette(routes=routes, exception_handlers={HTTPException: partial(self._no_such_route, faces)})

    def route(
        self, face: ProviderFacade, method: str, path: str, on: On, perform: Perform, *, largest: int = LARGEST_BODY
    ) -> Route:
        """Make a route whose requests are counted, struck by faults, and answered by `perform`."""
        return Route(path, _Operation(self, face, on, perform, largest), methods=[method])

    def knows(self, visit: IncomingRequest, *beginnings: str) -> bool:
        """Tell whether the visit shows an accepted key; where none are named, one with such a beginning."""
        scheme, _, key = visit.authorization.partition(" ")
        is_known = key.startswith(beginnings) if self.keys is None else key in self.keys
        return scheme.lower() == "bearer" and is_known

    async def _no_such_route(self, faces: Sequence[ProviderFacade], request: Request, exc: Exception) -> Response:
        self.counters.received(_record(request))
        http = exc.status_code if isinstance(exc, HTTPException) else 500
        refused = not_found(f"{request.method} {request.url.path} does not exist", http=http)
        face = next(face for face in faces if request.url.path.startswith(face.path_prefix))
        answer = _in_provider_shape(face, refused.answer)
        return Response(answer.content, answer.http, request_id(), media_type="application/json")


@attrs.frozen
class _Operation:
    """One route's ASGI application."""

    desk: SandboxApp
    face: ProviderFacade
    on: On
    perform: Perform
    largest: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        counters = self.desk.counters
        counters.received(_record(request))
        try:
            answer = await self._answer(await _read(request, self.largest))
        except Refused as refused:
            answer = _in_provider_shape(self.face, refused.answer)
        except ClientDisconnect:
            return
        counters.sent(answer)
        await deliver(answer, scope, receive, send, self.desk.closing)

    async def _answer(self, visit: IncomingRequest) -> Answer:
        """Answer a request: the world's part, and the part of the faults that strike it."""
        if self.on == "status":
            self.desk.counters.polled(visit.id)
        call = self.face.describe_call(self.on, visit)
        kinds = self.desk.script.apply(call)
        for kind in kinds:
            instead = kind.before(call)
            if instead is not None:
                return _in_provider_shape(self.face, instead)
        try:
            answer = await self.perform(visit)
        except Refused as refused:
            answer = refused.answer
        answer = _in_provider_shape(self.face, answer)
        for kind in kinds:
            answer = _in_provider_shape(self.face, kind.after(answer))
        return answer


def _in_provider_shape(face: ProviderFacade, answer: Answer) -> Answer:
    """Let a face put a refusal into its words; every other answer stays as it is."""
    if not isinstance(answer.body, Refused):
        return answer
    return attrs.evolve(answer, body=face.refusal_body(answer.body, answer.http))


def _record(request: Request) -> RequestRecord:
    return RequestRecord(request.method, request.url.path, "authorization" in request.headers)


async def _read(request: Request, largest: int) -> IncomingRequest:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            raise Refused(1001, f"request body exceeds the limit of {largest} bytes", http=413)
    return IncomingRequest(
        path=request.url.path,
        id=request.path_params.get("id", ""),
        form=request.path_params.get("form", ""),
        query=dict(request.query_params),
        authorization=request.headers.get("authorization", ""),
        headers=dict(request.headers),
        base_url=str(request.base_url),
        body=bytes(body),
    )


def _no_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python takes for JSON and nobody else does."""
    raise ValueError(name)
