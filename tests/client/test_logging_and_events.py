"""Log records, events, statistics, and the ids of requests at the provider."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from aiowery import (
    Event,
    JobAccepted,
    JobFinished,
    JobUpdated,
    Limits,
    LowCredits,
    OutputDownloaded,
    PollFailed,
    PollPolicy,
    QueueBackedOff,
    RequestInDoubt,
    RequestQueued,
    RequestRefused,
    WeryAI,
)
from aiowery.errors import AioweryError, InsufficientCredits, JobFailed, SubmissionInDoubt
from aiowery.ledger import MemoryLedger, State
from aiowery.testing import run_virtual
from aiowery.weryai import Chat, TextToImage
from tests.support import CAT, KEY, PNG, FakeWeryAI, client_of, envelope, http_response, peer

TABBY = TextToImage(prompt="a fluffy orange tabby cat sitting on a windowsill in the evening sun")


def records(caplog: pytest.LogCaptureFixture, level: int) -> list[Any]:
    """Return the records of the library's logger at this level."""
    return [record for record in caplog.records if record.name == "aiowery" and record.levelno == level]


@pytest.mark.virtual_time
async def test_log_job_writes_two_info_records(caplog: pytest.LogCaptureFixture) -> None:
    """A job writes two INFO records with label, task ids, type, model, seconds and credits."""
    caplog.set_level(logging.INFO, "aiowery")
    async with client_of(FakeWeryAI()) as client:
        await client.run(TABBY, name="order 17")
    accepted, ended = records(caplog, logging.INFO)
    assert accepted.task_ids == ended.task_ids == ("task_0",)
    assert (accepted.type, accepted.model) == ("text-to-image", "WERYAI_IMAGE_2_0")
    assert accepted.label == ended.label == "text-to-image WERYAI_IMAGE_2_0, order 17"
    assert accepted.getMessage() == "accepted: text-to-image WERYAI_IMAGE_2_0, order 17 (task_0)"
    assert ended.seconds >= 10
    assert ended.credits == 1


@pytest.mark.virtual_time
async def test_log_polls_are_debug_and_failures_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A poll with a change is DEBUG. A failed poll or a back-off is WARNING."""
    caplog.set_level(logging.DEBUG, "aiowery")
    provider = FakeWeryAI(faults={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
    async with client_of(provider) as client:
        await client.run(TABBY)
    warnings = [record.getMessage() for record in records(caplog, logging.WARNING)]
    assert len(warnings) == 2
    assert "refused because of load" in warnings[0]
    assert "a status check failed" in warnings[1]
    assert len(records(caplog, logging.DEBUG)) >= 1
    assert len(records(caplog, logging.INFO)) == 2


@pytest.mark.virtual_time
async def test_observer_receives_events_in_order() -> None:
    """The observer receives frozen events in order: back-off, accepted, failure, updates, finished."""
    events: list[Event] = []
    provider = FakeWeryAI(faults={"status": [httpx.Response(500)], "submit": [httpx.Response(429)]})
    async with client_of(provider, observer=events.append) as client:
        await client.run(TABBY)
    kinds = [type(event) for event in events]
    assert kinds[:3] == [QueueBackedOff, JobAccepted, PollFailed]
    assert set(kinds[3:-1]) == {JobUpdated}
    ended = events[-1]
    assert isinstance(ended, JobFinished)
    assert (ended.task_ids, ended.credits, ended.error) == (("task_0",), 1, None)


@pytest.mark.virtual_time
async def test_observer_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the observer is logged once, and the job goes on."""

    def broken(_: Event) -> None:
        raise LookupError("the observer's own bug")

    async with client_of(FakeWeryAI(), observer=broken) as client:
        await client.run(TABBY)
    assert caplog.text.count("the observer raised") == 1


@pytest.mark.parametrize(("balance", "emitted"), [(4.5, [4.5]), (5, []), (100, [])])
@pytest.mark.virtual_time
async def test_balance_below_threshold_emits_low_credits(balance: float, emitted: list[float]) -> None:
    """A balance below the caller's threshold becomes an event."""
    events: list[Event] = []

    async def answer(_: httpx.Request) -> httpx.Response:
        return envelope(balance)

    async with client_of(answer, observer=events.append, low_credits=5) as client:
        assert await client.balance() == balance
    assert [event.balance for event in events if isinstance(event, LowCredits)] == emitted


