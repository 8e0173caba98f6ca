"""The client of both editions over real sockets against the sandbox, and the parts that only one edition has."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from PIL import Image

from aiowery import (
    BetterWaifu,
    JobUpdated,
    LowCredits,
    PollFailed,
    PollPolicy,
    QueueBackedOff,
    RetryPolicy,
    TaskState,
    betterwaifu,
)
from aiowery.betterwaifu import LIMITS, Edition, GenerateImage, _model_listing
from aiowery.errors import (
    AioweryError,
    AuthenticationError,
    ConfigurationError,
    ContentRejected,
    EmptyResult,
    InsufficientCredits,
    InvalidRequest,
    JobFailed,
    JobLost,
    NotFound,
    PermissionDenied,
    ServerError,
    SubmissionInDoubt,
    UnexpectedResponse,
)
from aiowery.sandbox import Fault, Sandbox, faults
from tests.betterwaifu.responses import response
from tests.support.fake_betterwaifu import HOSTS, KEY, FakeBetterWaifu, client_of, picture

pytestmark = pytest.mark.anyio

SPEED = 500.0
EDITIONS: tuple[Edition, ...] = ("v1-images", "jobs")
MODELS: dict[str, str | int] = {"v1-images": "noobai-xl", "jobs": 814910}


@contextlib.asynccontextmanager
async def opened(sandbox: Sandbox, edition: Edition, **settings: Any) -> AsyncIterator[BetterWaifu]:
    """Open a client for a sandbox, with policies as much faster as the sandbox."""
    usual: dict[str, Any] = {
        "base_url": sandbox.url if edition == "v1-images" else sandbox.jobs_url,
        "limits": LIMITS[edition].faster(SPEED),
        "polling": attrs.evolve(PollPolicy().faster(SPEED), not_found_grace=30.0, image_timeout=30.0),
        "retries": RetryPolicy().faster(SPEED),
    }
    async with BetterWaifu(sandbox.key, edition=edition, **{**usual, **settings}) as client:
        yield client


def request(edition: Edition, prompt: str = "1girl, rain") -> GenerateImage:
    """Return a request that the edition accepts."""
    return GenerateImage(prompt=prompt, model=MODELS[edition], width=512, height=768)


@pytest.mark.parametrize("edition", EDITIONS)
async def test_check_model_left_out_is_an_issue_of_the_jobs_edition(edition: Edition) -> None:
    """The jobs edition has no default model. The issue is found before anything is sent."""
    provider = FakeBetterWaifu()
    async with client_of(provider, edition) as client:
        issues = await client.check(GenerateImage(prompt="1girl"))
        assert [issue.field for issue in issues] == (["model"] if edition == "jobs" else [])
        assert not await client.check(GenerateImage(prompt="1girl", model=MODELS[edition]))
    assert not provider.prompts


@pytest.mark.parametrize("edition", EDITIONS)
async def test_run_save_fetch_gives_an_image_file(edition: Edition, tmp_path: Path) -> None:
    """The saved file opens, and the result has the values that make the picture again."""
    async with Sandbox(speed=SPEED, picture_size=96) as sandbox, opened(sandbox, edition) as client:
        result = await client.run(request(edition))
        (path,) = await client.download(result, tmp_path)
        content = await client.fetch(result.assets[0])
        (made,) = sandbox.betterwaifu.generations
        assert (result.seed, result.image_ids) == (made.seed, (made.image_id,))
        assert sandbox.betterwaifu.refused == 0
    assert path.suffix == {"v1-images": ".png", "jobs": ".webp"}[edition]
    with Image.open(io.BytesIO(content)) as shown:
        assert shown.size == (64, 96)
    assert (result.created_at is None) == (edition == "jobs")


async def test_job_updates_report_queue_position() -> None:
    """Queue positions fall, then the picture is made. Each change is reported once."""
    async with Sandbox(speed=12) as sandbox, opened(sandbox, "jobs") as client:
        job = await client.submit(request("jobs"))
        seen = [(snapshot.raw_status, snapshot.queue_position) async for snapshot in job.updates()]
        await job
    positions = [position or 0 for raw_status, position in seen if raw_status == "queued"]
    assert positions == sorted(positions, reverse=True)
    assert positions[0] == 3
    assert [raw_status for raw_status, _ in seen][-2:] == ["processing", "succeeded"]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("edition", EDITIONS)
async def test_stream_pictures_are_made_one_at_a_time(edition: Edition) -> None:
    """Pictures are made one after the other. None is refused, and each is charged once."""
    async with Sandbox(speed=SPEED) as sandbox, opened(sandbox, edition) as client:
        async with client.stream([request(edition, f"number {n}") for n in range(4)]) as outcomes:
            urls = [outcome.unwrap().url async for outcome in outcomes]
        assert (sandbox.betterwaifu.refused, sandbox.betterwaifu.charged) == (0, 4)
    assert len(set(urls)) == 4


async def test_reads_jobs_edition_returns_models_account_and_status() -> None:
    """The jobs edition has models, one of them by name, the account, and the status of a job."""
    async with Sandbox(speed=SPEED) as sandbox, opened(sandbox, "jobs") as client:
        models = await client.models()
        assert (await client.find_model("tPonynai3", "v6.5")).key == 814910
        with pytest.raises(ConfigurationError, match="no model is called 'Nothing'"):
            await client.find_model("Nothing")
        account = await client.account()
        job = await client.submit(request("jobs"))
        assert (await client.status(job.task_ids[0])).task_id == job.task_ids[0]
        with pytest.raises(NotFound):
            await client.status("job_nowhere")
    assert len(models) == 8
    assert account.credits == 10_000
    assert account.subscription is not None
    assert account.subscription.ends_at is not None


async def test_job_by_id_another_client_gets_the_same_picture() -> None:
    """A later client gets the same picture by the id of the job."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with opened(sandbox, "jobs") as client:
            job = await client.submit(request("jobs"))
        async with opened(sandbox, "jobs") as client:
            result = await client.job(*job.task_ids, of=GenerateImage)
    assert result.seed is not None


