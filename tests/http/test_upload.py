"""Local files where a url is wanted: uploaded first, once, and nothing is paid for what cannot be uploaded."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import httpx
import httpx2
import pytest

from aiowery import File, RetryPolicy, WeryAI
from aiowery.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequest,
    NotSent,
    ServerError,
    UnexpectedResponse,
)
from aiowery.sandbox import Fault, Sandbox, faults
from aiowery.weryai import FirstLastImageToVideo, ImageRepair, ImageToImage, ImageToPrompt, TextToImage, VideoMagic
from tests.support import KEY, URL, FakeWeryAI, client_of, envelope, http_response, peer, serving

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(2000)
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt "
UPLOAD = "/v1/generation/upload-file"
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02)


@attrs.define
class Service:
    """A provider double that takes uploads and submissions; `troubles` are what the next uploads get instead."""

    troubles: list[httpx.Response | Exception] = attrs.field(factory=list)
    uploads: list[bytes] = attrs.field(factory=list)
    posts: list[dict[str, Any]] = attrs.field(factory=list)
    paths: Counter[str] = attrs.field(factory=Counter)
    slow: asyncio.Event | None = None
    begun: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.paths[request.url.path] += 1
        if "upload-file" in request.url.path:
            return await self._upload(await request.aread())
        self.posts.append(json.loads(request.content))
        if request.url.path.endswith("image-to-prompt"):
            return envelope({"prompt": "a cat", "cost_mill": 5})
        return envelope({"batch_id": 1, "task_ids": [f"task_{len(self.posts)}"]})

    async def _upload(self, body: bytes) -> httpx.Response:
        self.uploads.append(body)
        self.begun.set()
        if self.slow is not None:
            await self.slow.wait()
        if self.troubles:
            trouble = self.troubles.pop(0)
            if isinstance(trouble, Exception):
                raise trouble
            return trouble
        return envelope({"object_url_list": [f"https://static.example.com/{len(self.uploads)}.png"]})


async def test_every_sort_of_local_file_becomes_a_url(tmp_path: Path) -> None:
    """A path, bytes, an open file and a `File` are uploaded in the order of the field; urls are left alone."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG + b"1")
    service = Service()
    async with client_of(service) as client:
        opened = io.BytesIO(PNG + b"2")
        given: list[Any] = [path, opened, PNG + b"3", File(PNG + b"4", "d.png"), "https://example.com/e.png"]
        request = ImageToImage(prompt="cats", image_urls=given)
        job = await client.submit(request)
        assert job.request is request
    sent = service.posts[0]["images"]
    assert sent == [
        *(f"https://static.example.com/{number}.png" for number in range(1, 5)),
        "https://example.com/e.png",
    ]
    assert [PNG + str(number).encode() in body for number, body in enumerate(service.uploads, 1)] == [True] * 4


async def test_equal_content_is_uploaded_once() -> None:
    """Ten requests at once with one picture cost one upload; a different picture costs another."""
    service = Service()
    async with client_of(service) as client:
        await asyncio.gather(*(client.submit(ImageRepair(image_url=PNG)) for _ in range(10)))
        await client.submit(ImageRepair(image_url=File(PNG, "other-name.png")))
        await client.submit(ImageRepair(image_url=PNG + b"!"))
    assert len(service.uploads) == 2
    assert len(service.posts) == 12
    assert len({post["img_url"] for post in service.posts}) == 2


async def test_a_failed_upload_pays_for_nothing_and_is_tried_anew() -> None:
    """A refused file leaves no submission behind, and the next request uploads again."""
    service = Service(troubles=[envelope(None, 1014, "image under 10MB")])
    async with client_of(service) as client:
        with pytest.raises(APIError, match="under 10MB"):
            await client.submit(ImageRepair(image_url=PNG))
        assert service.posts == []
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(service.uploads), len(service.posts)) == (2, 1)


