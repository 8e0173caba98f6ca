"""The web application under a real uvicorn: its API, its webhook deliveries, and its page in a real browser."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import attrs
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Dialog, Page, Route, async_playwright, expect

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.sandbox import FAIL, MODERATED, Fault, Sandbox, faults
from aiowery.webhook import Receiver, Webhooks
from examples.fastapi_app import create_app, from_environment
from examples.user_messages import INVALID_PROMPT

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
class RunningUntilReleased(faults.StaleStatus):
    """A fault behavior that reports the picture as running until the test sets `released`."""

    released: threading.Event = attrs.field(factory=threading.Event)

    def alter_response(self, response: Any) -> Any:
        """Return the response with the status of a running task, unless the test has released it."""
        return response if self.released.is_set() else super().alter_response(response)


@asynccontextmanager
async def serving(make_app: Callable[[str], FastAPI]) -> AsyncIterator[str]:
    """Serve the application that `make_app` returns for a URL, and yield the URL."""
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
    """Serve the application without webhooks, and yield an HTTP client for it."""
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def stream_events(web: httpx.AsyncClient, picture_id: str) -> AsyncIterator[Event]:
    """Yield the events about a picture, as pairs of kind and data."""
    kind = ""
    async with web.stream("GET", f"/pictures/{picture_id}/events") as response:
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            if name == "data":
                yield kind, json.loads(value)


async def create_picture(web: httpx.AsyncClient, prompt: str, wait: float = 25) -> httpx.Response:
    """Request a picture, and return the response."""
    return await web.post("/pictures", params={"wait": wait}, json={"prompt": prompt})


async def test_create_picture_waits_for_the_picture(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """One request gets one response with the URL of a PNG, and causes one paid POST with the stripped prompt."""
    response = await create_picture(web, "  a cat  ")
    assert response.status_code == 200
    assert (await web.get(response.json()["url"])).content.startswith(b"\x89PNG")
    assert sandbox.weryai.counters.posts == 1
    assert sandbox.weryai.tasks[0].spec.prompt == "a cat"


async def test_get_picture_after_a_timeout_returns_it(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A request that does not wait gets HTTP 202 and an id. A later request for the id gets the picture for free."""
    early = await create_picture(web, "a cat", wait=0)
    assert early.status_code == 202
    assert early.json()["url"] is None
    late = await web.get(f"/pictures/{early.json()['id']}")
    assert late.status_code == 200
    assert late.json()["url"].startswith(sandbox.url)
    assert sandbox.weryai.counters.posts == 1


async def test_get_picture_after_a_restart_returns_it(make_client: Callable[[], WeryAI], sandbox: Sandbox) -> None:
    """A new application and client find a picture by its id, without a second POST."""
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as before:
        picture_id = (await create_picture(before, "a cat", wait=0)).json()["id"]
    async with serving(lambda _: create_app(make_client())) as url, httpx.AsyncClient(base_url=url) as after:
        assert (await after.get(f"/pictures/{picture_id}")).json()["url"]
    assert sandbox.weryai.counters.posts == 1


ERROR_RESPONSES = {
    f"a cat {MODERATED}": (422, "The moderation rejected this prompt. Please rephrase it."),
    f"a cat {FAIL}": (502, "This picture could not be made. Another attempt or another prompt may succeed."),
    "": (422, INVALID_PROMPT),
    "   ": (422, INVALID_PROMPT),
    "x" * 2001: (422, INVALID_PROMPT),
}


async def test_create_picture_error_is_a_status_and_a_sentence(web: httpx.AsyncClient) -> None:
    """A response without a picture has an HTTP status and one sentence, and nothing else."""
    responses = await asyncio.gather(*(create_picture(web, prompt) for prompt in ERROR_RESPONSES))
    received = [(response.status_code, response.json()) for response in responses]
    assert received == [(status, {"error": message}) for status, message in ERROR_RESPONSES.values()]


@pytest.mark.parametrize(
    ("request_of", "names"),
    [
        ({"params": {"wait": 999}, "json": {"prompt": "a cat"}}, "wait"),
        ({"json": {"prompt": "a cat", "order": "x"}}, "order"),
        ({"content": "{", "headers": {"content-type": "application/json"}}, "body"),
    ],
)
async def test_create_picture_invalid_request_names_what_is_wrong(
    web: httpx.AsyncClient, sandbox: Sandbox, request_of: dict[str, Any], names: str
) -> None:
    """The sentence has no word of a library, and nothing is sent."""
    response = await web.post("/pictures", **request_of)
    assert (response.status_code, response.json()) == (422, {"error": f"This request has no valid {names}."})
    assert sandbox.weryai.counters.posts == 0


