"""A web application: an API that makes pictures, and a page that shows the progress and then the picture.

    pip install 'aiowery[fastapi]'
    WERYAI_API_KEY=... uvicorn --factory examples.fastapi_app:from_environment --timeout-graceful-shutdown 5

Without a key, run `aiowery sandbox` in another terminal and set the WERYAI_BASE_URL and WERYAI_API_KEY that it prints.
With PUBLIC_URL=https://your.domain/aiowery, the URL of the receiver that is mounted at /aiowery, webhook deliveries
report finished pictures earlier than polls do. Without it, the client only polls. `aiowery webhook --check $PUBLIC_URL`
shows whether the running receiver can be reached.

There is no login here, and each picture costs credits: put your own login in front of it.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, StringConstraints

from aiowery import ImageResult, Job, WeryAI, errors
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import TextToImage
from examples.user_messages import INVALID_PROMPT, PROGRESS, error_message

PAGE = Path(__file__).with_name("fastapi_page.html")
START_WITHIN = 20.0  # seconds in the client's queue
MAX_ORDERS = 10_000

router = APIRouter()


async def _weryai(request: Request) -> WeryAI:
    """Return the client that all requests share."""
    client: WeryAI = request.app.state.client
    return client


OpenClient = Annotated[WeryAI, Depends(_weryai)]
Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait for the picture")]
PictureId = Annotated[str, PathParameter(pattern=r"^[\w-]{1,100}$")]


class PictureRequest(BaseModel):
    """The body of a request for a picture.

    `order` is a number of the page's own choice. The same number again gets the same picture, for example after a
    reload of the page before the answer had arrived.
    """

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
    order: Annotated[str, StringConstraints(pattern=r"^[\w-]{8,100}$")] | None = None


class Picture(BaseModel):
    """A picture. While `url` is missing, it is not finished, and the client can request its id again."""

    id: str
    url: str | None = None


class Orders:
    """The latest submissions by the numbers of their orders, as far as this process knows them."""

    def __init__(self, client: WeryAI) -> None:
        self._client = client
        self._submissions: dict[str, asyncio.Task[Job[ImageResult]]] = {}

    async def submit(self, body: PictureRequest) -> Job[ImageResult]:
        """Return the job of an order, which is submitted once however often it arrives."""
        number = body.order
        if number is None:
            return await self._submit(body.prompt)
        if number not in self._submissions:
            self._submissions[number] = asyncio.create_task(self._submit(body.prompt))
            if len(self._submissions) > MAX_ORDERS:
                del self._submissions[next(iter(self._submissions))]
        return await asyncio.shield(self._submissions[number])

    async def _submit(self, prompt: str) -> Job[ImageResult]:
        return await self._client.submit(TextToImage(prompt=prompt), start_within=START_WITHIN)


@router.get("/")
async def show_page() -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE)


@router.post("/pictures", responses={202: {"model": Picture}})
async def create_picture(body: PictureRequest, request: Request, response: Response, wait: Wait = 25) -> Picture:
    """Submit a picture, and wait for it for up to `wait` seconds. HTTP 202 means that it is not finished."""
    orders: Orders = request.app.state.orders
    return await _wait_for_picture(await orders.submit(body), wait, response)


@router.get("/pictures/{picture_id}", responses={202: {"model": Picture}})
async def get_picture(picture_id: PictureId, client: OpenClient, response: Response, wait: Wait = 25) -> Picture:
    """Wait for a picture that this process or another one submitted earlier."""
    return await _wait_for_picture(client.job(picture_id, of=TextToImage), wait, response)


@router.get("/pictures/{picture_id}/file")
async def download_picture(picture_id: PictureId, client: OpenClient) -> Response:
    """Send the file of a finished picture, for the browser to save."""
    result = await client.job(picture_id, of=TextToImage).wait(timeout=25)
    name = picture_id + (PurePosixPath(urlsplit(result.url).path).suffix or ".png")
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"content-disposition": f'attachment; filename="{name}"', "x-content-type-options": "nosniff"}
    return Response(await client.fetch(result.assets[0]), media_type=media_type, headers=headers)


async def _wait_for_picture(job: Job[ImageResult], wait: float, response: Response) -> Picture:
    """Return the picture when it is finished, or with HTTP 202 after `wait` seconds."""
    (picture_id,) = job.task_ids
    try:
        result = await job.wait(timeout=wait)
    except errors.JobTimeout:
        response.status_code = 202
        return Picture(id=picture_id)
    return Picture(id=picture_id, url=result.url)


@router.get("/pictures/{picture_id}/events", response_class=EventSourceResponse)
async def stream_events(picture_id: PictureId, client: OpenClient) -> AsyncIterator[ServerSentEvent]:
    """Stream the progress of a picture. Any number of browsers may listen, and the job continues when they leave."""
    job = client.job(picture_id, of=TextToImage)
    try:
        async for snapshot in job.updates():
            if snapshot.state in PROGRESS:
                yield ServerSentEvent(event="progress", data=PROGRESS[snapshot.state])
        yield ServerSentEvent(event="picture", data=(await job).url)
    except errors.AioweryError as error:
        yield ServerSentEvent(event="failure", data=error_message(error))


async def _respond_to_error(_: Request, error: errors.AioweryError) -> JSONResponse:
    return JSONResponse({"error": error_message(error)}, status_code=_http_status(error))


def _http_status(error: errors.AioweryError) -> int:
    match error:
        case errors.ConfigurationError() | errors.InvalidRequest() | errors.ContentRejected():
            return 422
        case errors.JobLost():
            return 404
        case errors.NotSent() | errors.RateLimited():
            return 503
        case _:
            return 502


async def _respond_to_invalid_request(_: Request, error: RequestValidationError) -> JSONResponse:
    names = {[part for part in problem["loc"] if isinstance(part, str)][-1] for problem in error.errors()}
    message = f"This request has no valid {', '.join(sorted(names))}."
    return JSONResponse({"error": INVALID_PROMPT if "prompt" in names else message}, status_code=422)


def create_app(client: WeryAI, receiver: Receiver | None = None) -> FastAPI:
    """Return the application.

    The client must not be open yet: the application opens it at its start and closes it at its end. If there is a
    receiver of webhook deliveries, it is mounted at `/aiowery`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(
        title="Pictures",
        lifespan=lifespan,
        exception_handlers={
            errors.AioweryError: _respond_to_error,
            RequestValidationError: _respond_to_invalid_request,
        },
    )
    app.state.client = client
    app.state.orders = Orders(client)
    app.include_router(router)
    if receiver is not None:
        app.mount("/aiowery", receiver)
    return app


def from_environment() -> FastAPI:
    """Return the application for the settings in the environment variables."""
    public_url = os.environ.get("PUBLIC_URL")
    if public_url is None:
        return create_app(WeryAI())
    receiver = Receiver()
    return create_app(WeryAI(webhooks=Webhooks(public_url=public_url, receiver=receiver)), receiver)