@pytest.mark.virtual_time
async def test_submit_without_credits_emits_low_credits() -> None:
    """A rejection for want of credits becomes an event, whatever the threshold is."""
    events: list[Event] = []
    provider = FakeWeryAI(faults={"submit": [envelope(None, 1004, "insufficient credits")]})
    async with client_of(provider, observer=events.append) as client:
        with pytest.raises(InsufficientCredits):
            await client.run(TABBY)
    assert [type(event) for event in events] == [RequestRefused, LowCredits]


@pytest.mark.parametrize("place", ["header", "body"])
@pytest.mark.virtual_time
async def test_request_id_is_on_result_error_and_log(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """The id of a response, in a header or the body, is on the result, the error and the log record."""
    caplog.set_level(logging.INFO, "aiowery")

    def stamped(data: Any, status: int = 0) -> httpx.Response:
        if place == "header":
            return httpx.Response(
                200, json={"status": status, "desc": "x", "data": data}, headers={"x-request-id": "r-7"}
            )
        return httpx.Response(200, json={"status": status, "desc": "x", "data": data, "request_id": "r-7"})

    good = stamped({"task_ids": ["task_0"]})
    failed = envelope({"task_id": "task_0", "task_status": "FAILED", "msg": "no"})
    provider = FakeWeryAI(faults={"submit": [good, stamped(None, 1004), stamped({})]}, finished_at={"task_0": 1.0})
    async with client_of(provider) as client:
        assert (await client.run(TABBY)).request_id == "r-7"
        for expected in (InsufficientCredits, SubmissionInDoubt):
            with pytest.raises(expected) as caught:
                await client.run(TABBY)
            assert caught.value.request_id == "r-7"
        provider.faults = {"submit": [good], "status": [failed]}
        with pytest.raises(JobFailed) as lost:
            await client.run(TABBY)
        assert lost.value.request_id == "r-7"
    assert [record.request_id for record in records(caplog, logging.INFO)[:2]] == ["r-7", "r-7"]


@pytest.mark.virtual_time
async def test_statistics_are_consistent_and_frozen() -> None:
    """The figures of queue, polls and submissions are consistent, and do not change afterwards."""
    provider = FakeWeryAI(seconds=20, faults={"submit": [envelope(None, 1004, "no credits"), httpx.Response(502)]})
    async with client_of(provider, limits=Limits(in_flight=2)) as client:
        runs = [asyncio.ensure_future(client.run(TABBY)) for _ in range(6)]
        await asyncio.sleep(10)
        now = client.statistics()
        assert (now.submitted, now.accepted, now.refused, now.in_doubt) == (4, 2, 1, 1)
        assert (now.under_way, now.queue.in_use, now.queue.waiting, now.polls.tracked) == (2, 2, 2, 2)
        await asyncio.gather(*runs, return_exceptions=True)
        then = client.statistics()
        assert (then.finished, then.under_way, then.queue.in_use) == (4, 0, 0)
        assert now.finished == 0


def test_errors_pickle_without_job() -> None:
    """Errors can cross process boundaries: ids, request and message are pickled, the job is not."""

    async def failures() -> list[AioweryError]:
        provider = FakeWeryAI(seconds=100, faults={"submit": [httpx.Response(502), envelope(None, 1004, "no")]})
        async with client_of(provider) as client:
            caught = await asyncio.gather(
                client.run(TABBY), client.run(TABBY), client.run(TABBY, timeout=5), return_exceptions=True
            )
        return [error for error in caught if isinstance(error, AioweryError)]

    errors = run_virtual(failures())
    assert len(errors) == 3
    for error in errors:
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes that this test pickled
        assert type(again) is type(error)
        assert str(again) == str(error)
        left, kept = {**error.__dict__, "job": None}, {**again.__dict__, "job": None}
        assert kept == left


PROMPT = "a secret prompt of a person"


@pytest.mark.virtual_time
async def test_log_prompts_are_in_no_label_event_or_error_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """A prompt is in one DEBUG record of a job; INFO records, events and errors name type, model and number."""
    caplog.set_level(logging.DEBUG, "aiowery")
    events: list[Event] = []
    faults: dict[str, Any] = {"submit": [httpx.Response(429), envelope(None, 1004, "no"), httpx.Response(502)]}
    provider = FakeWeryAI(faults=faults)
    requests = [TextToImage(prompt=f"{PROMPT} {number}", caller_id=7) for number in range(4)]
    async with client_of(provider, observer=events.append, limits=Limits(submissions=1)) as client:
        outcomes = [outcome async for outcome in client.stream(requests)]
        job = await client.submit(requests[0], name=7)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    assert {type(error).__name__ for error in errors} == {"InsufficientCredits", "SubmissionInDoubt"}
    told = [str(error) for error in errors] + [repr(event) for event in events if not hasattr(event, "error")]
    told += [getattr(event, "label", "") for event in events] + [job.label, repr(job)]
    told += [f"{one.getMessage()} {vars(one)}" for one in caplog.records if one.levelno > logging.DEBUG]
    assert [text for text in told if "secret" in text] == []
    assert {"text-to-image WERYAI_IMAGE_2_0, caller 7, #0", "text-to-image WERYAI_IMAGE_2_0, caller 7, 7"} <= {
        getattr(event, "label", "") for event in events
    }
    debug = [record.getMessage() for record in records(caplog, logging.DEBUG) if "secret" in record.getMessage()]
    assert debug
    assert all(message.startswith("prompt of task_") for message in debug)


@pytest.mark.virtual_time
async def test_log_prompts_on_request_are_in_labels_events_and_errors(caplog: pytest.LogCaptureFixture) -> None:
    """With `log_prompts`, labels end with the beginning of the prompt."""
    caplog.set_level(logging.INFO, "aiowery")
    events: list[Event] = []
    provider = FakeWeryAI(faults={"submit": [httpx.Response(502)]})
    async with client_of(provider, observer=events.append, log_prompts=True) as client:
        with pytest.raises(SubmissionInDoubt, match=rf"^text-to-image WERYAI_IMAGE_2_0, '{PROMPT}': sent at"):
            await client.submit(TextToImage(prompt=PROMPT))
        await client.run(TABBY)
    label = "text-to-image WERYAI_IMAGE_2_0, 'a fluffy orange tabby cat sitting on a windowsi...'"
    assert {getattr(event, "label", label) for event in events[1:]} == {label}
    assert all(label in record.getMessage() for record in records(caplog, logging.INFO))


@pytest.mark.parametrize(
    ("request_", "label"),
    [
        (CAT, "text-to-image WERYAI_IMAGE_2_0"),
        (Chat(messages="a secret"), "chat GPT_4O"),
        (TextToImage(prompt="a secret", model="FLUX", caller_id=0), "text-to-image FLUX, caller 0"),
    ],
)
def test_log_label_names_type_model_and_caller(request_: Any, label: str) -> None:
    """The label of a request holds nothing of its texts."""
    assert request_.log_label == label


@pytest.mark.virtual_time
async def test_log_of_a_doubt_has_facts_and_the_label_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warning about a doubt has `extra` as all records about a submission, and says its label once."""
    answer = httpx.Response(502, json={"status": 5000, "data": {"task_ids": ["t9"]}}, headers={"x-request-id": "r-7"})
    provider = FakeWeryAI(faults={"submit": [answer]})
    async with client_of(provider) as client:
        with pytest.raises(SubmissionInDoubt):
            await client.submit(TABBY, name=3)
    (record,) = [one for one in records(caplog, logging.WARNING) if one.getMessage().startswith("in doubt: ")]
    assert record.getMessage().count("text-to-image WERYAI_IMAGE_2_0, 3") == 1
    assert (record.label, record.type, record.model) == (
        "text-to-image WERYAI_IMAGE_2_0, 3",
        "text-to-image",
        "WERYAI_IMAGE_2_0",
    )
    assert (record.task_ids, record.request_id) == (("t9",), "r-7")


@pytest.mark.virtual_time
async def test_log_records_about_a_submission_have_the_same_facts(caplog: pytest.LogCaptureFixture) -> None:
    """Each record from acceptance to end, and each about a refusal, has the label in its `extra`."""
    caplog.set_level(logging.DEBUG, "aiowery")
    refusals: list[Any] = [httpx.Response(429), envelope(None, 1004, "no")]
    provider = FakeWeryAI(faults={"submit": refusals, "status": [httpx.Response(500)]})
    async with client_of(provider) as client:
        with pytest.raises(InsufficientCredits):
            await client.run(TABBY, name="order 17")
        await client.run(TABBY, name="order 17")
    labels = [getattr(record, "label", None) for record in caplog.records if record.name == "aiowery"]
    assert len(labels) > 5
    assert set(labels) == {"text-to-image WERYAI_IMAGE_2_0, order 17"}


@pytest.mark.virtual_time
async def test_observer_receives_queued_refused_and_in_doubt() -> None:
    """A request that waits, one that is refused, and one without a clear answer cause an event each."""
    events: list[Event] = []
    provider = FakeWeryAI(faults={"submit": [envelope(None, 1004, "no"), httpx.Response(502)]})
    async with client_of(provider, observer=events.append, limits=Limits(in_flight=1)) as client:
        for name in ("1", "2"):
            with pytest.raises(AioweryError):
                await client.submit(TABBY, name=name)
        jobs = await asyncio.gather(*(client.run(TABBY, name=name) for name in ("3", "4", "5")))
    assert len(jobs) == 3
    queued = [(event.label[-1], event.ahead) for event in events if isinstance(event, RequestQueued)]
    assert queued == [("4", 0), ("5", 1)]
    (refused,) = [event for event in events if isinstance(event, RequestRefused)]
    (doubt,) = [event for event in events if isinstance(event, RequestInDoubt)]
    assert (refused.label[-1], type(refused.error)) == ("1", InsufficientCredits)
    assert (doubt.label[-1], type(doubt.error), doubt.task_ids) == ("2", SubmissionInDoubt, ())


@pytest.mark.anyio
async def test_observer_receives_downloads(tmp_path: Path) -> None:
    """Each output that was fetched causes an event, with its file if it was saved."""
    events: list[Event] = []
    async with peer(http_response(PNG, content_type="image/png")) as server:
        async with WeryAI(KEY, base_url=server.url, observer=events.append) as client:
            (path,) = await client.download(f"{server.url}/1.png", tmp_path)
            await client.fetch(f"{server.url}/2.png")
    saved, fetched = events
    assert isinstance(saved, OutputDownloaded)
    assert isinstance(fetched, OutputDownloaded)
    assert (saved.asset.url, saved.path) == (f"{server.url}/1.png", path)
    assert (fetched.asset.url, fetched.path) == (f"{server.url}/2.png", None)


class BrokenHandler(logging.Handler):
    """A handler that raises, as one of Rich does for a prompt that looks like markup."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Raise."""
        raise LookupError(record.getMessage())


@pytest.mark.virtual_time
async def test_log_handler_that_raises_breaks_no_job() -> None:
    """After the charge the job still ends, with its result, its events and its entry in the ledger."""
    events: list[Event] = []
    handler, logger = BrokenHandler(), logging.getLogger("aiowery")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    ledger = MemoryLedger(remember=10)
    await ledger.open()
    try:
        provider = FakeWeryAI(faults={"submit": [httpx.Response(429)], "status": [httpx.Response(500)]})
        async with client_of(provider, observer=events.append, ledger=ledger) as client:
            (outcome,) = [one async for one in client.stream([TextToImage(prompt="[/b] a cat")], batch="cats")]
            (entry,) = await ledger.entries("cats")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert outcome.result is not None
    assert entry.state is State.DONE
    assert isinstance(events[-1], JobFinished)


def forged(text: str) -> str:
    """Return a provider's text that tries to begin a line of its own."""
    return f"{text}\nERROR forged \x1b[31m\u202e"


@pytest.mark.parametrize("place", ["refusal", "failure", "status", "page", "header"])
@pytest.mark.anyio
async def test_text_of_the_provider_forges_no_log_line(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Newlines and escapes in what the provider sends are in no record, no event and no error."""
    caplog.set_level(logging.DEBUG, "aiowery")
    events: list[Event] = []
    accepted = http_response({"status": 0, "data": {"task_ids": ["t1"]}})
    task = {"task_id": "t1", "task_status": "FAILED", "msg": forged("blurred")}
    answers = {
        "refusal": (http_response({"status": 1006, "message": forged("bad")}),),
        "failure": (accepted, http_response({"status": 0, "data": task})),
        "status": (
            accepted,
            http_response({"status": 0, "data": {"task_id": "t1", "task_status": forged("ODD")}}),
            http_response({"status": 0, "data": task}),
        ),
        "page": (http_response(forged("<html>"), "502 Bad Gateway"),),
        "header": (http_response("", "302 Found", location="https://x.example/\x1b[31m"),),
    }[place]
    async with peer(*answers) as server:
        polling = PollPolicy().faster(1000)
        async with WeryAI(KEY, base_url=server.url, observer=events.append, polling=polling) as client:
            with pytest.raises(AioweryError) as caught:
                await client.run(CAT)
    assert str(caught.value).isprintable()
    messages = [record.getMessage() for record in caplog.records if record.name == "aiowery"]
    assert messages
    assert [message for message in messages if not message.isprintable()] == []
    snapshots = [event.snapshot for event in events if isinstance(event, JobUpdated)]
    assert all(one.raw_status.isprintable() and (one.reason or "").isprintable() for one in snapshots)


def test_docs_list_every_event() -> None:
    """The table of docs/logs-and-events.md has a row for each event, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "logs-and-events.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text.partition("\n## Events")[2], re.MULTILINE)
    assert sorted(rows) == sorted(event.__name__ for event in get_args(Event))
