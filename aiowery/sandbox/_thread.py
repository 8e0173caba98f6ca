"""One run of the server: a thread with an event loop and uvicorn in it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING

import attrs
import uvicorn

from aiowery.sandbox._betterwaifu.routes import ImagesFacade, JobsFacade
from aiowery.sandbox._http.app import SandboxApp
from aiowery.sandbox._http.connection import counting_connection
from aiowery.sandbox._http.prompt_server import PromptServer
from aiowery.sandbox._weryai.routes import WeryAIFacade
from aiowery.sandbox._weryai.webhooks import WebhookSender

if TYPE_CHECKING:
    import socket

    from aiowery.sandbox._betterwaifu.state import BetterWaifuState
    from aiowery.sandbox._faults.script import FaultScript
    from aiowery.sandbox._http.connection import Connection
    from aiowery.sandbox._media.gallery import Gallery
    from aiowery.sandbox._weryai.dialect import Dialect
    from aiowery.sandbox._weryai.state import WeryAIState

_LOOPBACK = "127.0.0.1"
_ALL_ADDRESSES = {"0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104 - compared with
_KEEP_ALIVE_SECONDS = 75
_SHUTDOWN_TIMEOUT = 0.5


@attrs.define(eq=False)
class ServerThread:
    """A thread that serves from `start` to `stop`. `started` receives the base URL, or the error that prevented it.

    Without a `host` it listens on loopback, and serves requests of this machine only.
    """

    weryai: WeryAIState
    betterwaifu: BetterWaifuState
    script: FaultScript
    gallery: Gallery
    keys: tuple[str, ...] | None
    dialect: Dialect
    host: str | None
    port: int
    started: concurrent.futures.Future[str] = attrs.field(init=False, factory=concurrent.futures.Future)
    _thread: threading.Thread = attrs.field(init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(init=False)
    _closing: asyncio.Event = attrs.field(init=False)
    _webhook_sender: WebhookSender = attrs.field(init=False)

    def start(self) -> None:
        """Start the thread without waiting for the server."""
        self._thread = threading.Thread(target=self._main, name="aiowery-sandbox", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True while the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Request the end of the server as soon as it has started. Does not wait for it."""
        self.started.add_done_callback(self._close)

    def _close(self, started: concurrent.futures.Future[str]) -> None:
        if started.exception() is None:
            self._loop.call_soon_threadsafe(self._closing.set)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self.started.done():
                raise
            self.started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._webhook_sender = WebhookSender(self.weryai, self.script, self.dialect)
        listeners = await self._listeners()
        connections: set[Connection] = set()
        server = self._server(connections)
        serving = asyncio.create_task(server.serve(sockets=listeners))
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has a flag, not an event
            await asyncio.sleep(0.002)
        self.started.set_result(_url_of(*listeners[0].getsockname()[:2]))
        await self._closing.wait()
        await self._webhook_sender.aclose()
        server.end()
        await asyncio.wait({serving}, timeout=_SHUTDOWN_TIMEOUT)
        # uvicorn would wait for a peer that does not read its response.
        for connection in connections.copy():
            connection.reset()
        await serving

    async def _listeners(self) -> list[socket.socket]:
        """Bind the address through asyncio, which sets address reuse and binds both IP families."""
        binder = await asyncio.get_running_loop().create_server(
            asyncio.Protocol, self.host or _LOOPBACK, self.port, start_serving=False
        )
        try:
            return [sock.dup() for sock in binder.sockets]
        finally:
            binder.close()

    def _server(self, connections: set[Connection]) -> PromptServer:
        app = SandboxApp(self.script, self.weryai.counters, self.keys, self._closing, own_hosts=self.host is None)
        application = app.asgi_app(
            JobsFacade(app, self.betterwaifu, self.gallery),
            ImagesFacade(app, self.betterwaifu),
            WeryAIFacade(app, self.weryai, self.gallery, self._webhook_sender, self.dialect),
        )
        config = uvicorn.Config(
            application,
            http=counting_connection(self.weryai.counters, connections),
            ws="none",
            lifespan="off",
            log_config=None,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        return PromptServer(config)


def _url_of(host: str, port: int) -> str:
    """Return the base URL for an address. A server on all addresses is reached over loopback."""
    reached = _ALL_ADDRESSES.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
