"""The web application under a real uvicorn: its API, its deliveries, and its page in a real browser."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Dialog, Page, async_playwright, expect

from aiowery import PollPolicy, WeryAI
from aiowery.sandbox import FAIL, MODERATED, Fault, Sandbox, faults
from aiowery.webhook import Receiver, Webhooks
from examples.fastapi_app import create_app, from_environment

pytestmark = pytest.mark.anyio

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Debian's Chromium at {CHROMIUM}")

Event = tuple[str, str]


@attrs.frozen
class UnderWay(faults.StaleStatus):
    """Every look finds the picture under way, until the test lets it end."""

    over: threading.Event = attrs.field(factory=threading.Event)

    def alter_response(self, response: Any) -> Any:
        """Answer as if the picture were being made."""
        return response if self.over.is_set() else super().alter_response(response)


@asynccontextmanager
async def serving(make_app: Callable[[str], FastAPI]) -> AsyncIterator[str]:
    """Serve the application that is made for an address; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(make_app(url), log_level="warning", ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        try:
            yield url
        finally:
            server.should_exit = True
            await running


@pytest.fixture
async def web(make_client: Callable[[], WeryAI]) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the application, without deliveries; yield a client of it."""
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def events_of(web: httpx.AsyncClient, picture_id: str) -> AsyncIterator[Event]:
    """Yield the events that are told of a picture."""
    kind = ""
    async with web.stream("GET", f"/pictures/{picture_id}/events") as answer:
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            if name == "data":
                yield kind, json.loads(value)


async def order(web: httpx.AsyncClient, prompt: str, wait: float = 25) -> httpx.Response:
    """Order a picture."""
    return await web.post("/pictures", params={"wait": wait}, json={"prompt": prompt})


async def test_a_handler_awaits_the_picture(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """One request, one answer with the url of a PNG, one paid POST."""
    answer = await order(web, "  a cat  ")
    assert answer.status_code == 200
    assert (await web.get(answer.json()["url"])).content.startswith(b"\x89PNG")
    assert sandbox.weryai.counters.posts == 1
    assert sandbox.weryai.tasks[0].spec.prompt == "a cat"


async def test_a_time_out_loses_nothing(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Who does not wait gets 202 and an id; the id asked for again has the picture, at no further cost."""
    early = await order(web, "a cat", wait=0)
    assert early.status_code == 202
    assert early.json()["url"] is None
    late = await web.get(f"/pictures/{early.json()['id']}")
    assert late.status_code == 200
    assert late.json()["url"].startswith(sandbox.url)
    assert sandbox.weryai.counters.posts == 1


async def test_a_restart_loses_nothing(make_client: Callable[[], WeryAI], sandbox: Sandbox) -> None:
    """An id is known to the next process, too."""
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as before:
        picture_id = (await order(before, "a cat", wait=0)).json()["id"]
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as after:
        assert (await after.get(f"/pictures/{picture_id}")).json()["url"]
    assert sandbox.weryai.counters.posts == 1


MISHAPS = {
    f"a cat {MODERATED}": (422, "This prompt was refused by the moderation. Please put it differently."),
    f"a cat {FAIL}": (502, "This picture could not be made. Another try, or another prompt, may work."),
    "   ": (422, "prompt: String should have at least 1 character"),
    "x" * 2001: (422, "prompt: String should have at most 2000 characters"),
}


async def test_what_goes_wrong_is_told_in_words(web: httpx.AsyncClient) -> None:
    """Each answer that is no picture is a status and a sentence, and nothing else."""
    answers = await asyncio.gather(*(order(web, prompt) for prompt in MISHAPS))
    told = [(answer.status_code, answer.json()) for answer in answers]
    assert told == [(status, {"error": words}) for status, words in MISHAPS.values()]


async def test_ids_that_are_none(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """An unknown id is not found, and what cannot be an id reaches nobody."""
    unknown = await web.get("/pictures/task_0123456789ab")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "There is no such picture."})
    asked = len(sandbox.weryai.counters.requests)
    for impossible in ("..%2F..%2Fbalance", "a b", "x" * 101):
        assert (await web.get(f"/pictures/{impossible}")).status_code in {404, 422}
    assert len(sandbox.weryai.counters.requests) == asked


