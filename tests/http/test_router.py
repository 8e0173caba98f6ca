"""Requests go over the pools, or over httpx where a mock is active or the environment asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from unittest import mock

import httpx
import pytest
import respx

from aiowery._core.messages import HttpRequest
from aiowery._http.api_key import ApiKeySource
from aiowery._http.http_client import HttpClient
from aiowery._http.router import TransportRouter, environment_proxy, is_mocked
from tests.support import KEY, http_response, peer

pytestmark = pytest.mark.anyio
GET = HttpRequest("GET", "/x")


@asynccontextmanager
async def client_to(url: str, http: Any = None) -> AsyncIterator[HttpClient]:
    """Open a client of the default transport."""
    client = await HttpClient.open(url, ApiKeySource(KEY), connections=4, timeout=1.0, http=http)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.mark.parametrize("opened", ["before", "inside"])
async def test_respx_mock_receives_every_request(opened: str) -> None:
    """While respx is active nothing reaches the network, whether the client was opened before it or after."""
    async with peer(http_response({"from": "network"})) as server:
        router = respx.mock(assert_all_called=False)
        if opened == "before":
            async with client_to(server.url) as client:
                assert (await client.send(GET)).json() == {"from": "network"}
                with router:
                    router.get(f"{server.url}/x").respond(json={"from": "mock"})
                    assert (await client.send(GET)).json() == {"from": "mock"}
                assert (await client.send(GET)).json() == {"from": "network"}
        else:
            with router:
                router.get(f"{server.url}/x").respond(json={"from": "mock"})
                async with client_to(server.url) as client:
                    assert (await client.send(GET)).json() == {"from": "mock"}
    assert len(server.requests) == (2 if opened == "before" else 0)


async def test_replaced_transport_method_receives_every_request() -> None:
    """A mock that replaces httpx's transport method, as pytest-httpx does, gets the request; nothing leaves."""

    async def respond(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.path})

    async with peer(http_response({})) as server, client_to(server.url) as client:
        with mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", respond):
            assert is_mocked()
            assert (await client.send(GET)).json() == {"path": "/x"}
        assert not is_mocked()
    assert server.requests == []


UNDER_UNITTEST = """
import asyncio, http.server, threading, unittest
import respx
from aiowery import WeryAI
from aiowery.errors import AioweryError
from aiowery.weryai import TextToImage

seen = []

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        seen.append(self.path)
    do_GET = do_POST
    def log_message(self, *_): ...

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_address[1]}"

class Test(unittest.IsolatedAsyncioTestCase):
    async def test_mocked_post(self):
        with respx.mock:
            respx.post(url__startswith=url).respond(400, json={"code": 400, "msg": "no"})
            async with WeryAI("sk-x", base_url=url) as client:
                with self.assertRaises(AioweryError):
                    await client.submit(TextToImage(prompt="a cat"))
        self.assertEqual(seen, [])

unittest.main(argv=["x"])
"""


MOCKED_BEFORE_THE_FIRST_CLIENT: Final = """
import asyncio, sys
import httpx

async def respond(self, request):
    return httpx.Response(200, json={{"status": 0, "data": 41}})

{patch}

from aiowery import WeryAI

async def main():
    async with WeryAI("sk-x", base_url="http://127.0.0.1:9") as client:
        print(await client.balance())

asyncio.run(main())
"""


@pytest.mark.slow("processes of their own")
@pytest.mark.parametrize(
    "patch",
    [
        "httpx.AsyncHTTPTransport.handle_async_request = respond",
        "httpx.AsyncClient._send_single_request = respond",
    ],
    ids=["pytest-httpx", "vcr"],
)
def test_mock_before_the_first_client_receives_its_requests(patch: str) -> None:
    """A mock that is active before the package has loaded its HTTP layer is found too."""
    code = MOCKED_BEFORE_THE_FIRST_CLIENT.format(patch=patch)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "41" in ended.stdout, ended.stderr


@pytest.mark.slow("a test of unittest in a process of its own")
def test_mocked_post_under_unittest_reaches_no_server() -> None:
    """Without pytest too, a mocked paid POST never reaches a server that listens."""
    ended = subprocess.run([sys.executable, "-c", UNDER_UNITTEST], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(("http", "variable"), [("httpx", None), (None, "httpx")])
async def test_httpx_is_the_way_back(http: str | None, variable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`http="httpx"` and AIOWERY_HTTP=httpx send everything over httpx's own connections."""
    if variable is not None:
        monkeypatch.setenv("AIOWERY_HTTP", variable)
    async with peer(http_response({"a": 1})) as server, client_to(server.url, http) as client:
        assert (await client.send(GET)).json() == {"a": 1}
        transport = client._transport
        assert isinstance(transport, TransportRouter)
        assert list(transport._over_httpx) == [None]


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


@pytest.mark.parametrize(
    ("base", "variables", "proxy"),
    [
        ("https://a.example", {}, None),
        ("https://a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https://a.example", {"https_proxy": "p:1"}, "http://p:1"),
        ("https://a.example", {"all_proxy": "socks5://p:1"}, "socks5://p:1"),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "a.example"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "*"}, None),
        ("http://127.0.0.1:80", {"http_proxy": "http://p:1"}, None),
        ("http://localhost:80", {"all_proxy": "http://p:1"}, None),
        ("http://[::1]:80", {"all_proxy": "http://p:1"}, None),
    ],
)
def test_environment_proxy_is_read_in_one_place(
    base: str, variables: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scheme, ALL_PROXY and NO_PROXY decide, and loopback never goes through a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(base) == proxy