async def test_an_upload_is_repeated_like_a_read() -> None:
    """A 500 and a lost answer cost nothing, so the upload goes out again by itself."""
    service = Service(troubles=[httpx.Response(500), httpx.ReadTimeout("lost")])
    async with client_of(service, retries=QUICK) as client:
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(service.uploads), len(service.posts)) == (3, 1)


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        (b"", "is empty"),
        (b"hello", "convert it first"),
        (WAV, "must be of kind image"),
        (PNG + bytes(10 * 1024**2), "must have fewer than"),
        (File(PNG, "a.jpg"), "rename it"),
    ],
    ids=["empty", "text", "sound", "too large", "misnamed"],
)
async def test_an_unfit_file_leaves_nothing_behind(content: bytes | File, way_out: str) -> None:
    """What the provider would refuse is refused here: no upload, no submission."""
    service = Service()
    async with client_of(service) as client:
        with pytest.raises(ConfigurationError, match=way_out):
            await client.submit(ImageToImage(prompt="cats", image_urls=[PNG, content]))
    assert not service.paths


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error holds the path and the reason; nothing is sent."""
    service = Service()
    async with client_of(service) as client:
        with pytest.raises(ConfigurationError, match=r"gone\.png: No such file"):
            await client.submit(ImageRepair(image_url=tmp_path / "gone.png"))
    assert not service.paths


async def test_sharers_of_a_failed_upload_all_hear_of_it() -> None:
    """One upload fails three requests; none of them is sent, and the next one uploads anew."""
    go_on = asyncio.Event()
    service = Service(troubles=[envelope(None, 1014, "image under 10MB")], slow=go_on)
    async with client_of(service) as client:
        requests = [asyncio.create_task(client.submit(ImageRepair(image_url=PNG))) for _ in range(3)]
        await service.begun.wait()
        await asyncio.sleep(0.1)
        go_on.set()
        ends = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(end) for end in ends} == {InvalidRequest}
        assert (len(service.uploads), service.posts) == (1, [])
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(service.uploads), len(service.posts)) == (2, 1)


async def test_two_fields_may_hold_the_same_file() -> None:
    """A file that stands in two fields is uploaded once, and its url stands in both."""
    service = Service()
    async with client_of(service) as client:
        await client.submit(FirstLastImageToVideo(prompt="x", first_image_url=PNG, last_image_url=File(PNG)))
    assert len(service.uploads) == 1
    assert list(service.posts[0].values()).count("https://static.example.com/1.png") == 2


@pytest.mark.virtual_time
async def test_a_file_that_cannot_be_uploaded_ends_only_its_own_outcome(tmp_path: Path) -> None:
    """In a stream a missing file and an upload that is refused are outcomes; the others go on."""
    service = FakeWeryAI(seconds=5)

    async def world(request: httpx.Request) -> httpx.Response:
        if UPLOAD not in request.url.path:
            return await service(request)
        refused = b"refuse me" in await request.aread()
        return (
            envelope(None, 1014, "image under 10MB")
            if refused
            else envelope({"object_url_list": ["https://e.com/1.png"]})
        )

    files: list[Path | bytes] = [tmp_path / "gone.png", PNG + b"refuse me", PNG]
    requests = [ImageRepair(image_url=file) for file in files]
    async with client_of(world) as client, client.stream(requests, ordered=True) as outcomes:
        ends = [outcome.error async for outcome in outcomes]
    assert [type(end) for end in ends] == [ConfigurationError, InvalidRequest, type(None)]
    assert len(service.posts) == 1


async def test_who_is_cancelled_leaves_the_upload_to_the_others() -> None:
    """Two share an upload; one is cancelled, the other gets the url."""
    go_on = asyncio.Event()
    service = Service(slow=go_on)
    async with client_of(service) as client:
        first, second = (asyncio.create_task(client.submit(ImageRepair(image_url=PNG))) for _ in range(2))
        await service.begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        await second
    assert (len(service.uploads), len(service.posts)) == (1, 1)


async def test_closing_the_client_ends_uploads() -> None:
    """An upload that hangs does not keep the client from closing, and its request is not sent."""
    service = Service(slow=asyncio.Event())
    async with client_of(service) as client:
        waiting = asyncio.create_task(client.submit(ImageRepair(image_url=PNG)))
        await service.begun.wait()
    with pytest.raises(NotSent):
        await waiting
    assert service.posts == []


async def test_the_size_of_a_described_picture_is_filled_in() -> None:
    """`image_size` is wanted in KB, and a local file knows its own."""
    service = Service()
    async with client_of(service) as client:
        result = await client.run(ImageToPrompt(image_url=PNG))
    assert service.posts == [{"img_url": "https://static.example.com/1.png", "image_size": 2}]
    assert (str(result), result.raw[0]["cost_mill"]) == ("a cat", 5)


async def test_upload_alone_takes_a_plain_path(tmp_path: Path) -> None:
    """`client.upload` is about a file of the caller's own, so a `str` is a path there; a url needs no upload."""
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    service = Service()
    async with client_of(service) as client:
        assert await client.upload(str(path)) == await client.upload(path)
        with pytest.raises(ConfigurationError, match="use the URL"):
            await client.upload("https://example.com/a.png")
        assert await client.upload(PNG + b"?", legacy=True)
    assert dict(service.paths) == {UPLOAD: 1, "/growthai" + UPLOAD: 1}


