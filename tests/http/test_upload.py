"""Local files in media fields: uploaded first and once, and no failed upload is followed by a paid POST."""

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
class UploadProvider:
    """A provider that accepts uploads and submissions. The next uploads get `upload_faults` instead of a URL."""

    upload_faults: list[httpx.Response | Exception] = attrs.field(factory=list)
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
        if self.upload_faults:
            fault = self.upload_faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        return envelope({"object_url_list": [f"https://static.example.com/{len(self.uploads)}.png"]})


async def test_submit_local_files_become_urls(tmp_path: Path) -> None:
    """A path, bytes, an open file and a `File` are uploaded in the order of the field, and URLs stay."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG + b"1")
    provider = UploadProvider()
    async with client_of(provider) as client:
        opened = io.BytesIO(PNG + b"2")
        given: list[Any] = [path, opened, PNG + b"3", File(PNG + b"4", "d.png"), "https://example.com/e.png"]
        request = ImageToImage(prompt="cats", image_urls=given)
        job = await client.submit(request)
        assert job.request is request
    sent = provider.posts[0]["images"]
    assert sent == [
        *(f"https://static.example.com/{number}.png" for number in range(1, 5)),
        "https://example.com/e.png",
    ]
    assert [PNG + str(number).encode() in body for number, body in enumerate(provider.uploads, 1)] == [True] * 4


async def test_submit_equal_content_is_uploaded_once() -> None:
    """Ten concurrent requests with one picture cause one upload, and a different picture another."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        await asyncio.gather(*(client.submit(ImageRepair(image_url=PNG)) for _ in range(10)))
        await client.submit(ImageRepair(image_url=File(PNG, "other-name.png")))
        await client.submit(ImageRepair(image_url=PNG + b"!"))
    assert len(provider.uploads) == 2
    assert len(provider.posts) == 12
    assert len({post["img_url"] for post in provider.posts}) == 2


async def test_submit_failed_upload_sends_no_post() -> None:
    """A refused file leaves no submission, and the next request uploads again."""
    provider = UploadProvider(upload_faults=[envelope(None, 1014, "image under 10MB")])
    async with client_of(provider) as client:
        with pytest.raises(APIError, match="under 10MB"):
            await client.submit(ImageRepair(image_url=PNG))
        assert provider.posts == []
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(provider.uploads), len(provider.posts)) == (2, 1)


async def test_upload_passing_failure_is_retried() -> None:
    """A 500 and a lost response cost nothing, so the upload is repeated."""
    provider = UploadProvider(upload_faults=[httpx.Response(500), httpx.ReadTimeout("lost")])
    async with client_of(provider, retries=QUICK) as client:
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(provider.uploads), len(provider.posts)) == (3, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "convert it first"),
        (WAV, "must be of kind image"),
        (PNG + bytes(10 * 1024**2), "must have fewer than"),
        (File(PNG, "a.mp4"), "rename it"),
    ],
    ids=["empty", "text", "sound", "too large", "misnamed"],
)
async def test_submit_invalid_file_sends_nothing(content: bytes | File, message: str) -> None:
    """A file that the provider would refuse is refused locally: no upload, no submission."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError, match=message):
            await client.submit(ImageToImage(prompt="cats", image_urls=[PNG, content]))
    assert not provider.paths


async def test_submit_missing_file_names_path_and_reason(tmp_path: Path) -> None:
    """The error has the path and the reason, and nothing is sent."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError, match=r"gone\.png: No such file"):
            await client.submit(ImageRepair(image_url=tmp_path / "gone.png"))
    assert not provider.paths


