"""Misfortunes as a plain client of BetterWaifu meets them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiowery.sandbox import FAIL, STUCK, Fault, Sandbox, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiowery.sandbox._faults.script import On

    Send = Callable[..., httpx.Response]
    Ended = Callable[[str], dict[str, Any]]

OF_WERYAI = (
    faults.Success200(),
    faults.TextInMsg(),
    faults.NumericTaskIds(),
    faults.StringBatchId(),
    faults.SingleTaskId(),
    faults.ListData(),
    faults.SingleObject(),
    faults.MissingTasks(),
    faults.ObjectOutputs(),
    faults.NestedOutputs(),
)


@pytest.mark.parametrize(
    ("on", "method", "path"),
    [
        ("submit", "POST", "/api/v1/generate"),
        ("submit", "POST", "/v1/images/generate"),
        ("status", "GET", "/api/v1/generate/job_x"),
        ("models", "GET", "/api/v1/models"),
        ("balance", "GET", "/api/v1/account"),
        ("file", "GET", "/images/x.webp"),
    ],
)
def test_every_call_has_a_name_for_faults(sandbox: Sandbox, http: httpx.Client, on: On, method: str, path: str) -> None:
    """A fault for these calls strikes this one, with a page of HTML."""
    sandbox.inject(Fault(faults.UNAVAILABLE, on=on))
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html")


def test_a_lost_answer_is_charged(sandbox: Sandbox, generate: Send) -> None:
    """The generation exists, costs and holds the place; the connection closes without a word."""
    sandbox.inject(Fault(faults.LostAnswer(0.05), on="submit"))
    with pytest.raises(httpx.RemoteProtocolError):
        generate(prompt=STUCK)
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.active) == (1, 1)


@pytest.mark.parametrize("edition", ["generate", "imagine"])
@pytest.mark.parametrize(("processed", "charged"), [(False, 0), (True, 1)])
def test_a_reset_strikes_before_or_after(
    request: pytest.FixtureRequest, sandbox: Sandbox, edition: str, processed: bool, charged: int
) -> None:
    """A reset before processing leaves no trace, one after it leaves a paid generation."""
    sandbox.inject(Fault(faults.Reset(processed=processed), on="submit"))
    with pytest.raises(httpx.ReadError, match="reset"):
        request.getfixturevalue(edition)()
    assert sandbox.betterwaifu.charged == charged


def test_refusals_speak_the_words_of_jobs(sandbox: Sandbox, generate: Send) -> None:
    """One plain text, the HTTP status and the header that were asked for; the studio never hears of it."""
    sandbox.inject(Fault(faults.ErrorResponse(429, text="slow down", retry_after=7), on="submit"))
    answer = generate()
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (429, {"error": "slow down"}, "7")
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.refused) == (0, 0)
    assert sandbox.weryai.counters.throttled == 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (
            faults.RATE_LIMITED,
            {"code": "rate_limit_exceeded", "message": "Request rate limit exceeded", "retry_after": 1},
        ),
        (faults.UNAUTHORIZED, {"code": "unauthorized", "message": "Authentication failed"}),
        (faults.SERVER_ERROR, {"code": "internal_error", "message": "System error"}),
        (faults.ErrorResponse(200, text="no"), {"code": "internal_error", "message": "no"}),
    ],
)
def test_refusals_speak_the_words_of_v1_images(
    sandbox: Sandbox, imagine: Send, kind: faults.ErrorResponse, error: dict[str, Any]
) -> None:
    """The envelope of the edition, with `success: false` inside a 200 as well."""
    sandbox.inject(Fault(kind, on="submit"))
    answer = imagine()
    assert (answer.status_code, answer.json()) == (kind.http, {"success": False, "error": error})


@pytest.mark.parametrize("edition", ["generate", "imagine"])
@pytest.mark.parametrize(
    ("body", "content"),
    [("upstream error", b"upstream error"), ({"detail": [1]}, b'{"detail": [1]}'), ([], b"[]"), ("", b"")],
)
def test_a_refusal_of_an_odd_shape(
    request: pytest.FixtureRequest, sandbox: Sandbox, edition: str, body: Any, content: bytes
) -> None:
    """A text is sent as it is, other values as JSON."""
    sandbox.inject(Fault(faults.ErrorResponse(500, body=body), on="submit"))
    answer = request.getfixturevalue(edition)()
    kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (500, content, kind)


@pytest.mark.parametrize("edition", ["generate", "imagine"])
def test_a_refusal_may_come_after_the_deed(request: pytest.FixtureRequest, sandbox: Sandbox, edition: str) -> None:
    """With `processed` a refusal in the provider's words hides a paid generation."""
    sandbox.inject(Fault(faults.ErrorResponse(500, text="gone", processed=True), on="submit"))
    assert "gone" in request.getfixturevalue(edition)().text
    assert sandbox.betterwaifu.charged == 1


