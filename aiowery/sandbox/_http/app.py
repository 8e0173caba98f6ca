"""HTTP handling that both providers share: requests, routes, and the application of faults to responses."""

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

from aiowery.sandbox._http.counters import RequestRecord
from aiowery.sandbox._http.own_hosts import foreign_header
from aiowery.sandbox._http.write_response import request_id, write_response
from aiowery.sandbox._response import PlannedResponse, Refused, not_found

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from aiowery.sandbox._faults.script import FaultScript, FaultTarget, On
    from aiowery.sandbox._http.counters import Counters

    Handler = Callable[["IncomingRequest"], Awaitable[PlannedResponse]]

MAX_BODY_BYTES = 1_000_000
"""Largest request body in bytes. A larger one is refused with HTTP 413."""
_FORBIDDEN = 403
_PERMISSION_DENIED = 1009


@attrs.frozen
class IncomingRequest:
    """A request that has been read completely."""

    path: str
    id: str
    form: str
    query: dict[str, str]
    authorization: str
    headers: dict[str, str]
    base_url: str
    body: bytes

    def params(self) -> Any:
        """Decode the body, {} if it is empty. Raises ValueError if it is not JSON."""
        try:
            params = json.loads(self.body or b"{}", parse_constant=_no_constant)
            # Encoding finds lone surrogates.
            json.dumps(params, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("the JSON body is nested too deeply") from None
        return params


class ProviderFacade(Protocol):
    """HTTP interface of one provider: its routes and its error format."""

    path_prefix: ClassVar[str]
    """Common prefix of its paths."""

    def routes(self) -> list[Route]:
        """Return all its routes."""

    def describe_target(self, on: On, request: IncomingRequest) -> FaultTarget:
        """Describe a request for the faults."""

    def refusal_body(self, refused: Refused, http: int) -> Any:
        """Return the body of a refusal in the provider's format."""

    def in_dialect(self, refused: Refused) -> Refused:
        """Return a refusal of the provider's own with the code of the chosen dialect. Faults keep their codes."""


@attrs.frozen
class SandboxApp:
    """Application that receives the requests of all providers. `closing` ends hanging responses on shutdown.

    With `own_hosts` it refuses requests that name another host than this machine, or come from a page of one.
    """

    script: FaultScript
    counters: Counters
    keys: tuple[str, ...] | None
    closing: asyncio.Event
    own_hosts: bool = True

    def asgi_app(self, *facades: ProviderFacade) -> ASGIApp:
        """Return the ASGI application. The first facade whose prefix fits refuses a path without a route."""
        routes = [route for facade in facades for route in facade.routes()]
        app = Starlette(routes=routes, exception_handlers={HTTPException: partial(self._no_such_route, facades)})
        return _OwnHosts(self, app, facades) if self.own_hosts else app

    def route(
        self,
        facade: ProviderFacade,
        method: str,
        path: str,
        on: On,
        handler: Handler,
        *,
        max_bytes: int = MAX_BODY_BYTES,
    ) -> Route:
        """Return a route that counts its requests, applies faults, and responds with the result of `handler`."""
        return Route(path, _RouteApp(self, facade, on, handler, max_bytes), methods=[method])

    def is_authorized(self, request: IncomingRequest, *prefixes: str) -> bool:
        """Return True if the request has an accepted key.

        If no keys are configured, every key with one of the prefixes is accepted.
        """
        scheme, _, key = request.authorization.partition(" ")
        is_known = key.startswith(prefixes) if self.keys is None else key in self.keys
        return scheme.lower() == "bearer" and is_known

    async def _no_such_route(self, facades: Sequence[ProviderFacade], request: Request, exc: Exception) -> Response:
        http = exc.status_code if isinstance(exc, HTTPException) else 500
        path = request.scope["path"]
        return self.refuse(facades, request, not_found(f"{request.method} {path} does not exist", http=http))

    def refuse(self, facades: Sequence[ProviderFacade], request: Request, refused: Refused) -> Response:
        """Return the refusal of a request that reaches no route."""
        self.counters.record_request(_record(request))
        path = request.scope["path"]
        facade = next((facade for facade in facades if path.startswith(facade.path_prefix)), facades[-1])
        response = _in_provider_shape(facade, refused.response)
        return Response(response.content, response.http, request_id(), media_type="application/json")


@attrs.frozen
class _OwnHosts:
    """ASGI application that passes on the requests of this machine, and refuses those of other sites."""

    app: SandboxApp
    routes: Starlette
    facades: Sequence[ProviderFacade]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        foreign = foreign_header(scope["headers"]) if scope["type"] == "http" else None
        if foreign is None:
            await self.routes(scope, receive, send)
            return
        text = f"{foreign} is not this machine; aiowery sandbox --host, or Sandbox(host=...), serves other hosts too"
        refused = Refused(_PERMISSION_DENIED, text, http=_FORBIDDEN)
        response = self.app.refuse(self.facades, Request(scope, receive), refused)
        await response(scope, receive, send)


@attrs.frozen
class _RouteApp:
    """ASGI application of one route."""

    app: SandboxApp
    facade: ProviderFacade
    on: On
    handler: Handler
    max_bytes: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        counters = self.app.counters
        counters.record_request(_record(request))
        try:
            response = await self._respond(await _read(request, self.max_bytes))
        except Refused as refused:
            response = _in_provider_shape(self.facade, self.facade.in_dialect(refused).response)
        except ClientDisconnect:
            return
        counters.record_response(response)
        await write_response(response, scope, receive, send, self.app.closing)

    async def _respond(self, request: IncomingRequest) -> PlannedResponse:
        """Return the response of the handler after all faults that apply to the request."""
        if self.on == "status":
            self.app.counters.record_poll(request.id)
        target = self.facade.describe_target(self.on, request)
        kinds = self.app.script.apply(target)
        for kind in kinds:
            replacement = kind.intercept(target)
            if replacement is not None:
                return _in_provider_shape(self.facade, replacement)
        try:
            response = await self.handler(request)
        except Refused as refused:
            response = self.facade.in_dialect(refused).response
        response = _in_provider_shape(self.facade, response)
        for kind in kinds:
            response = _in_provider_shape(self.facade, kind.alter_response(response))
        return response


def _in_provider_shape(facade: ProviderFacade, response: PlannedResponse) -> PlannedResponse:
    """Convert a refusal into the provider's format. Every other response stays unchanged."""
    if not isinstance(response.body, Refused):
        return response
    return attrs.evolve(response, body=facade.refusal_body(response.body, response.http))


def _record(request: Request) -> RequestRecord:
    return RequestRecord(request.method, request.scope["path"], "authorization" in request.headers)


async def _read(request: Request, max_bytes: int) -> IncomingRequest:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise Refused(1001, f"request body exceeds the limit of {max_bytes} bytes", http=413)
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
    """Refuse NaN and infinities, which Python accepts although they are not valid JSON."""
    raise ValueError(name)