async def test_submit_shared_upload_failure_fails_all_its_requests() -> None:
    """One failed upload fails its three requests without a POST, and the next request uploads again."""
    go_on = asyncio.Event()
    provider = UploadProvider(upload_faults=[envelope(None, 1014, "image under 10MB")], slow=go_on)
    async with client_of(provider) as client:
        requests = [asyncio.create_task(client.submit(ImageRepair(image_url=PNG))) for _ in range(3)]
        await provider.begun.wait()
        await asyncio.sleep(0.1)
        go_on.set()
        ends = await asyncio.gather(*requests, return_exceptions=True)
        assert {type(end) for end in ends} == {InvalidRequest}
        assert (len(provider.uploads), provider.posts) == (1, [])
        await client.submit(ImageRepair(image_url=PNG))
    assert (len(provider.uploads), len(provider.posts)) == (2, 1)


async def test_submit_same_file_in_two_fields_is_uploaded_once() -> None:
    """A file in two fields is uploaded once, and both fields get its URL."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        await client.submit(FirstLastImageToVideo(prompt="x", first_image_url=PNG, last_image_url=File(PNG)))
    assert len(provider.uploads) == 1
    assert list(provider.posts[0].values()).count("https://static.example.com/1.png") == 2


@pytest.mark.virtual_time
async def test_stream_failed_upload_affects_only_its_outcome(tmp_path: Path) -> None:
    """In a stream, a missing file and a refused upload fail one outcome each, and the others continue."""
    provider = FakeWeryAI(seconds=5)

    async def respond(request: httpx.Request) -> httpx.Response:
        if UPLOAD not in request.url.path:
            return await provider(request)
        refused = b"refuse me" in await request.aread()
        return (
            envelope(None, 1014, "image under 10MB")
            if refused
            else envelope({"object_url_list": ["https://e.com/1.png"]})
        )

    files: list[Path | bytes] = [tmp_path / "gone.png", PNG + b"refuse me", PNG]
    requests = [ImageRepair(image_url=file) for file in files]
    async with client_of(respond) as client, client.stream(requests, ordered=True) as outcomes:
        ends = [outcome.error async for outcome in outcomes]
    assert [type(end) for end in ends] == [ConfigurationError, InvalidRequest, type(None)]
    assert len(provider.posts) == 1


async def test_submit_cancelled_leaves_shared_upload_to_the_other() -> None:
    """If one of two requests that share an upload is cancelled, the other gets the URL."""
    go_on = asyncio.Event()
    provider = UploadProvider(slow=go_on)
    async with client_of(provider) as client:
        first, second = (asyncio.create_task(client.submit(ImageRepair(image_url=PNG))) for _ in range(2))
        await provider.begun.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        go_on.set()
        await second
    assert (len(provider.uploads), len(provider.posts)) == (1, 1)


async def test_close_during_upload_ends_it_and_sends_no_post() -> None:
    """An upload without a response does not block closing, and its request is not sent."""
    provider = UploadProvider(slow=asyncio.Event())
    async with client_of(provider) as client:
        waiting = asyncio.create_task(client.submit(ImageRepair(image_url=PNG)))
        await provider.begun.wait()
    with pytest.raises(NotSent):
        await waiting
    assert provider.posts == []


async def test_run_image_to_prompt_fills_in_the_size() -> None:
    """The endpoint requires `image_size` in KB, and the size of a local file is known."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        result = await client.run(ImageToPrompt(image_url=PNG))
    assert provider.posts == [{"img_url": "https://static.example.com/1.png", "image_size": 2}]
    assert (str(result), result.raw[0]["cost_mill"]) == ("a cat", 5)


async def test_upload_text_is_a_path_and_url_is_refused(tmp_path: Path) -> None:
    """`client.upload` takes a file of the caller, so a `str` is a path. A URL needs no upload."""
    path = tmp_path / "x.png"
    path.write_bytes(PNG)
    provider = UploadProvider()
    async with client_of(provider) as client:
        assert await client.upload(str(path)) == await client.upload(path)
        with pytest.raises(ConfigurationError, match="use the URL"):
            await client.upload("https://example.com/a.png")
        assert await client.upload(PNG + b"?", legacy=True)
    assert dict(provider.paths) == {UPLOAD: 1, "/growthai" + UPLOAD: 1}