async def test_create_picture_order_repeated_is_paid_once(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """A page that was reloaded before the answer sends its order again, and gets the same picture."""
    body = {"prompt": "a cat", "order": "order-0123"}
    sending = [web.post("/pictures", params={"wait": 0}, json=body) for _ in range(3)]
    ids = {response.json()["id"] for response in await asyncio.gather(*sending)}
    ids.add((await web.post("/pictures", params={"wait": 0}, json=body)).json()["id"])
    assert len(ids) == sandbox.weryai.counters.posts == 1
    other = await web.post("/pictures", params={"wait": 0}, json={**body, "order": "order-0124"})
    assert other.json()["id"] not in ids


async def test_create_picture_provider_away_or_busy_is_said(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection and too much load are two sentences, and both say that nothing was charged."""
    monkeypatch.setattr("examples.fastapi_app.START_WITHIN", 0.2)
    once = RetryPolicy(max_attempts=1)
    away = WeryAI(sandbox.key, base_url="http://127.0.0.1:1", retries=once)
    busy = WeryAI(sandbox.key, base_url=sandbox.url, limits=Limits(max_queue=1, in_flight=1))
    async with serving(lambda _: create_app(away)) as url, httpx.AsyncClient(base_url=url) as web:
        response = await create_picture(web, "a cat")
    message = "The service cannot be reached. Nothing was charged. Please try again later."
    assert (response.status_code, response.json()) == (503, {"error": message})
    async with serving(lambda _: create_app(busy)) as url, httpx.AsyncClient(base_url=url) as web:
        responses = await asyncio.gather(*(create_picture(web, "a cat", wait=0) for _ in range(4)))
    message = "The service is busy. Nothing was charged. Please try again later."
    assert {(one.status_code, one.json()["error"]) for one in responses if one.status_code != 202} == {(503, message)}


async def test_download_picture_sends_the_file_as_attachment(web: httpx.AsyncClient) -> None:
    """The browser saves the file under the picture's id, with the suffix and type of the picture."""
    picture = (await create_picture(web, "a cat")).json()
    response = await web.get(f"/pictures/{picture['id']}/file")
    assert response.content == (await web.get(picture["url"])).content
    assert response.headers["content-disposition"] == f'attachment; filename="{picture["id"]}.png"'
    assert response.headers["content-type"] == "image/png"
    unknown = await web.get("/pictures/task_0123456789ab/file")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "There is no such picture."})