def test_a_young_job_is_unknown(sandbox: Sandbox, http: httpx.Client, generate: Send, ended: Ended) -> None:
    """HTTP 404 with the documented text right after acceptance, the usual status later."""
    sandbox.inject(Fault(faults.NotFoundYet(0.2), on="status"))
    job_id = generate().json()["id"]
    early = http.get(f"/api/v1/generate/{job_id}")
    assert (early.status_code, early.json()) == (404, {"error": "Generation not found"})
    time.sleep(0.25)
    assert ended(job_id)["status"] == "succeeded"


def test_a_status_word_of_tomorrow(sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send) -> None:
    """Other words take the place of the usual ones, in jobs and in pictures."""
    sandbox.inject(Fault(faults.StatusWords(waiting="reviewing", processing="reviewing", success="done")))
    told = [generate().json()]
    while told[-1]["status"] != "done":
        told.append(http.get(f"/api/v1/generate/{told[0]['id']}").json())
    assert {body["status"] for body in told} == {"reviewing", "done"}
    assert imagine().json()["data"]["status"] == "done"


def test_a_failure_in_another_word(sandbox: Sandbox, http: httpx.Client, generate: Send, ended: Ended) -> None:
    """The reason stays where it is."""
    job_id = generate(prompt=FAIL).json()["id"]
    ended(job_id)
    sandbox.inject(Fault(faults.StatusWords(failed="errored")))
    body = http.get(f"/api/v1/generate/{job_id}").json()
    assert (body["status"], "error" in body) == ("errored", True)


def test_success_without_pictures(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, ended: Ended
) -> None:
    """A job with an empty list, a picture without its address."""
    job_id = generate().json()["id"]
    seed = ended(job_id)["output"]["seed"]
    sandbox.inject(Fault(faults.NoOutputs()))
    body = http.get(f"/api/v1/generate/{job_id}").json()
    assert (body["status"], body["output"]) == ("succeeded", {"images": [], "seed": seed})
    data = imagine().json()["data"]
    assert (data["status"], "url" in data) == ("completed", False)


def test_no_ids(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
    """Paid, and nobody knows of what."""
    sandbox.inject(Fault(faults.NoIds()))
    answer = generate()
    assert (answer.status_code, answer.json()) == (201, {"status": "queued", "queue_position": 3})
    while sandbox.betterwaifu.active:
        time.sleep(0.005)
    assert "image_id" not in imagine().json()["data"]
    assert sandbox.betterwaifu.charged == 2


def test_a_stale_status(sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, ended: Ended) -> None:
    """A finished job seems to be processed again; what is answered at once cannot be stale."""
    job_id = generate().json()["id"]
    ended(job_id)
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=1), Fault(faults.StaleStatus(), on="submit"))
    told = [http.get(f"/api/v1/generate/{job_id}").json() for _ in range(2)]
    assert told[0] == {"id": job_id, "status": "processing"}
    assert told[1]["status"] == "succeeded"
    assert imagine().json()["data"]["status"] == "completed"


def test_kinds_about_the_other_envelope_change_nothing(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, ended: Ended
) -> None:
    """What edits WeryAI's envelope leaves jobs, pictures, models and the account alone."""
    job_id = generate().json()["id"]
    usual = [ended(job_id), http.get("/api/v1/models").json(), http.get("/api/v1/account").json()]
    sandbox.inject(*(Fault(kind) for kind in OF_WERYAI))
    spoiled = [http.get(f"/api/v1/{path}").json() for path in (f"generate/{job_id}", "models", "account")]
    assert spoiled == usual
    assert set(imagine().json()["data"]) == {"image_id", "url", "status", "parameters", "created_at"}


def test_a_fault_strikes_only_what_it_names(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, ended: Ended
) -> None:
    """`match` finds prompts in both POSTs, in the status and at the file."""
    (image,) = ended(generate(prompt="a dragon").json()["id"])["output"]["images"]
    sandbox.inject(Fault(faults.SERVER_ERROR, match="dragon"))
    job_id = sandbox.betterwaifu.jobs[0].id
    struck = [imagine(prompt="a dragon"), generate(prompt="a dragon")]
    struck += [http.get(f"/api/v1/generate/{job_id}"), http.get(image["url"])]
    assert [answer.status_code for answer in struck] == [500] * 4
    assert imagine(prompt="a cat").status_code == 200


def test_a_file_is_cut_off(sandbox: Sandbox, generate: Send, ended: Ended) -> None:
    """Half of a picture, and then a reset."""
    (image,) = ended(generate().json()["id"])["output"]["images"]
    sandbox.inject(Fault(faults.TruncatedFile(0.5), on="file"))
    with pytest.raises(httpx.TransportError):
        httpx.get(image["url"], trust_env=False)


def test_shapes_leave_pages_alone(sandbox: Sandbox, generate: Send) -> None:
    """What is no JSON has no ids, words or pictures to spoil."""
    page = Fault(faults.ErrorResponse(502, html=True, processed=True))
    sandbox.inject(page, *map(Fault, (faults.NoIds(), faults.StatusWords(waiting="x"), faults.NoOutputs())))
    assert generate().text.startswith("<html>")