@pytest.mark.parametrize("library", [None, httpx, httpx2], ids=["own", "httpx", "httpx2"])
async def test_upload_form_is_read_by_the_sandbox(library: Any, tmp_path: Path) -> None:
    """With each transport, the sandbox parses the form, whatever the file name, and serves the file again."""
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
async def test_upload_form_has_three_parts_and_an_escaped_name(library: Any) -> None:
    """The form has three parts, a file name that no quote or line break can end, and the key."""
    response = http_response({"status": 0, "data": {"object_url_list": ["https://static.example.com/1.png"]}})
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(peer(response))
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


async def test_upload_may_take_longer_than_the_http_timeout() -> None:
    """The response to a large file may come after five times the client's timeout."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)
        writer.write(http_response({"status": 0, "data": {"object_url_list": ["https://e.com/1.png"]}}))
        await writer.drain()

    async with serving(slowly) as url, WeryAI(KEY, base_url=url, http_timeout=0.1) as client:
        assert await client.upload(PNG) == "https://e.com/1.png"


async def test_upload_redirect_is_refused() -> None:
    """A redirect is refused, so file and key stay with the provider."""
    hosts: list[str] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example.com/"})

    async with client_of(respond, retries=QUICK) as client:
        with pytest.raises(UnexpectedResponse, match="base_url"):
            await client.submit(ImageRepair(image_url=PNG))
    assert hosts == ["api.example.com"]


async def test_upload_server_error_in_sandbox_is_retried() -> None:
    """The sandbox fails the first upload over a real socket, and the second one succeeds."""
    async with Sandbox(
        speed=100, picture_size=64, faults=[Fault(faults.SERVER_ERROR, on="upload", times=1)]
    ) as sandbox:
        async with WeryAI(sandbox.key, base_url=sandbox.url, retries=QUICK) as client:
            await client.submit(ImageRepair(image_url=PNG))
        assert sandbox.weryai.counters.posts == 3


async def test_submit_with_file_and_wrong_key_raises_authentication_error() -> None:
    """A refused key has the same error when a file is uploaded first."""
    async with Sandbox(speed=100) as sandbox:
        async with WeryAI("sk-wrong", base_url=sandbox.url) as client:
            with pytest.raises(AuthenticationError):
                await client.submit(ImageRepair(image_url=PNG))


async def test_upload_key_is_sent_to_the_providers_hosts_only() -> None:
    """Uploads go to the main host, those of the older address to the models host, and none to a third."""
    requests: list[tuple[str, bool]] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        requests.append((request.url.host, request.headers.get("authorization") == f"Bearer {KEY}"))
        return envelope({"object_url_list": ["https://elsewhere.example.com/1.png"]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as http:
        client = WeryAI(KEY, base_url=URL, models_base_url="https://models.example.com", http=http)
        async with client:
            await client.upload(PNG)
            await client.upload(PNG + b"2", legacy=True)
    assert requests == [("api.example.com", True), ("models.example.com", True)]


async def test_submit_without_files_uploads_nothing() -> None:
    """A request without files causes no upload."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        await client.submit(TextToImage(prompt="hills"))
    assert UPLOAD not in provider.paths


async def test_submit_upload_failing_after_retries_sends_no_post() -> None:
    """After the last attempt the upload's error is raised, and nothing has been paid for."""
    provider = UploadProvider(upload_faults=[httpx.Response(503) for _ in range(10)])
    async with client_of(provider, retries=QUICK) as client:
        with pytest.raises(ServerError):
            await client.submit(ImageRepair(image_url=PNG))
    assert provider.posts == []


async def test_close_with_waiting_uploads_starts_none() -> None:
    """If eight requests with files wait when the client closes, all raise `NotSent` and no further upload starts."""
    provider = UploadProvider(slow=asyncio.Event())
    async with client_of(provider) as client:
        waiting = [asyncio.create_task(client.submit(ImageRepair(image_url=PNG + bytes([n])))) for n in range(8)]
        await provider.begun.wait()
        await asyncio.sleep(0.05)
        under_way = len(provider.uploads)
        await client.aclose()
        async with asyncio.timeout(2):
            ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {NotSent}
    assert (len(provider.uploads), provider.posts) == (under_way, [])


