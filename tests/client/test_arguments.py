"""Each public verb, given a value of the wrong type, raises one clear error: argument, value, and the way out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from aiowery import Asset, BetterWaifu, Job, WeryAI
from aiowery._core.messages import HttpRequest
from aiowery.errors import AioweryError, ConfigurationError, DownloadError
from aiowery.typing import BatchService
from aiowery.webhook import Receiver
from aiowery.weryai import Podcast, TextToImage
from tests.support import CAT, KEY, PNG, URL, FakeWeryAI, client_of, envelope, http_response, peer

pytestmark = pytest.mark.anyio

Call = Callable[[Any, Any], Any]
READ: Final = HttpRequest("GET", "/v1/x")

# For each verb, its arguments, each with a call that passes one value as this argument.
VERBS: Final[dict[str, dict[str, Call]]] = {
    "submit": {
        "request": lambda client, odd: client.submit(odd),
        "job_timeout": lambda client, odd: client.submit(CAT, job_timeout=odd),
        "start_within": lambda client, odd: client.submit(CAT, start_within=odd),
        "name": lambda client, odd: client.submit(CAT, name=odd),
    },
    "run": {
        "request": lambda client, odd: client.run(odd),
        "timeout": lambda client, odd: client.run(CAT, timeout=odd),
        "start_within": lambda client, odd: client.run(CAT, start_within=odd),
        "name": lambda client, odd: client.run(CAT, name=odd),
    },
    "stream": {
        "requests": lambda client, odd: client.stream(odd),
        "in_flight": lambda client, odd: client.stream([CAT], in_flight=odd),
        "job_timeout": lambda client, odd: client.stream([CAT], job_timeout=odd),
        "batch": lambda client, odd: client.stream([CAT], batch=odd),
        "budget": lambda client, odd: client.stream([CAT], batch="b", budget=odd),
        "on_doubt": lambda client, odd: client.stream([CAT], batch="b", on_doubt=odd),
    },
    "resume": {
        "batch": lambda client, odd: client.resume(odd),
        "in_flight": lambda client, odd: client.resume("b", in_flight=odd),
        "job_timeout": lambda client, odd: client.resume("b", job_timeout=odd),
        "budget": lambda client, odd: client.resume("b", budget=odd),
        "on_doubt": lambda client, odd: client.resume("b", on_doubt=odd),
    },
    "resubmit": {
        "entry_id": lambda client, odd: client.resubmit(odd),
        "job_timeout": lambda client, odd: client.resubmit(1, job_timeout=odd),
    },
    "job": {
        "task_id": lambda client, odd: client.job(odd),
        "of": lambda client, odd: client.job("t1", of=odd),
    },
    "pending_submission": {"request": lambda client, odd: client.pending_submission(odd)},
    "status": {"task_id": lambda client, odd: client.status(odd)},
    "batch_status": {"provider_batch_id": lambda client, odd: client.batch_status(odd)},
    "models": {"kind": lambda client, odd: client.models(odd)},
    "check": {"request": lambda client, odd: client.check(odd)},
    "upload": {"source": lambda client, odd: client.upload(odd)},
    "read": {
        "request": lambda client, odd: client.read(odd, len),
        "decode": lambda client, odd: client.read(READ, odd),
    },
    "download": {
        "what": lambda client, odd: client.download(odd, "out"),
        "directory": lambda client, odd: client.download(Asset(URL), odd),
        "name": lambda client, odd: client.download(Asset(URL), "out", name=odd),
    },
    "fetch": {"asset": lambda client, odd: client.fetch(odd)},
    "speakers": {"language": lambda client, odd: client.speakers(odd)},
    "podcast": {
        "request": lambda client, odd: client.podcast(odd),
        "task_id": lambda client, odd: client.podcast(task_id=odd),
        "job_timeout": lambda client, odd: client.podcast(Podcast(query="tea", speakers=["a"]), job_timeout=odd),
    },
    "chat": {"messages": lambda client, odd: client.chat(odd)},
    "find_model": {
        "model_name": lambda client, odd: client.find_model(odd),
        "name": lambda client, odd: client.find_model("x", odd),
    },
}
BATCH_VERBS: Final[dict[str, dict[str, Call]]] = {
    "enter": {
        "name": lambda batches, odd: batches.enter(odd, [CAT], reuse=False),
        "requests": lambda batches, odd: batches.enter("b", odd, reuse=False),
    },
    "entry_states": {
        "name": lambda batches, odd: batches.entry_states(odd, [CAT]),
        "requests": lambda batches, odd: batches.entry_states("b", odd),
    },
    "price": {"request": lambda batches, odd: batches.price(odd)},
    "job": {
        "entry_id": lambda batches, odd: batches.job(odd, CAT),
        "request": lambda batches, odd: batches.job(1, odd),
        "job_timeout": lambda batches, odd: batches.job(1, CAT, odd),
        "budget": lambda batches, odd: batches.job(1, CAT, budget=odd),
        "name": lambda batches, odd: batches.job(1, CAT, name=odd),
    },
}
"""The verbs of `client.batches`."""
WITHIN: Final = {
    "add_requests",
    "find_equal",
    "job_without_sending",
    "pending",
    "release_within",
    "resubmit",
    "run",
}
"""The verbs of `client.batches` that the client itself calls, with checked arguments."""
WITHOUT_ARGUMENTS: Final = {
    "account",
    "aclose",
    "balance",
    "jobs",
    "open",
    "resume_submitting",
    "statistics",
    "stop_submitting",
}
FLAGS: Final = {"ordered", "ended", "reuse", "svg", "legacy", "fixed"}
"""Arguments of which only the truth counts."""
ELSEWHERE: Final = {"settings": "fields of Chat", "task_ids": "named task_id", "batch_no": "tests/http/test_upload.py"}
ODD: Final = (41, 4.5, [41], object(), b"bytes", "")
"""Values of wrong types; each argument is tried with those that it does not accept."""
ACCEPTED: Final[dict[str, tuple[Any, ...]]] = {
    "budget": (41, 4.5),
    "decode": (),
    "directory": ("",),
    "entry_id": (41,),
    "in_flight": (41,),
    "job_timeout": (41, 4.5),
    "kind": (),
    "language": ("",),
    "messages": ("",),
    "model_name": ("",),
    "name": (41, ""),
    "requests": ([41],),
    "source": (b"bytes", ""),
    "start_within": (41, 4.5),
    "timeout": (41, 4.5),
}
"""The values that an argument accepts, or that are of the right type."""


def verbs_of(cls: type[Any]) -> set[str]:
    """Return the names of the public methods of a class."""
    return {name for name, member in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


def cases(verbs: dict[str, dict[str, Call]], accepted: dict[str, tuple[Any, ...]]) -> list[Any]:
    """Return each argument of each verb, with each value that it does not accept."""
    return [
        pytest.param(verb, argument, odd, id=f"{verb}-{argument}-{type(odd).__name__}")
        for verb, calls in verbs.items()
        for argument in calls
        for odd in ODD
        if not any(odd is value or odd == value for value in accepted.get(argument, ()))
    ]


def test_table_has_every_public_verb_and_argument() -> None:
    """A new verb, and a new argument, has a row here."""
    assert set(VERBS) | WITHOUT_ARGUMENTS == verbs_of(WeryAI) | verbs_of(BetterWaifu)
    for cls in (WeryAI, BetterWaifu):
        for verb in verbs_of(cls) - WITHOUT_ARGUMENTS:
            names = set(inspect.signature(getattr(cls, verb)).parameters) - {"self"}
            assert names - FLAGS - set(ELSEWHERE) <= set(VERBS[verb])


async def outcome_of(call: Any) -> Any:
    """Return what a verb returns: a value, an awaited one, or the first item of a stream."""
    if isinstance(call, AsyncIterator):
        async for outcome in call:
            return outcome.unwrap()
        return None
    return await call if inspect.isawaitable(call) and not isinstance(call, Job) else call


@pytest.mark.parametrize(("verb", "argument", "odd"), cases(VERBS, ACCEPTED))
async def test_verb_with_a_wrong_argument_names_it_the_value_and_the_way_out(
    verb: str, argument: str, odd: Any
) -> None:
    """No TypeError or AttributeError from inside, and nothing is sent."""
    sent: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return envelope([])

    call = VERBS[verb][argument]
    async with client_of(answer) as weryai:
        client: Any = weryai if hasattr(weryai, verb) else None
        with pytest.raises(ConfigurationError) as caught:
            if client is not None:
                await outcome_of(call(client, odd))
            else:
                async with BetterWaifu(KEY, base_url=URL) as other:
                    await outcome_of(call(other, odd))
    assert_names(caught.value, argument, odd)
    assert sent == []


def assert_names(error: ConfigurationError, argument: str, odd: Any) -> None:
    """Fail unless the message has the argument, the value, and what is valid."""
    message = str(error)
    assert argument in message
    assert "must be" in message or "expected" in message
    assert (repr(odd)[:20] in message) or (isinstance(odd, list) and repr(odd[0]) in message)


def test_batch_table_has_every_public_verb_and_argument() -> None:
    """A new verb of `client.batches`, and a new argument, has a row here."""
    assert set(BATCH_VERBS) | WITHIN == verbs_of(BatchService)
    for verb, calls in BATCH_VERBS.items():
        assert set(inspect.signature(getattr(BatchService, verb)).parameters) - {"self"} - FLAGS == set(calls)


@pytest.mark.parametrize(
    ("verb", "argument", "odd"),
    [
        *cases({verb: BATCH_VERBS[verb] for verb in ("enter", "entry_states")}, {"requests": ([41],)}),
        *cases({verb: BATCH_VERBS[verb] for verb in ("price", "job")}, ACCEPTED),
    ],
)
async def test_verb_of_batches_with_a_wrong_argument_names_it_the_value_and_the_way_out(
    verb: str, argument: str, odd: Any
) -> None:
    """A caller with a loop of its own gets the same errors. Nothing is sent, and nothing is added to the ledger."""
    provider = FakeWeryAI()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError) as caught:
            await BATCH_VERBS[verb][argument](client.batches, odd)
        assert not await client.ledger.batches()
    assert_names(caught.value, argument, odd)
    assert provider.posts == []


async def test_enter_of_requests_that_can_be_read_once_says_a_list_is_needed() -> None:
    """The requests are read twice. A generator would be empty the second time."""
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match=r"enter\(\): requests must be a list of requests"):
            await client.batches.enter("b", (one for one in [CAT]), reuse=False)  # type: ignore[arg-type]
        assert not await client.ledger.batches()


@pytest.mark.parametrize("batch", [None, "cats"])
async def test_stream_with_a_wrong_item_names_it(batch: str | None) -> None:
    """An item that is no request raises, with its number; nothing of it is sent."""
    provider = FakeWeryAI()
    async with client_of(provider) as client:
        with pytest.raises(ConfigurationError, match=r"item 0 must be a request, .* got 'a cat'"):
            async for _ in client.stream(["a cat"], batch=batch):  # type: ignore[arg-type]
                pass
    assert provider.posts == []


@pytest.mark.parametrize("requests", ["a cat", CAT, {"prompt": "a cat"}])
async def test_stream_of_one_request_says_how_to_write_a_list(requests: Any) -> None:
    """A single request, or a text, is no list of requests."""
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match=r"write \[\.\.\.\] around one"):
            client.stream(requests)


async def test_chat_with_an_unknown_setting_names_it() -> None:
    """A misspelled setting is no TypeError."""
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match=r"chat\(\): temprature is no field"):
            await client.chat("hello", temprature=1)


async def test_fetch_and_download_take_a_url(tmp_path: Path) -> None:
    """A URL is an asset: of the web, or with its content in it."""
    async with peer(http_response(PNG, content_type="image/png")) as server:
        async with WeryAI(KEY, base_url=server.url) as client:
            url = f"{server.url}/r/kitten.png"
            assert await client.fetch(url) == await client.fetch(f" {url}\n") == PNG
            (path,) = await client.download(url, tmp_path)
            (named,) = await client.download(url, str(tmp_path), name="a cat")
    assert (path.name, path.read_bytes()) == ("kitten.png", PNG)
    assert named.name == "a-cat.png"


@pytest.mark.parametrize("text", ["t1", "ftp://x.example/1.png", "kitten.png", "null", "https://"])
async def test_fetch_and_download_of_another_text_say_what_is_needed(text: str, tmp_path: Path) -> None:
    """A task id, or a path, is no asset; the message says how to get the outputs of a task."""
    async with client_of(FakeWeryAI()) as client:
        for use in (client.fetch(text), client.download(text, tmp_path)):
            with pytest.raises(ConfigurationError, match=r"begins with https://.*client\.job\(task_id\)"):
                await use


async def test_fetch_of_a_url_in_a_private_network_is_refused() -> None:
    """A URL that is given directly passes the same checks as one of a result."""
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(DownloadError, match="private network"):
            await client.fetch("http://10.0.0.7/1.png")


SETTINGS: Final[dict[str, tuple[Any, ...]]] = {
    "api_key": (41, [41], b"bytes"),
    "base_url": (41, [41], b"bytes"),
    "models_base_url": (41,),
    "limits": (41, "x", {}),
    "polling": (41, "x"),
    "retries": (41, "x"),
    "http_timeout": ("x", None, 0, -1, [41]),
    "http": (41, "x", [41]),
    "observer": (41, "x"),
    "low_credits": ("x", [41]),
    "ledger": (41, [41]),
    "budget": ("x", -1, [41], 10**400),
    "prices": (41, "x"),
    "price_per_credit": ("x", -1),
    "allow_hosts": ("10.0.0.7", 41, [41]),
    "webhooks": (41, "https://x.example"),
}


@pytest.mark.parametrize(
    ("name", "odd"), [(name, odd) for name, values in SETTINGS.items() for odd in values], ids=repr
)
async def test_constructor_with_a_wrong_setting_names_it(name: str, odd: Any) -> None:
    """It is found when the client is made, or at the latest when it opens."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        async with WeryAI(**{"api_key": KEY, "base_url": URL, name: odd}):
            pass
    assert "must" in str(caught.value)


