"""A web application: a page that orders a picture, shows how it goes, and then the picture; and the API behind it.

    pip install 'aiowery[fastapi]'
    WERYAI_API_KEY=... uvicorn --factory examples.fastapi_app:from_environment --timeout-graceful-shutdown 5

Without a key: `aiowery sandbox` in another terminal, and the WERYAI_BASE_URL and WERYAI_API_KEY that it names.
With PUBLIC_URL=https://your.domain, deliveries end the waiting earlier than polls do; without it, polls do.

There is no login here, and each picture costs credits: put your own in front of it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, StringConstraints

from aiowery import ImageResult, Job, WeryAI, errors
from aiowery.webhook import Receiver, Webhooks
from aiowery.weryai import TextToImage
from examples.words import PROGRESS, in_words

PAGE = Path(__file__).with_name("fastapi_page.html")
START_WITHIN = 20.0

router = APIRouter()


async def _client(request: Request) -> WeryAI:
    client: WeryAI = request.app.state.client
    return client


Client = Annotated[WeryAI, Depends(_client)]
Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait for the picture")]
PictureId = Annotated[str, InPath(pattern=r"^[\w-]{1,100}$")]


class Wish(BaseModel):
    """What somebody wants to see."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Picture(BaseModel):
    """A picture that was ordered; without a url it is not finished: ask for its id again."""

    id: str
    url: str | None = None


@router.get("/")
async def page() -> FileResponse:
    """Answer with the page."""
    return FileResponse(PAGE)


@router.post("/pictures", responses={202: {"model": Picture}})
async def order(wish: Wish, client: Client, response: Response, wait: Wait = 25) -> Picture:
    """Order a picture, and wait for it a while."""
    job = await client.submit(TextToImage(prompt=wish.prompt), start_within=START_WITHIN)
    return await _picture(job, wait, response)


@router.get("/pictures/{picture_id}", responses={202: {"model": Picture}})
async def ask_again(picture_id: PictureId, client: Client, response: Response, wait: Wait = 25) -> Picture:
    """Wait for a picture that was ordered earlier, by this process or by another."""
    return await _picture(client.job(picture_id, of=TextToImage), wait, response)


async def _picture(job: Job[ImageResult], wait: float, response: Response) -> Picture:
    (picture_id,) = job.task_ids
    try:
        result = await job.wait(timeout=wait)
    except errors.JobTimeout:
        response.status_code = 202
        return Picture(id=picture_id)
    return Picture(id=picture_id, url=result.url)


@router.get("/pictures/{picture_id}/events", response_class=EventSourceResponse)
async def tell_events(picture_id: PictureId, client: Client) -> AsyncIterator[ServerSentEvent]:
    """Tell how a picture goes, to any number of listeners; the job does not mind when they leave."""
    job = client.job(picture_id, of=TextToImage)
    try:
        async for snapshot in job.updates():
            if snapshot.state in PROGRESS:
                yield ServerSentEvent(event="progress", data=PROGRESS[snapshot.state])
        yield ServerSentEvent(event="picture", data=(await job).url)
    except errors.AioweryError as error:
        yield ServerSentEvent(event="failure", data=in_words(error))


async def _tell_error(_: Request, error: errors.AioweryError) -> JSONResponse:
    return JSONResponse({"error": in_words(error)}, status_code=_status(error))


def _status(error: errors.AioweryError) -> int:
    match error:
        case errors.ConfigurationError() | errors.InvalidRequest() | errors.ContentRejected():
            return 422
        case errors.JobLost():
            return 404
        case errors.NotSent() | errors.RateLimited():
            return 503
        case _:
            return 502


async def _tell_mistakes(_: Request, error: RequestValidationError) -> JSONResponse:
    words = "; ".join(f"{mistake['loc'][-1]}: {mistake['msg']}" for mistake in error.errors())
    return JSONResponse({"error": words}, status_code=422)


def create_app(client: WeryAI, receiver: Receiver | None = None) -> FastAPI:
    """Return the application around a client that is not open yet, with the receiver of its deliveries, if any."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(
        title="Pictures",
        lifespan=lifespan,
        exception_handlers={errors.AioweryError: _tell_error, RequestValidationError: _tell_mistakes},
    )
    app.state.client = client
    app.include_router(router)
    if receiver is not None:
        app.mount("/aiowery", receiver)
    return app


def from_environment() -> FastAPI:
    """Return the application as the environment describes it."""
    public_url = os.environ.get("PUBLIC_URL")
    if public_url is None:
        return create_app(WeryAI())
    receiver = Receiver()
    return create_app(WeryAI(webhooks=Webhooks(public_url=f"{public_url}/aiowery", receiver=receiver)), receiver)