async def test_close_before_an_upload_begins_raises_not_sent() -> None:
    """An upload whose client closes in the same moment sends nothing, and its caller is not cancelled."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        uploading = asyncio.create_task(client.upload(PNG))
        while not client._runtime.uploads._uploads:  # noqa: ASYNC110 - it has been ordered, and has not begun
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(NotSent, match="Nothing was sent"):
            await uploading
    assert provider.uploads == []


async def test_upload_remembers_a_limited_number_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest file is forgotten first, and uploaded anew; the others are not."""
    monkeypatch.setattr("aiowery._http.upload._MAX_REMEMBERED", 2)
    provider = UploadProvider()
    async with client_of(provider) as client:
        first, second, third = (PNG + bytes([n]) for n in range(3))
        for content in (first, second, third, second, third, first):
            await client.upload(content)
    assert len(provider.uploads) == 4


async def test_close_during_upload_raises_not_sent_in_task_group() -> None:
    """The task was not cancelled, so the task group gets NotSent for the unsent request."""
    provider = UploadProvider(slow=asyncio.Event())
    async with client_of(provider) as client:
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(client.submit(ImageRepair(image_url=PNG)))
                await provider.begun.wait()
                await client.aclose()
    assert [type(fault) for fault in caught.value.exceptions] == [NotSent]


@pytest.mark.parametrize("path", [Path("~nosuchuser/a.png"), Path("a\0.png")], ids=["no home", "nul"])
async def test_submit_impossible_path_raises_configuration_error(path: Path) -> None:
    """Any system error about a path becomes ConfigurationError, and nothing is sent."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError, match="cannot read"):
            await client.submit(ImageRepair(image_url=path))
    assert not provider.paths


async def test_submit_file_name_with_invalid_bytes_is_uploaded() -> None:
    """Bytes of a file name that are no UTF-8 do not prevent the upload."""
    provider = UploadProvider()
    async with client_of(provider) as client:
        await client.submit(ImageRepair(image_url=File(PNG, os.fsdecode(b"a\xff.png"))))
    assert len(provider.posts) == 1


async def test_upload_with_other_options_or_kind_is_separate() -> None:
    """`fixed`, `batch_no` and `legacy` are obeyed whatever was uploaded before, and a sound is no video."""
    provider = UploadProvider()
    film = b"\0\0\0\x18ftypisom" + bytes(100)
    async with client_of(provider) as client:
        await client.upload(PNG)
        await client.upload(PNG, fixed=True)
        await client.upload(PNG, batch_no="9")
        await client.upload(PNG, legacy=True)
        await client.upload(File(film, "a.m4a"))
        await client.submit(VideoMagic(video_url=File(film, "a.mp4")))
    assert len(provider.uploads) == 6


async def test_upload_callers_content_type_does_not_replace_the_forms() -> None:
    """A caller's client may set a content type of JSON. The form keeps its own."""
    content_types: list[str] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        content_types.append(request.headers["content-type"])
        body = await request.aread()
        assert body.startswith(b"--" + content_types[0].partition("boundary=")[2].encode())
        return envelope({"object_url_list": ["https://e.com/1.png"]})

    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=httpx.MockTransport(respond), headers=headers) as http:
        async with WeryAI(KEY, base_url=URL, http=http) as client:
            await client.upload(PNG)
    assert content_types[0].startswith("multipart/form-data; boundary=")


async def test_upload_response_without_url_is_unexpected_and_forgotten() -> None:
    """The error is raised, and the next request uploads again."""
    provider = UploadProvider(upload_faults=[envelope({"object_url_list": ["//static.example.com/1.png"]})])
    async with client_of(provider, retries=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(UnexpectedResponse):
            await client.upload(PNG)
        assert await client.upload(PNG) == "https://static.example.com/2.png"
