"""Requests go over the pools, or over httpx where a mock is active or the environment asks for it."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import errno
import functools
import inspect
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import httpx
import pytest
import respx

from aiowery._core.messages import HttpRequest, MultipartForm
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.mocks import is_mocked
from aiowery._http.router import TransportRouter
from aiowery.errors import ConfigurationError, NoAnswer, NotSent
from tests.support import KEY, http_client_to, http_response, peer

pytestmark = pytest.mark.anyio
GET = HttpRequest("GET", "/x")


def client_to(url: str, http: Any = None) -> contextlib.AbstractAsyncContextManager[HttpClient]:
    """Open a client of the default transport."""
    return http_client_to(url, http, timeout=1.0)


def transport_method_replaced() -> contextlib.AbstractContextManager[Any]:
    """Replace the transport's method by another, as pytest-httpx does."""

    async def respond(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        del request
        return httpx.Response(200, json=MOCKED)

    return mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", respond)


def transport_method_wrapped() -> contextlib.AbstractContextManager[Any]:
    """Replace the transport's method by one that looks like it, as vcr does."""
    real = httpx.AsyncHTTPTransport.handle_async_request

    @functools.wraps(real)
    async def respond(*_: Any) -> httpx.Response:
        return httpx.Response(200, json=MOCKED)

    return mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", respond)


def client_method_replaced() -> contextlib.AbstractContextManager[Any]:
    """Replace the client's method below its redirects, as earlier releases of vcr do."""

    async def respond(_: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=MOCKED, request=request)

    return mock.patch.object(httpx.AsyncClient, "_send_single_request", respond)


def transport_chosen() -> contextlib.AbstractContextManager[Any]:
    """Replace the choice of the transport, as pook does."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=MOCKED))

    def choose(*_: Any) -> httpx.AsyncBaseTransport:
        return transport

    return mock.patch.object(httpx.AsyncClient, "_transport_for_url", choose)


def routed(using: str) -> contextlib.AbstractContextManager[Any]:
    """Activate respx, in one of the places that it can patch."""
    router = respx.mock(assert_all_called=False, using=using)
    router.route().respond(json=MOCKED)
    return router


MOCKED: Final = {"from": "mock"}
MOCKS: Final[Mapping[str, Callable[[], contextlib.AbstractContextManager[Any]]]] = {
    "respx": functools.partial(routed, "httpcore"),
    "respx using httpx": functools.partial(routed, "httpx"),
    "pytest-httpx": transport_method_replaced,
    "vcr": transport_method_wrapped,
    "vcr before 7": client_method_replaced,
    "pook": transport_chosen,
}
"""What mocks replace, by the name of the mock."""


async def send_each_kind(client: HttpClient, url: str) -> list[Any]:
    """Send a paid POST, a status check and a download, and return what comes back."""
    marked: list[bool] = []

    async def before_send() -> None:
        marked.append(True)

    paid = await client.send(HttpRequest("POST", "/paid", b"{}"), before_send)
    assert marked == [True]
    async with client.download(f"{url}/x.png", {}) as body:
        content = b"".join([chunk async for chunk in body.chunks()])
    return [paid.json(), (await client.send(GET)).json(), json.loads(content)]


@pytest.mark.parametrize("opened", ["before", "after"])
@pytest.mark.parametrize("name", MOCKS)
async def test_mock_receives_every_request(name: str, opened: str) -> None:
    """While a mock is active no request reaches the network, whether the client was opened before it or after."""
    network = {"from": "network"}
    async with peer(http_response(network)) as server, contextlib.AsyncExitStack() as stack:
        if opened == "before":
            client = await stack.enter_async_context(client_to(server.url))
            assert await send_each_kind(client, server.url) == [network] * 3
        with MOCKS[name]():
            assert is_mocked()
            if opened == "after":
                client = await stack.enter_async_context(client_to(server.url))
            assert await send_each_kind(client, server.url) == [MOCKED] * 3
        assert not is_mocked()
        assert len(server.requests) == (3 if opened == "before" else 0)
        assert await send_each_kind(client, server.url) == [network] * 3


@pytest.mark.parametrize("http", [None, "httpx", httpx.AsyncClient], ids=["own", "httpx", "caller's"])
async def test_paid_post_that_a_mock_answers_or_breaks_is_marked(http: Any) -> None:
    """A mock reports no first byte; the mark is stored before it answers, or a doubt would have none."""
    opened = http() if callable(http) else http
    marks: list[str] = []

    async def before_send() -> None:
        marks.append("sending")

    async with client_to("https://api.example.com", opened) as client:
        with respx.mock() as router:
            router.post("https://api.example.com/paid").mock(
                side_effect=[httpx.Response(200, json=MOCKED), httpx.ReadTimeout("late"), httpx.ConnectError("no")]
            )
            await client.send(HttpRequest("POST", "/paid", b"{}"), before_send)
            assert marks == ["sending"]
            for error in (NoAnswer, NotSent):
                with pytest.raises(error):
                    await client.send(HttpRequest("POST", "/paid", b"{}"), before_send)
    assert marks == ["sending"] * 3
    if opened is not None and opened != "httpx":
        await opened.aclose()


CELLS: Final = (
    """
import respx
from aiowery import Asset, RetryPolicy, WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage
client = await WeryAI("sk-made-up", base_url=url, retries=RetryPolicy(max_attempts=1)).__aenter__()
""",
    """
router = respx.mock(assert_all_called=False)
router.start()
router.route().respond(json={"status": 1001, "desc": "no", "message": "no", "data": None})
""",
    """
for sending in (
    client.submit(TextToImage(prompt="a cat")), client.status("task"), client.fetch(Asset(url + "/x.png"))
):
    try:
        print(await sending)
    except AioweryError as error:
        errors.append(error)
""",
    """
await client.aclose()
router.stop()
""",
)
"""A notebook's cells: they run one after the other in an event loop that is running, and share their names."""


async def test_mock_in_a_notebook_receives_every_request() -> None:
    """Cells that are executed in a running loop, without any test runner, send nothing while a mock is active."""
    async with peer(http_response({})) as server:
        names: dict[str, Any] = {"url": server.url, "errors": []}
        for cell in CELLS:
            code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            running = eval(code, names)  # noqa: S307 - as a notebook does
            if inspect.iscoroutine(running):
                await running
    assert len(names["errors"]) == 3
    assert (server.requests, server.connections) == ([], 0)


MOCKED_BEFORE_THE_FIRST_CLIENT: Final = """
import asyncio, sys
import httpx

async def respond(self, request):
    return httpx.Response(200, json={{"status": 0, "data": 41}})

{patch}

from aiowery import WeryAI

async def main():
    async with WeryAI("sk-made-up", base_url="http://127.0.0.1:9") as client:
        print(await client.balance())

asyncio.run(main())
"""


@pytest.mark.slow("processes of their own")
@pytest.mark.parametrize(
    "patch",
    [
        "httpx.AsyncHTTPTransport.handle_async_request = respond",
        "httpx.AsyncClient._send_single_request = respond",
        "httpx.AsyncClient._transport_for_url = lambda *_: httpx.MockTransport(lambda _: respond(None, _))",
    ],
    ids=["pytest-httpx", "vcr", "pook"],
)
def test_mock_before_the_first_client_receives_its_requests(patch: str) -> None:
    """A mock that is active before the package has loaded its HTTP layer is found too."""
    code = MOCKED_BEFORE_THE_FIRST_CLIENT.format(patch=patch)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "41" in ended.stdout, ended.stderr


@pytest.mark.parametrize(("http", "variable"), [("httpx", None), (None, "httpx")])
async def test_httpx_is_the_way_back(http: str | None, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`http="httpx"` and AIOWERY_HTTP=httpx send everything over httpx's own connections."""
    if variable is not None:
        monkeypatch.setenv("AIOWERY_HTTP", variable)
    async with peer(http_response({"a": 1})) as server, client_to(server.url, http) as client:
        assert (await client.send(GET)).json() == {"a": 1}
        transport = client._transport
        assert isinstance(transport, TransportRouter)
        assert list(transport._over_httpx) == [(None, False)]


async def test_clients_of_one_loop_share_connections() -> None:
    """A second client to the same server uses the connection that the first has left."""
    async with peer(http_response({"a": 1})) as server:
        async with client_to(server.url) as first, client_to(server.url) as second:
            for client in (first, second, first):
                assert (await client.send(GET)).json() == {"a": 1}
    assert server.connections == 1


async def test_many_clients_in_bursts_open_at_most_64_connections() -> None:
    """The connections of a burst rest until the next one: 40 clients with 5 requests at once open 64, once."""
    async with peer(http_response({})) as server, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_to(server.url)) for _ in range(40)]
        for _ in range(3):
            await asyncio.gather(*(client.send(GET) for client in clients for _ in range(5)))
        assert len(server.requests) == 600
        assert server.connections == 64


