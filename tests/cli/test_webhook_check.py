"""`aiowery webhook --check URL` finds out whether a receiver answers at a public URL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastapi
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from aiowery.webhook import Receiver
from tests.cli.conftest import Command
from tests.webhook.webhook_provider import Known, served


@contextmanager
def served_in_a_thread(make_app: Callable[[], Any]) -> Iterator[str]:
    """Serve an application in a thread with an event loop of its own, because a command runs in this one."""
    urls: list[str] = []
    started, ended = threading.Event(), threading.Event()

    async def main() -> None:
        async with served(make_app()) as url:
            urls.append(url)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert started.wait(10)
        yield urls[0]
    finally:
        ended.set()
        thread.join()


def receiver_of_a_client() -> Receiver:
    """Return a receiver that has a handler."""
    receiver = Receiver()
    receiver.attach(Known())
    return receiver


def in_starlette() -> Starlette:
    """Return an application with a receiver, and with what else may answer at a URL."""

    async def page(_: Any) -> Response:
        return PlainTextResponse("a page")

    async def moved(_: Any) -> Response:
        return RedirectResponse("https://app.example/aiowery", status_code=308)

    async def guarded(_: Any) -> Response:
        return PlainTextResponse("log in", status_code=401)

    async def broken(_: Any) -> Response:
        return PlainTextResponse("bad gateway", status_code=502)

    others = {"page": page, "moved": moved, "guarded": guarded, "broken": broken}
    return Starlette(
        routes=[
            Mount("/aiowery", receiver_of_a_client()),
            Mount("/alone", Receiver()),
            *(Route(f"/{name}/{{token}}", handler, methods=["GET", "POST"]) for name, handler in others.items()),
        ]
    )


def in_fastapi() -> fastapi.FastAPI:
    """Return an application of another framework with a receiver."""
    app = fastapi.FastAPI()
    app.mount("/aiowery", receiver_of_a_client())
    return app


@pytest.mark.two_loops
@pytest.mark.parametrize("make_app", [in_starlette, in_fastapi, receiver_of_a_client])
@pytest.mark.parametrize("end", ["", "/"])
def test_check_of_a_receiver_succeeds(aiowery_command: Command, make_app: Callable[[], Any], end: str) -> None:
    """A receiver is found in each framework, and alone, with and without a slash at the end of the URL."""
    with served_in_a_thread(make_app) as url:
        ended = aiowery_command("webhook", "--check", f"{url}/aiowery{end}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"A receiver answers at {url}/aiowery" in ended.stdout


@pytest.mark.two_loops
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "something else answers there (HTTP 404): the URL must end in the path"),
        ("/hooks", "(HTTP 404)"),
        ("/page", "something else answers there (HTTP 200)"),
        ("/moved", "redirects to https://app.example/aiowery (HTTP 308)"),
        ("/guarded", "asks for a login (HTTP 401)"),
        ("/broken", "reaches no receiver (HTTP 502)"),
        ("/alone", "records nothing (HTTP 503)"),
    ],
)
def test_check_of_anything_else_fails_with_its_reason(aiowery_command: Command, path: str, message: str) -> None:
    """The exit code is 1, and the message has what is wrong and the remedy."""
    with served_in_a_thread(in_starlette) as url:
        ended = aiowery_command("webhook", "--check", f"{url}{path}")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert f"No deliveries can arrive at {url}{path}: " in ended.stdout
    assert message in ended.stdout


def test_check_without_a_server_fails(aiowery_command: Command) -> None:
    """A URL at which nothing listens is reported, without a traceback."""
    ended = aiowery_command("webhook", "--check", "http://127.0.0.1:9/aiowery")
    assert ended.returncode == 1
    assert "it cannot be reached from this machine" in ended.stdout


@pytest.mark.parametrize("url", ["http://app.example/aiowery", "app.example", "https://app.example/x?y", ""])
def test_check_of_an_unusable_url_exits_with_2(aiowery_command: Command, url: str) -> None:
    """A URL that no client accepts as public_url is refused before anything is sent."""
    ended = aiowery_command("webhook", "--check", url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--check must" in ended.stderr