async def test_get_picture_invalid_id_sends_nothing(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """An unknown id is not found. A text that cannot be an id is refused without a request to the provider."""
    unknown = await web.get("/pictures/task_0123456789ab")
    assert (unknown.status_code, unknown.json()) == (404, {"error": "There is no such picture."})
    sent = len(sandbox.weryai.counters.requests)
    for invalid in ("..%2F..%2Fbalance", "a b", "x" * 101):
        assert (await web.get(f"/pictures/{invalid}")).status_code in {404, 422}
    assert len(sandbox.weryai.counters.requests) == sent


@pytest.mark.usefixtures("first_poll_finds_it_running")
async def test_stream_events_with_a_disconnected_listener_continues(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """When one of three listeners disconnects, the other two receive the progress and then the picture."""
    picture_id = (await create_picture(web, "a cat", wait=0)).json()["id"]

    async def listen() -> list[Event]:
        return [event async for event in stream_events(web, picture_id)]

    async def disconnect() -> Event:
        async with aclosing(stream_events(web, picture_id)) as events:  # type: ignore[type-var]
            return await anext(events)

    events, same_events, first = await asyncio.gather(listen(), listen(), disconnect())
    assert events == same_events
    assert first == events[0]
    assert events[-2] == ("progress", "Making the picture…")
    assert events[-1][0] == "picture"
    assert events[-1][1].startswith(sandbox.url)
    assert await listen() == events[-1:]
    assert sandbox.weryai.counters.posts == 1


async def test_stream_events_failed_picture_sends_a_sentence(web: httpx.AsyncClient) -> None:
    """The last event about a failed picture is a sentence for the user."""
    picture_id = (await create_picture(web, f"a cat {FAIL}", wait=0)).json()["id"]
    events = [event async for event in stream_events(web, picture_id)]
    assert events[-1] == ("failure", "This picture could not be made. Another attempt or another prompt may succeed.")


async def test_create_picture_with_webhooks_needs_one_poll(sandbox: Sandbox) -> None:
    """With a public URL, the webhook delivery triggers the only poll, long before the first regular one."""

    def make_app(url: str) -> FastAPI:
        receiver = Receiver()
        webhooks = Webhooks(public_url=f"{url}/aiowery", receiver=receiver)
        rare_polls = PollPolicy(min_interval=60, max_interval=60, known_max_interval=60)
        return create_app(WeryAI(sandbox.key, base_url=sandbox.url, polling=rare_polls, webhooks=webhooks), receiver)

    async with serving(make_app) as url, httpx.AsyncClient(base_url=url) as web:
        response = await create_picture(web, "a cat", wait=20)
    assert response.status_code == 200
    counters = sandbox.weryai.counters
    assert [status for _, status in counters.deliveries] == [200]
    assert list(counters.polls.values()) == [1]


def test_from_environment_public_url_mounts_the_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver of webhook deliveries is mounted with a public URL, and not without one."""
    monkeypatch.setenv("WERYAI_API_KEY", "sk-made-up")
    assert "/aiowery" not in paths_of(from_environment())
    monkeypatch.setenv("PUBLIC_URL", "https://app.example/aiowery")
    app = from_environment()
    assert "/aiowery" in paths_of(app)
    assert app.state.client._config.webhooks.public_url == "https://app.example/aiowery"


def paths_of(app: FastAPI) -> set[str]:
    """Return the paths that an application serves."""
    return {getattr(route, "path", "") for route in app.routes}


@asynccontextmanager
async def browsing(**settings: Any) -> AsyncIterator[Callable[[], AbstractAsyncContextManager[Page]]]:
    """Start a browser, and yield a function that opens a window with its own profile.

    A window raises AssertionError at its end if there was a script error or a dialog.
    """

    @asynccontextmanager
    async def window() -> AsyncIterator[Page]:
        problems: list[str] = []

        async def dismiss(dialog: Dialog) -> None:
            problems.append(dialog.message)
            await dialog.dismiss()

        async with await browser.new_context(**settings) as context:
            page = await context.new_page()
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("dialog", dismiss)
            yield page
        assert problems == []

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        async with browser:
            yield window


LABEL = "What should the picture show?"


async def submit_form(page: Page, prompt: str) -> None:
    """Fill in the form and press its button. Both are found by their visible names."""
    await page.get_by_label(LABEL).fill(prompt)
    await page.get_by_role("button", name="Make the picture").click()


async def natural_width(page: Page) -> int:
    """Wait for the picture, and return its width in pixels."""
    await expect(page.get_by_role("status")).to_have_text("The picture is finished.")
    width: int = await page.locator("figure img").evaluate("image => image.naturalWidth")
    return width


async def expect_progress(page: Page) -> None:
    """Wait until the page shows that its picture is being made."""
    await expect(page.get_by_role("status")).to_have_text("Making the picture…")
    await expect(page.get_by_role("progressbar")).to_be_visible()


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_page_form_shows_progress_then_picture(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The form leads to progress and then the picture. Other windows with the same address show both, too."""
    fault = RunningUntilReleased()
    sandbox.inject(Fault(fault, on="status"))
    async with browsing() as window, window() as page:
        await page.goto(str(web.base_url))
        await submit_form(page, "a cat")
        await expect_progress(page)
        async with window() as another:
            await another.goto(page.url)
            await expect_progress(another)
        fault.released.set()
        assert await natural_width(page) > 0
        await expect(page.get_by_role("progressbar")).to_be_hidden()
        await expect(page.get_by_role("img", name="a cat")).to_be_visible()
        async with window() as another:
            await another.goto(page.url)
            assert await natural_width(another) > 0
    assert sandbox.weryai.counters.posts == 1


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_page_shows_errors_and_treats_html_as_text(web: httpx.AsyncClient) -> None:
    """The page shows a rejection. HTML in a prompt or after the # stays text, and the form continues to work."""
    async with browsing() as window, window() as page:
        await page.goto(f"{web.base_url}#<img src=x onerror=alert(1)>")
        await expect(page.get_by_role("status")).to_have_text("There is no such picture.")
        await submit_form(page, f"a cat {MODERATED}")
        await expect(page.get_by_role("status")).to_contain_text("moderation rejected this prompt")
        hostile = "<img src=x onerror=alert(1)>"
        await submit_form(page, hostile)
        assert await natural_width(page) > 0
        await expect(page.locator("figcaption")).to_have_text(hostile)
        assert await page.locator("img").count() == 1


async def lose_answer(route: Route) -> None:
    """Let a request reach the server, and lose its answer."""
    await route.fetch()
    await route.abort()


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_page_reloaded_at_any_time_loses_neither_prompt_nor_picture(
    web: httpx.AsyncClient, sandbox: Sandbox
) -> None:
    """The prompt, an order without an answer, and a picture under way survive a reload, and are paid for once."""
    fault = RunningUntilReleased()
    sandbox.inject(Fault(fault, on="status"))
    async with browsing() as window, window() as page:
        await page.goto(str(web.base_url))
        await page.get_by_label(LABEL).fill("a draft")
        await page.reload()
        await expect(page.get_by_label(LABEL)).to_have_value("a draft")

        await page.route("**/pictures?*", lose_answer)
        await submit_form(page, "a cat")
        await expect(page.get_by_role("status")).to_contain_text("could not be reached")
        await expect(page.get_by_label(LABEL)).to_have_value("a cat")
        await page.unroute("**/pictures?*")
        await page.reload()
        await expect_progress(page)
        await expect(page.get_by_label(LABEL)).to_have_value("a cat")

        await page.reload()
        await expect_progress(page)
        await expect(page.locator("#elapsed")).to_have_text(re.compile(r"^\d+ s$"))
        fault.released.set()
        assert await natural_width(page) > 0
        await expect(page.locator("figcaption")).to_have_text("a cat")
        await page.reload()
        assert await natural_width(page) > 0
    assert sandbox.weryai.counters.posts == 1


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_page_blank_prompt_refused_order_and_keys(web: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """Ctrl+Enter sends, a blank prompt is not sent, and a refused order does not show the former picture."""
    async with browsing(accept_downloads=True) as window, window() as page:
        await page.goto(str(web.base_url))
        await submit_form(page, "  ")
        await expect(page.get_by_role("status")).to_have_text("Please describe the picture.")
        assert not sandbox.weryai.tasks
        await page.get_by_label(LABEL).fill("a cat")
        await page.keyboard.press("Control+Enter")
        assert await natural_width(page) > 0
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Download").click()
        download = await downloading.value
        path = anyio.Path(await download.path())
        assert (await path.read_bytes()).startswith(b"\x89PNG")
        assert download.suggested_filename.endswith(".png")
        await submit_form(page, "")
        await expect(page.get_by_role("status")).to_have_text("Please describe the picture.")
        await expect(page.locator("figure")).to_be_hidden()
        sandbox.inject(Fault(faults.ErrorResponse(200, 1011, "credits not enough"), on="submit", times=1))
        await submit_form(page, "a dog")
        await expect(page.get_by_role("status")).to_have_text("No pictures can be requested at the moment.")
        await expect(page.locator("figure")).to_be_hidden()
        await expect(page.get_by_label(LABEL)).to_have_value("a dog")
        assert "#" not in page.url
        await page.reload()
        await expect(page.get_by_label(LABEL)).to_have_value("a dog")
        await expect(page.locator("figure")).to_be_hidden()
    assert len(sandbox.weryai.tasks) == 1


DATA_URL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@needs_chromium
@pytest.mark.slow("a browser starts")
async def test_page_with_an_error_page_or_an_odd_picture_loses_nothing(web: httpx.AsyncClient) -> None:
    """Progress goes on after an error page. A picture in its URL is shown, and one that is unreadable has its link."""
    failed: list[str] = []

    async def fail_once(route: Route) -> None:
        failed.append(route.request.url)
        await (route.fulfill(status=502, body="Bad Gateway") if len(failed) == 1 else route.fallback())

    async def answer_with(route: Route, url: str) -> None:
        await route.fulfill(content_type="text/event-stream", body=f"event: picture\ndata: {json.dumps(url)}\n\n")

    async with browsing() as window, window() as page:
        await page.route("**/events", fail_once)
        await page.goto(str(web.base_url))
        await submit_form(page, "a cat")
        await expect(page.get_by_role("status")).to_contain_text("Reconnecting")
        assert await natural_width(page) > 0

        await page.route("**/events", lambda route: answer_with(route, DATA_URL))
        await page.reload()
        assert await natural_width(page) == 1

        await page.route("**/events", lambda route: answer_with(route, f"{web.base_url}/no-picture"))
        await page.reload()
        await expect(page.get_by_role("status")).to_contain_text("cannot be shown here")
        await expect(page.get_by_role("link", name="Download")).to_be_visible()
        await expect(page.locator("figure img")).to_be_hidden()


@needs_chromium
@pytest.mark.slow("a browser starts")
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_on_a_phone_fits_its_width(web: httpx.AsyncClient, scheme: str) -> None:
    """At 375 pixels nothing is wider than the window, in both colour schemes."""
    settings = {"viewport": {"width": 375, "height": 800}, "color_scheme": scheme}
    async with browsing(**settings) as window, window() as page:
        await page.goto(str(web.base_url))
        await submit_form(page, "a cat " + "x" * 200)
        assert await natural_width(page) > 0
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375