async def test_closing_one_client_leaves_the_others_alone() -> None:
    """The pools are closed with their last client; a client that opens later gets new ones."""
    async with peer(http_response({"a": 1})) as server:
        async with client_to(server.url) as kept:
            async with client_to(server.url) as other:
                await other.send(GET)
            assert (await kept.send(GET)).json() == {"a": 1}
        async with client_to(server.url) as later:
            assert (await later.send(GET)).json() == {"a": 1}
    assert server.connections == 2


UPLOAD: Final = HttpRequest("POST", "/up", form=MultipartForm(filename="a.png", content=b"x", content_type="image/png"))


async def downloaded(client: HttpClient, url: str) -> bytes:
    """Return the body of a download."""
    async with client.download(url, {}) as response:
        return b"".join([chunk async for chunk in response.chunks()])


@pytest.mark.parametrize("http", [None, "httpx"])
@pytest.mark.parametrize("no_proxy", ["", "name.invalid", "*", ".invalid:443"])
async def test_every_request_obeys_the_environments_proxies(
    http: str | None, no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests, uploads and downloads go through the proxy, unless NO_PROXY names the host, or it is loopback."""
    async with peer(http_response("", "403 Forbidden")) as proxy, peer(http_response({"via": "direct"})) as server:
        for name in ("HTTP_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy)
        async with client_to(server.url, http) as client:
            for request in (GET, UPLOAD):
                assert (await client.send(request)).json() == {"via": "direct"}
            assert await downloaded(client, server.url) == b'{"via": "direct"}'
            for url in ("https://name.invalid/x", "https://other.example/x") if not no_proxy else ():
                with pytest.raises(NotSent):
                    await downloaded(client, url)
        assert len(proxy.requests) == (0 if no_proxy else 2)
        async with client_to("https://name.invalid", http) as client:
            for request in (GET, UPLOAD):
                with pytest.raises(NotSent):
                    await client.send(request)
        assert len(proxy.requests) == (0 if no_proxy else 4)


@pytest.mark.parametrize("http", [None, "httpx"])
@pytest.mark.parametrize("response", [None, http_response("", "407 Proxy Authentication Required")])
async def test_password_of_the_proxy_reaches_the_proxy_alone(
    http: str | None, response: bytes | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The credentials in the proxy's URL are sent to it, and are in no error, log or representation."""
    caplog.set_level(0)
    async with peer(response) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//alice:open%20sesame@"))
        async with client_to("https://name.invalid", http) as client:
            with pytest.raises((NotSent, NoAnswer)) as caught:
                await client.send(GET)
            told = repr(client) + repr(vars(client._transport)) + repr(client._transport)
    assert base64.b64encode(b"alice:open sesame") in proxy.requests[0]
    told += caplog.text + "".join(traceback.format_exception(caught.value))
    for secret in ("sesame", base64.b64encode(b"alice:open sesame").decode()):
        assert secret not in told


@pytest.mark.parametrize(
    ("http", "proxy"), [(None, "socks4"), ("httpx", "socks4"), (None, "socks5"), ("httpx", "socks5h")]
)
async def test_proxy_that_cannot_be_used_names_its_variable(
    http: str | None, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of another kind, or one that needs a further package, is not ignored silently."""
    monkeypatch.setenv("ALL_PROXY", f"{proxy}://alice:sesame@127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    async with client_to("https://api.example.com", http) as client:
        with pytest.raises(ConfigurationError, match=r"^ALL_PROXY (must be|names a SOCKS).*nothing was sent") as caught:
            await client.send(GET)
    assert "sesame" not in "".join(traceback.format_exception(caught.value))


async def test_windows_sends_over_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the pools have not been seen to work yet; nothing needs to be chosen."""
    monkeypatch.setattr("aiowery._http.router.sys", SimpleNamespace(platform="win32", modules=sys.modules))
    async with peer(http_response({"a": 1})) as server, client_to(server.url) as client:
        assert (await client.send(GET)).json() == {"a": 1}
        assert list(getattr(client._transport, "_over_httpx", ())) == [(None, False)]


@pytest.mark.parametrize("http", [None, "httpx"])
async def test_router_closed_twice_is_closed_once(http: str | None) -> None:
    """The second close does nothing: another client's connections stay open."""
    async with peer(http_response({"a": 1})) as server, client_to(server.url) as kept:
        async with client_to(server.url, http) as client:
            await client.send(GET)
            for _ in range(2):
                await client._transport.aclose()
        assert (await kept.send(GET)).json() == {"a": 1}


async def test_client_closed_while_its_certificates_are_read_raises_not_sent() -> None:
    """A transport of httpx's own that was ordered before the close is not opened after it."""
    client = await HttpClient.open("https://127.0.0.1:1", ApiKeySource(KEY), connections=1, timeout=1.0, http="httpx")
    sending = asyncio.create_task(client.send(GET))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(NotSent, match="closed"):
        await sending


async def test_router_no_file_left_for_certificates_raises_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's lack of files is no mistake of the settings, and nothing was sent."""

    async def fail(**_: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("aiowery._http.router.load_context", fail)
    async with client_to("https://127.0.0.1:1", "httpx") as client:
        with pytest.raises(NotSent, match="nothing was sent"):
            await client.send(GET)


async def test_router_remembers_a_limited_number_of_hosts() -> None:
    """Downloads from hundreds of hosts leave no entry for each."""
    with respx.mock(assert_all_called=False) as router:
        router.route().respond(content=b"file")
        async with client_to("https://api.example.com") as client:
            for number in range(200):
                assert await downloaded(client, f"https://{number}.example.com/x.png") == b"file"
            assert isinstance(client._transport, TransportRouter)
            assert len(client._transport._proxies) <= 64