@pytest.mark.parametrize("library", [None, httpx, httpx2], ids=["own", "httpx", "httpx2"])
async def test_the_form_is_one_that_servers_read(library: Any, tmp_path: Path) -> None:
    """Through every way of sending, the sandbox's parser finds the file, whatever its name, and serves it again."""
    path = tmp_path / 'a "b"\n ü.png'
    path.write_bytes(PNG)
    async with Sandbox(speed=100, picture_size=64) as sandbox:
        http = None if library is None else library.AsyncClient()
        async with WeryAI(sandbox.key, base_url=sandbox.url, http=http) as client:
            url = await client.upload(path, batch_no="7", fixed=True)
            assert url.startswith(sandbox.url + "/uploads/")
            async with httpx.AsyncClient() as plain:
                assert (await plain.get(url)).content == PNG
        if http is not None:
            await http.aclose()


@pytest.mark.parametrize("library", [None, httpx, httpx2], ids=["own", "httpx", "httpx2"])
async def test_the_form_is_written_out_in_full(library: Any) -> None:
    """On the wire: three parts, a file name that no quote or line break can end, and the key."""
    answer = http_response({"status": 0, "data": {"object_url_list": ["https://static.example.com/1.png"]}})
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(peer(answer))
        http = None if library is None else await stack.enter_async_context(library.AsyncClient())
        client = await stack.enter_async_context(WeryAI(KEY, base_url=server.url, http=http))
        await client.upload(File(PNG, 'a "b"\r\n ü.png'), batch_no="7", fixed=True)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, _, headers = head.partition(b"\r\n")
    assert first == f"POST {UPLOAD} HTTP/1.1".encode()
    assert f"authorization: Bearer {KEY}".encode() in headers.replace(b"Authorization", b"authorization")
    message = email.message_from_bytes(headers + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.iter_parts()}
    assert {name: part.get_payload(decode=True) for name, part in parts.items()} == {
        "batch_no": b"7",
        "fixed": b"true",
        "file": PNG,
    }
    assert parts["file"].get_content_type() == "image/png"
    assert b'filename="a %22b%22%0D%0A \xc3\xbc.png"' in body


async def test_an_upload_outlasts_the_clients_time_out() -> None:
    """Large files take their time: the answer comes after five times the client's."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(http_response({"status": 0, "data": {"object_url_list": ["https://e.com/1.png"]}}))
        await writer.drain()

    async with serving(slowly) as url, WeryAI(KEY, base_url=url, http_timeout=0.1) as client:
        assert await client.upload(PNG) == "https://e.com/1.png"


async def test_an_upload_follows_nobody_elsewhere() -> None:
    """A redirect is refused: file and key stay with the provider."""
    hosts: list[str] = []

    async def world(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example.com/"})

    async with client_of(world, retries=QUICK) as client:
        with pytest.raises(InvalidRequest, match="base_url"):
            await client.submit(ImageRepair(image_url=PNG))
    assert hosts == ["api.example.com"]


async def test_a_lost_answer_to_an_upload_is_survived_on_a_real_socket() -> None:
    """The sandbox fails the first upload; the second try serves the request."""
    async with Sandbox(
        speed=100, picture_size=64, faults=[Fault(faults.SERVER_ERROR, on="upload", times=1)]
    ) as sandbox:
        async with WeryAI(sandbox.key, base_url=sandbox.url, retries=QUICK) as client:
            await client.submit(ImageRepair(image_url=PNG))
        assert sandbox.weryai.counters.posts == 3


async def test_uploads_meet_a_wrong_key_as_such() -> None:
    """A refused key is a refused key, also when a file comes first."""
    async with Sandbox(speed=100) as sandbox:
        async with WeryAI("sk-wrong", base_url=sandbox.url) as client:
            with pytest.raises(AuthenticationError):
                await client.submit(ImageRepair(image_url=PNG))


async def test_the_key_goes_to_the_providers_hosts_only() -> None:
    """The main host for uploads, the models host for the older address, and no third."""
    asked: list[tuple[str, bool]] = []

    async def world(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, request.headers.get("authorization") == f"Bearer {KEY}"))
        return envelope({"object_url_list": ["https://elsewhere.example.com/1.png"]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(world)) as http:
        client = WeryAI(KEY, base_url=URL, models_base_url="https://models.example.com", http=http)
        async with client:
            await client.upload(PNG)
            await client.upload(PNG + b"2", legacy=True)
    assert asked == [("api.example.com", True), ("models.example.com", True)]


async def test_requests_without_files_upload_nothing() -> None:
    """The usual request pays nothing for what it does not use."""
    service = Service()
    async with client_of(service) as client:
        await client.submit(TextToImage(prompt="hills"))
    assert UPLOAD not in service.paths


async def test_a_server_that_stays_down_is_an_error_of_its_own() -> None:
    """After the last attempt the upload's error comes through, and nothing has been paid for."""
    service = Service(troubles=[httpx.Response(503) for _ in range(10)])
    async with client_of(service, retries=QUICK) as client:
        with pytest.raises(ServerError):
            await client.submit(ImageRepair(image_url=PNG))
    assert service.posts == []