def test_settings_table_has_every_setting() -> None:
    """A new setting has a row in the table above; only the truth of the flags counts."""
    given = set(inspect.signature(WeryAI).parameters)
    assert given - {"reuse", "log_prompts"} == set(SETTINGS)


@pytest.mark.parametrize("queue_file", [41, [41]])
def test_betterwaifu_queue_file_of_a_wrong_type_is_named(queue_file: Any) -> None:
    """The setting that WeryAI does not have."""
    with pytest.raises(ConfigurationError, match="queue_file must be the path of a file"):
        BetterWaifu(KEY, queue_file=queue_file)


@pytest.mark.parametrize("odd", ["x" * 257, "x" * 1_000_000])
async def test_id_that_no_response_can_have_is_refused(odd: str) -> None:
    """An id in a log line, an error or a repr is short, also one of the caller's."""
    async with client_of(FakeWeryAI()) as client:
        for use in (client.job, client.status, client.batch_status):
            with pytest.raises(ConfigurationError, match="must be an id as the provider returned it") as caught:
                made = use(odd)
                if inspect.isawaitable(made):
                    await made
            assert len(str(caught.value)) < 500
        assert client.jobs() == ()


@pytest.mark.parametrize("queue_file", ["", ":memory:", "file:q.json", "a\0b", "x" * 300, "x/" * 3000 + "q"])
def test_betterwaifu_queue_file_that_names_no_file_is_named(queue_file: str) -> None:
    """The paths that a ledger does not have either."""
    with pytest.raises(ConfigurationError, match=r"queue_file must .*nothing was sent: give ") as caught:
        BetterWaifu(KEY, queue_file=queue_file)
    assert len(str(caught.value)) < 500