async def test_reads_v1_edition_raises_without_a_request() -> None:
    """v1-images has no account and no status: the error is raised without a request."""
    async with Sandbox(speed=SPEED) as sandbox, opened(sandbox, "v1-images") as client:
        for read in (client.account(), client.status("img_1")):
            with pytest.raises(ConfigurationError, match="v1-images"):
                await read
        with pytest.raises(ConfigurationError, match="answers at once"):
            client.job("img_1")
        assert await client.balance() is None
        assert [model.key for model in await client.models()] == list(betterwaifu.MODELS)
        assert (await client.find_model("noobai-xl")).description == betterwaifu.MODELS["noobai-xl"]
        assert await client.models("video") == ()
        assert sandbox.weryai.counters.requests == ()


async def test_edition_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another value is refused. Each edition has its own host, and the environment may set the URL."""
    with pytest.raises(ConfigurationError, match="edition is 'v2'"):
        BetterWaifu(KEY, edition="v2")  # type: ignore[arg-type]
    monkeypatch.delenv("BETTERWAIFU_BASE_URL", raising=False)
    assert BetterWaifu(KEY).base_url == "https://api.betterwaifu.com"
    assert BetterWaifu(KEY, edition="jobs").base_url == "https://betterwaifu.com/api/v1"
    monkeypatch.setenv("BETTERWAIFU_BASE_URL", "https://elsewhere.example/api")
    monkeypatch.setenv("BETTERWAIFU_API_KEY", KEY)
    assert BetterWaifu(edition="jobs").base_url == "https://elsewhere.example/api"
    monkeypatch.delenv("BETTERWAIFU_API_KEY")
    with pytest.raises(ConfigurationError, match="BETTERWAIFU_API_KEY"):
        BetterWaifu()


async def test_submit_with_other_editions_url_makes_no_picture() -> None:
    """A base URL of the wrong edition is refused at once, or gets answers of something else, which name base_url."""
    async with Sandbox(speed=SPEED) as sandbox:
        async with BetterWaifu(sandbox.key, edition="jobs", base_url=sandbox.url) as client:
            with pytest.raises(SubmissionInDoubt, match=r"does not exist.*check base_url and any proxy"):
                await client.run(request("jobs"))
        with pytest.raises(ConfigurationError, match="must not end in /v1"):
            BetterWaifu(sandbox.key, edition="v1-images", base_url=sandbox.jobs_url)
        assert sandbox.betterwaifu.generations == ()


CASES: dict[str, tuple[Fault, type[AioweryError], int]] = {
    "lost response": (Fault(faults.LostAnswer(0.05), on="submit", times=1), SubmissionInDoubt, 1),
    "server error": (Fault(faults.SERVER_ERROR, on="submit", times=1), SubmissionInDoubt, 0),
    "html": (Fault(faults.NotJson("<html>busy</html>"), on="submit", times=1), SubmissionInDoubt, 1),
    "truncated": (Fault(faults.Truncated(), on="submit", times=1), SubmissionInDoubt, 1),
    "empty": (Fault(faults.Empty(), on="submit", times=1), SubmissionInDoubt, 1),
    "reset before": (Fault(faults.Reset(), on="submit", times=1), SubmissionInDoubt, 0),
    "reset after": (Fault(faults.Reset(processed=True), on="submit", times=1), SubmissionInDoubt, 1),
    "page of an edge": (
        Fault(faults.ErrorResponse(502, html=True, processed=True), on="submit", times=1),
        SubmissionInDoubt,
        1,
    ),
    "points elsewhere": (Fault(faults.Redirect("https://x.example", 307), on="submit", times=1), SubmissionInDoubt, 0),
    "answered by a page": (Fault(faults.ErrorResponse(404, html=True), on="submit", times=1), SubmissionInDoubt, 0),
    "refused in a 200": (
        Fault(faults.ErrorResponse(200, text="nothing for you"), on="submit", times=1),
        InvalidRequest,
        0,
    ),
}


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize("case", CASES)
async def test_submit_fault_is_in_doubt_or_refused_and_next_succeeds(edition: Edition, case: str) -> None:
    """A POST in doubt is never repeated, a refusal costs nothing, and the next picture is made."""
    fault, error, made = CASES[case]
    async with Sandbox(speed=SPEED, faults=[fault]) as sandbox, opened(sandbox, edition) as client:
        with pytest.raises(error):
            await client.run(request(edition))
        assert len(sandbox.betterwaifu.generations) == made
        await client.run(request(edition, "the next"))
        assert len(sandbox.betterwaifu.generations) == made + 1
        assert sandbox.betterwaifu.refused == 0 or edition == "v1-images"


@pytest.mark.parametrize("edition", EDITIONS)
@pytest.mark.parametrize(
    ("refusal", "longest"),
    [
        (faults.ErrorResponse(429, text="slow down", retry_after=0.02), 0.02),
        (
            faults.ErrorResponse(
                429, body={"error": {"code": "rate_limit_exceeded", "message": "x", "retry_after": 0.04}}
            ),
            0.04,
        ),
        (faults.ErrorResponse(429, text="slow down"), 0.1),
        (faults.ErrorResponse(429, html=True), 0.1),
    ],
    ids=["header", "body", "none", "page"],
)
async def test_submit_429_waits_and_is_repeated_once(
    edition: Edition, refusal: faults.ErrorResponse, longest: float
) -> None:
    """After a 429 the submission waits, as the header or body report, and then succeeds once."""
    events: list[Any] = []
    retries = RetryPolicy(initial_backoff=0.001, max_retry_after=0.1)
    async with Sandbox(speed=SPEED, faults=[Fault(refusal, on="submit", times=2)]) as sandbox:
        async with opened(sandbox, edition, observer=events.append, retries=retries) as client:
            assert (await client.run(request(edition))).url
        assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refused) == (1, 0)
    assert [event.pause for event in events if isinstance(event, QueueBackedOff)] == [pytest.approx(longest)] * 2


async def test_submit_response_without_id_is_in_doubt_or_gets_an_id() -> None:
    """A job without an id cannot be polled. A v1 picture without one gets an id of the library."""
    nameless = [Fault(faults.NoIds(), on="submit")]
    async with Sandbox(speed=SPEED, faults=nameless) as sandbox:
        async with opened(sandbox, "v1-images") as client:
            result = await client.run(request("v1-images"))
            assert await client.fetch(result.assets[0])
            assert (len(result.task_ids), result.image_ids) == (1, ())
        async with opened(sandbox, "jobs") as client:
            with pytest.raises(SubmissionInDoubt):
                await client.run(request("jobs"))
        assert sandbox.betterwaifu.charged == 2


@pytest.mark.parametrize("edition", EDITIONS)
async def test_submit_moderated_or_failing_prompt_keeps_client_open(edition: Edition) -> None:
    """A prompt may be refused by moderation or fail in progress. Neither closes the client."""
    async with Sandbox(speed=SPEED) as sandbox, opened(sandbox, edition) as client:
        with pytest.raises(ContentRejected):
            await client.run(request(edition, "[[moderated]]"))
        failure = JobFailed if edition == "jobs" else SubmissionInDoubt  # v1-images reports it with HTTP 500
        with pytest.raises(failure, match="returned no image"):
            await client.run(request(edition, "[[fail]]"))
        await client.run(request(edition))
        assert sandbox.betterwaifu.charged - sandbox.betterwaifu.refunded == 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"credits": 0}, InsufficientCredits),
        ({"subscription": False}, PermissionDenied),
        ({"keys": ["bw_another-key"]}, AuthenticationError),
    ],
)
async def test_submit_account_error_is_reported_to_all_waiting(
    settings: dict[str, Any], error: type[AioweryError]
) -> None:
    """An error about credits, plan or key is received once and refuses all waiting submissions."""
    async with Sandbox(speed=SPEED, **settings) as sandbox:
        key = sandbox.key if error is not AuthenticationError else "bw_some-key-000"
        client = BetterWaifu(key, edition="jobs", base_url=sandbox.jobs_url)
        requests = [request("jobs", str(n)) for n in range(5)]
        async with client, client.stream(requests, in_flight=5) as outcomes:
            errors = [type(outcome.error) async for outcome in outcomes]
        assert set(errors) == {error}
        assert sandbox.weryai.counters.posts <= 3


async def test_poll_failures_do_not_fail_the_job() -> None:
    """After 404s, 500s, HTML responses, truncated bodies and unknown statuses the picture still arrives."""
    events: list[Any] = []
    injected = [
        Fault(faults.NotFoundYet(60), on="status", nth=1),
        Fault(faults.SERVER_ERROR, on="status", nth=2),
        Fault(faults.NotJson("<html>busy</html>"), on="status", nth=3),
        Fault(faults.Truncated(), on="status", nth=4),
        Fault(faults.Reset(), on="status", nth=5),
        Fault(faults.StatusWords(waiting="dreaming", processing="inking"), on="status"),
    ]
    async with Sandbox(speed=20, faults=injected) as sandbox:
        async with opened(sandbox, "jobs", observer=events.append) as client:
            assert (await client.run(request("jobs"))).url
        assert sandbox.betterwaifu.charged == 1
    failed = [type(event.error) for event in events if isinstance(event, PollFailed)]
    # The reset of a connection in use before is not among them: such a read is sent once more.
    expected: list[type[AioweryError]] = [NotFound, ServerError, UnexpectedResponse, UnexpectedResponse]
    assert failed == expected
    seen = [(event.snapshot.raw_status, event.snapshot.state) for event in events if isinstance(event, JobUpdated)]
    assert seen[-1] == ("succeeded", TaskState.DONE)
    assert set(seen[:-1]) <= {("dreaming", TaskState.RUNNING), ("inking", TaskState.RUNNING)}


async def test_poll_lost_job_raises_after_the_grace_period() -> None:
    """A 404 is tolerated for a while after acceptance only. An id from elsewhere has no grace period."""
    lost = [Fault(faults.NOT_FOUND, on="status")]
    async with Sandbox(speed=SPEED, faults=lost) as sandbox:
        polling = PollPolicy(not_found_grace=0.1).faster(SPEED)
        async with opened(sandbox, "jobs", polling=polling) as client:
            with pytest.raises(JobLost):
                await client.run(request("jobs"))
            with pytest.raises(JobLost):
                await client.job("job_from-elsewhere", of=GenerateImage)


async def test_run_success_without_pictures_raises() -> None:
    """An empty finished job is an error of its own in jobs. In v1-images it is a doubt."""
    nothing = [Fault(faults.NoOutputs(), on="any")]
    async with Sandbox(speed=SPEED, faults=nothing) as sandbox:
        async with opened(sandbox, "jobs") as client:
            with pytest.raises(EmptyResult):
                await client.run(request("jobs"))
        async with opened(sandbox, "v1-images") as client:
            with pytest.raises(SubmissionInDoubt):
                await client.run(request("v1-images"))


async def test_account_low_credits_emit_event() -> None:
    """Reading the account below the threshold emits `LowCredits`."""
    events: list[Any] = []
    async with client_of(FakeBetterWaifu(), observer=events.append, low_credits=500) as client:
        assert (await client.account()).credits == 120
    assert [event for event in events if isinstance(event, LowCredits)] == [LowCredits(balance=120)]


async def test_models_invalid_entry_is_left_out() -> None:
    """An entry without a number is left out. Invalid informative values count as absent."""
    entries = [{"id": 1, "name": "v1"}, {"id": "2", "cover_image": None, "nsfw": "?"}, {"id": "x"}, 5, {"name": "y"}]
    models = _model_listing.decode_models(response({"models": entries, "count": 25}))
    assert [(model.key, model.name, model.nsfw) for model in models] == [(1, "v1", None), (2, "", None)]
    with pytest.raises(UnexpectedResponse, match="no list of models"):
        _model_listing.decode_models(response({"count": 0}))


@pytest.mark.parametrize("name", ["endDate", "end_date"])
async def test_account_invalid_values_count_as_absent(name: str) -> None:
    """Credits may be a text, the date has two names, and the subscription may be missing."""
    plan = {"status": "canceled", "plan": "pro", name: "2026-04-30T12:00:00.000Z"}
    account = _model_listing.decode_account(response({"username": "mira", "credits": "12.5", "subscription": plan}))
    assert account.credits == 12.5
    assert account.subscription is not None
    assert account.subscription.ends_at == datetime(2026, 4, 30, 12, tzinfo=UTC)
    without = _model_listing.decode_account(response({"username": 5, "credits": [], "subscription": None}))
    assert (without.username, without.credits, without.subscription) == ("", None, None)


async def test_find_model_ambiguous_name_needs_version() -> None:
    """A unique name is enough. Otherwise the error lists the versions."""
    models = [_model_listing.ModelVersion(key=n, model_name="A", name=f"v{n}") for n in (1, 2)]
    assert _model_listing.find_model(models, "A", "v2").key == 2
    with pytest.raises(ConfigurationError, match="'v1', 'v2'"):
        _model_listing.find_model(models, "A", None)


async def test_api_key_is_sent_to_its_own_host_only() -> None:
    """The key is sent to the edition's host as a bearer token, and never to a file host."""
    seen: list[tuple[str, str | None]] = []
    provider = FakeBetterWaifu(seconds=0.0, latency=0.0, cool_down=0.0)

    async def respond(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, request.headers.get("authorization")))
        if request.url.host == "cdn.example.com":
            return httpx.Response(200, content=b"\x89PNG\r\n\x1a\n", headers={"content-type": "image/png"})
        return await provider(request)

    async with client_of(respond, "v1-images") as client:
        result = await client.run(picture())
        await client.fetch(result.assets[0])
    assert seen == [(httpx.URL(HOSTS["v1-images"]).host, f"Bearer {KEY}"), ("cdn.example.com", None)]
    assert KEY not in repr(client)


async def test_reads_server_error_is_raised_after_retries() -> None:
    """After its retries the read raises the server's error."""

    async def respond(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500, json={"error": "internal"})

    async with client_of(respond, retries=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ServerError):
            await client.models()