@pytest.mark.usefixtures("under_way_at_first")
async def test_several_listen_and_one_leaves(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Of three who listen one leaves at the first event; the others hear progress and then the picture."""
    picture_id = (await order(web, "a cat", wait=0)).json()["id"]

    async def listen() -> list[Event]:
        return [event async for event in events_of(web, picture_id)]

    async def leave() -> Event:
        async with aclosing(events_of(web, picture_id)) as events:  # type: ignore[type-var]
            return await anext(events)

    one, another, first = await asyncio.gather(listen(), listen(), leave())
    assert one == another
    assert first == one[0]
    assert one[-2] == ("progress", "Painting…")
    assert one[-1][0] == "picture"
    assert one[-1][1].startswith(sandbox.url)
    assert await listen() == one[-1:]
    assert sandbox.weryai.counters.posts == 1


async def test_a_failure_is_an_event(web: httpx.AsyncClient) -> None:
    """Who listens to a picture that fails hears why, in words."""
    picture_id = (await order(web, f"a cat {FAIL}", wait=0)).json()["id"]
    events = [event async for event in events_of(web, picture_id)]
    assert events[-1] == ("failure", "This picture could not be made. Another try, or another prompt, may work.")


async def test_deliveries_end_the_waiting(sandbox: Sandbox) -> None:
    """With a public url the picture is there long before the first poll would have come."""

    def make_app(url: str) -> FastAPI:
        receiver = Receiver()
        webhooks = Webhooks(public_url=f"{url}/aiowery", receiver=receiver)
        seldom = PollPolicy(min_interval=60, max_interval=60, known_max_interval=60)
        return create_app(WeryAI(sandbox.key, base_url=sandbox.url, polling=seldom, webhooks=webhooks), receiver)

    async with serving(make_app) as url, httpx.AsyncClient(base_url=url) as web:
        answer = await order(web, "a cat", wait=20)
    assert answer.status_code == 200
    counters = sandbox.weryai.counters
    assert [status for _, status in counters.deliveries] == [200]
    assert list(counters.polls.values()) == [1]


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a public url nothing is mounted for deliveries; with one, the receiver is."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-made-up")
    assert "/aiowery" not in paths_of(from_environment())
    monkeypatch.setenv("PUBLIC_URL", "https://app.example")
    assert "/aiowery" in paths_of(from_environment())


def paths_of(app: FastAPI) -> set[str]:
    """Return what an application serves."""
    return {getattr(route, "path", "") for route in app.routes}


@asynccontextmanager
async def browsing(**settings: Any) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[Page]]]:
    """Start a browser with a profile of its own; yield what opens a window that must not meet a script's error."""

    @asynccontextmanager
    async def window() -> AsyncIterator[Page]:
        mishaps: list[str] = []

        async def dismiss(dialog: Dialog) -> None:
            mishaps.append(dialog.message)
            await dialog.dismiss()

        async with await browser.new_context(**settings) as context:
            page = await context.new_page()
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda error: mishaps.append(str(error)))
            page.on("dialog", dismiss)
            yield page
        assert mishaps == []

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        async with browser:
            yield window


async def ask(page: Page, prompt: str) -> None:
    """Fill in the form and press its button, found as a person finds them: by their names."""
    await page.get_by_label("What should the picture show?").fill(prompt)
    await page.get_by_role("button", name="Make the picture").click()


async def natural_width(page: Page) -> int:
    """Return how many pixels wide the picture that is shown is."""
    await expect(page.get_by_role("status")).to_have_text("Here it is.")
    width: int = await page.locator("figure img").evaluate("image => image.naturalWidth")
    return width


async def sees_progress(page: Page) -> None:
    """Wait until the page says that its picture is being made."""
    await expect(page.get_by_role("status")).to_have_text("Painting…")
    await expect(page.get_by_role("progressbar")).to_be_visible()


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_the_page_shows_progress_and_the_picture(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A prompt, the button, progress, the picture; whoever has the address sees the same, may leave, and come back."""
    under_way = UnderWay()
    sandbox.inject(Fault(under_way, on="status"))
    async with browsing() as window, window() as page:
        await page.goto(str(web.base_url))
        await ask(page, "a cat")
        await sees_progress(page)
        async with window() as another:
            await another.goto(page.url)
            await sees_progress(another)
        under_way.over.set()
        assert await natural_width(page) > 0
        await expect(page.get_by_role("progressbar")).to_be_hidden()
        await expect(page.get_by_role("img", name="a cat")).to_be_visible()
        async with window() as another:
            await another.goto(page.url)
            assert await natural_width(another) > 0
    assert sandbox.weryai.counters.posts == 1


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_the_page_tells_what_goes_wrong_and_trusts_no_words(web: httpx.AsyncClient) -> None:
    """A refusal is told; HTML in a prompt or behind the # stays text; afterwards the form works as before."""
    async with browsing() as window, window() as page:
        await page.goto(f"{web.base_url}#<img src=x onerror=alert(1)>")
        await expect(page.get_by_role("status")).to_have_text("There is no such picture.")
        await ask(page, f"a cat {MODERATED}")
        await expect(page.get_by_role("status")).to_contain_text("refused by the moderation")
        hostile = "<img src=x onerror=alert(1)>"
        await ask(page, hostile)
        assert await natural_width(page) > 0
        await expect(page.locator("figcaption")).to_have_text(hostile)
        assert await page.locator("img").count() == 1