async def test_download_into_a_directory_that_no_name_can_be_is_named() -> None:
    """A NUL ends every name."""
    async with client_of(FakeWeryAI()) as client:
        with pytest.raises(ConfigurationError, match=r"directory must be the path of a directory"):
            await client.download(Asset(URL), "a\0b")


@pytest.mark.parametrize("settings", [{"largest": "x"}, {"within": "x"}, {"within": None}, {"largest": True}])
def test_receiver_with_a_wrong_limit_names_it(settings: dict[str, Any]) -> None:
    """A receiver's limits are numbers above 0."""
    with pytest.raises(ConfigurationError, match="largest and within must be numbers above 0"):
        Receiver(**settings)


@pytest.mark.parametrize("verb", ["wait", "wait_finished", "updates"])
async def test_job_verbs_with_a_wrong_timeout_name_it(verb: str) -> None:
    """The waits of a job check their timeout as submissions do."""
    async with client_of(FakeWeryAI()) as client:
        job = await client.submit(TextToImage(prompt="a cat"))
        for odd in ("x", [41], True, -1):
            waiting = getattr(job, verb)(timeout=odd)
            with pytest.raises(ConfigurationError, match="timeout must be a number of seconds") as caught:
                if verb == "updates":
                    await anext(waiting)
                else:
                    await waiting
            assert isinstance(caught.value, AioweryError)