async def test_a_closed_client_begins_no_upload() -> None:
    """Eight wait with files when the client closes: all are told `NotSent`, and nothing leaves any more."""
    service = Service(slow=asyncio.Event())
    async with client_of(service) as client:
        waiting = [asyncio.create_task(client.submit(ImageRepair(image_url=PNG + bytes([n])))) for n in range(8)]
        await service.begun.wait()
        await asyncio.sleep(0.05)
        under_way = len(service.uploads)
        await client.aclose()
        async with asyncio.timeout(2):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {NotSent}
    assert (len(service.uploads), service.posts) == (under_way, [])


async def test_closing_is_never_silent_in_a_task_group() -> None:
    """Nobody was cancelled, so a task group must hear of a request that was not sent."""
    service = Service(slow=asyncio.Event())
    async with client_of(service) as client:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(client.submit(ImageRepair(image_url=PNG)))
                await service.begun.wait()
                await client.aclose()
    assert [type(fault) for fault in caught.value.exceptions] == [NotSent]


@pytest.mark.parametrize("path", [Path("~nosuchuser/a.png"), Path("a\0.png")], ids=["no home", "nul"])
async def test_an_impossible_path_is_a_mistake_of_the_callers(path: Path) -> None:
    """Whatever the system says of a path, it is a ConfigurationError and nothing is sent."""
    service = Service()
    async with client_of(service) as client:
        with pytest.raises(ConfigurationError, match="cannot read"):
            await client.submit(ImageRepair(image_url=path))
    assert not service.paths


async def test_a_name_that_is_no_text_is_cleaned() -> None:
    """A file name whose bytes are no UTF-8 costs nothing but these bytes."""
    service = Service()
    async with client_of(service) as client:
        await client.submit(ImageRepair(image_url=File(PNG, os.fsdecode(b"a\xff.png"))))
    assert len(service.posts) == 1


async def test_uploads_that_differ_in_anything_are_two() -> None:
    """`fixed`, `batch_no` and `legacy` are kept, whatever was uploaded before; a sound is no film."""
    service = Service()
    film = b"\0\0\0\x18ftypisom" + bytes(100)
    async with client_of(service) as client:
        await client.upload(PNG)
        await client.upload(PNG, fixed=True)
        await client.upload(PNG, batch_no="9")
        await client.upload(PNG, legacy=True)
        await client.upload(File(film, "a.m4a"))
        await client.submit(VideoMagic(video_url=File(film, "a.mp4")))
    assert len(service.uploads) == 6


async def test_a_callers_own_content_type_does_not_spoil_the_form() -> None:
    """Clients made for JSON are common; a form says that it is one all the same."""
    said: list[str] = []

    async def world(request: httpx.Request) -> httpx.Response:
        said.append(request.headers["content-type"])
        body = await request.aread()
        assert body.startswith(b"--" + said[0].partition("boundary=")[2].encode())
        return envelope({"object_url_list": ["https://e.com/1.png"]})

    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.MockTransport(world), headers=headers) as http:
        async with WeryAI(KEY, base_url=URL, http=http) as client:
            await client.upload(PNG)
    assert said[0].startswith("multipart/form-data; boundary=")


async def test_an_upload_answered_with_no_url_is_the_providers_fault() -> None:
    """Told as such, and forgotten: the next request uploads anew."""
    service = Service(troubles=[envelope({"object_url_list": ["//static.example.com/1.png"]})])
    async with client_of(service, retries=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(UnexpectedResponse):
            await client.upload(PNG)
        assert await client.upload(PNG) == "https://static.example.com/2.png"
