"""Fault behaviors, as a plain client of BetterWaifu observes them."""

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
    Finished = Callable[[str], dict[str, Any]]

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
def test_fault_on_applies_to_its_requests(sandbox: Sandbox, http: httpx.Client, on: On, method: str, path: str) -> None:
    """A fault for this kind of requests applies to this request, with an HTML page."""
    sandbox.inject(Fault(faults.UNAVAILABLE, on=on))
    response = http.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (503, "text/html")


def test_lost_answer_is_charged(sandbox: Sandbox, generate: Send) -> None:
    """The generation exists, is charged and occupies the slot. The connection closes without a response."""
    sandbox.inject(Fault(faults.LostAnswer(0.05), on="submit"))
    with pytest.raises(httpx.RemoteProtocolError):
        generate(prompt=STUCK)
    assert (sandbox.betterwaifu.charged, sandbox.betterwaifu.active) == (1, 1)


@pytest.mark.parametrize("edition", ["generate", "imagine"])
@pytest.mark.parametrize(("processed", "charged"), [(False, 0), (True, 1)])
def test_reset_processed_decides_about_charge(
    request: pytest.FixtureRequest, sandbox: Sandbox, edition: str, processed: bool, charged: int
) -> None:
    """A reset before processing creates nothing, a reset after it leaves a paid generation."""
    sandbox.inject(Fault(faults.Reset(processed=processed), on="submit"))
    with pytest.raises(httpx.ReadError, match="reset"):
        request.getfixturevalue(edition)()
    assert sandbox.betterwaifu.charged == charged


def test_error_response_has_the_format_of_jobs(sandbox: Sandbox, generate: Send) -> None:
    """One plain text, the HTTP status and the header of the fault. The state does not receive the request."""
    sandbox.inject(Fault(faults.ErrorResponse(429, text="slow down", retry_after=7), on="submit"))
    response = generate()
    assert (response.status_code, response.json(), response.headers["retry-after"]) == (
        429,
        {"error": "slow down"},
        "7",
    )
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
def test_error_response_has_the_format_of_v1_images(
    sandbox: Sandbox, imagine: Send, kind: faults.ErrorResponse, error: dict[str, Any]
) -> None:
    """The envelope of the edition, with `success: false` in an HTTP 200 response as well."""
    sandbox.inject(Fault(kind, on="submit"))
    response = imagine()
    assert (response.status_code, response.json()) == (kind.http, {"success": False, "error": error})


@pytest.mark.parametrize("edition", ["generate", "imagine"])
@pytest.mark.parametrize(
    ("body", "content"),
    [("upstream error", b"upstream error"), ({"detail": [1]}, b'{"detail": [1]}'), ([], b"[]"), ("", b"")],
)
def test_error_response_body_is_sent_unchanged(
    request: pytest.FixtureRequest, sandbox: Sandbox, edition: str, body: Any, content: bytes
) -> None:
    """A text is sent as it is, other values as JSON."""
    sandbox.inject(Fault(faults.ErrorResponse(500, body=body), on="submit"))
    response = request.getfixturevalue(edition)()
    kind = "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
    assert (response.status_code, response.content, response.headers["content-type"]) == (500, content, kind)


@pytest.mark.parametrize("edition", ["generate", "imagine"])
def test_error_response_processed_is_charged(request: pytest.FixtureRequest, sandbox: Sandbox, edition: str) -> None:
    """With `processed`, the generation behind the refusal is paid."""
    sandbox.inject(Fault(faults.ErrorResponse(500, text="gone", processed=True), on="submit"))
    assert "gone" in request.getfixturevalue(edition)().text
    assert sandbox.betterwaifu.charged == 1


def test_not_found_yet_ends_after_its_seconds(
    sandbox: Sandbox, http: httpx.Client, generate: Send, finished_job: Finished
) -> None:
    """HTTP 404 with the documented text right after acceptance, the usual status later."""
    sandbox.inject(Fault(faults.NotFoundYet(0.2), on="status"))
    job_id = generate().json()["id"]
    early = http.get(f"/api/v1/generate/{job_id}")
    assert (early.status_code, early.json()) == (404, {"error": "Generation not found"})
    time.sleep(0.25)
    assert finished_job(job_id)["status"] == "succeeded"


def test_status_words_replace_statuses(sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send) -> None:
    """Other texts replace the usual ones, in jobs and in images."""
    sandbox.inject(Fault(faults.StatusWords(waiting="reviewing", processing="reviewing", success="done")))
    bodies = [generate().json()]
    while bodies[-1]["status"] != "done":
        bodies.append(http.get(f"/api/v1/generate/{bodies[0]['id']}").json())
    assert {body["status"] for body in bodies} == {"reviewing", "done"}
    assert imagine().json()["data"]["status"] == "done"


def test_status_words_failed_keeps_the_reason(
    sandbox: Sandbox, http: httpx.Client, generate: Send, finished_job: Finished
) -> None:
    """The reason of the failure stays."""
    job_id = generate(prompt=FAIL).json()["id"]
    finished_job(job_id)
    sandbox.inject(Fault(faults.StatusWords(failed="errored")))
    body = http.get(f"/api/v1/generate/{job_id}").json()
    assert (body["status"], "error" in body) == ("errored", True)


def test_no_outputs_removes_images(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, finished_job: Finished
) -> None:
    """A job has an empty list, an image has no URL."""
    job_id = generate().json()["id"]
    seed = finished_job(job_id)["output"]["seed"]
    sandbox.inject(Fault(faults.NoOutputs()))
    body = http.get(f"/api/v1/generate/{job_id}").json()
    assert (body["status"], body["output"]) == ("succeeded", {"images": [], "seed": seed})
    data = imagine().json()["data"]
    assert (data["status"], "url" in data) == ("completed", False)


def test_no_ids_is_charged(sandbox: Sandbox, generate: Send, imagine: Send) -> None:
    """The generation is paid, and its id is missing."""
    sandbox.inject(Fault(faults.NoIds()))
    response = generate()
    assert (response.status_code, response.json()) == (201, {"status": "queued", "queue_position": 3})
    while sandbox.betterwaifu.active:
        time.sleep(0.005)
    assert "image_id" not in imagine().json()["data"]
    assert sandbox.betterwaifu.charged == 2


def test_stale_status_repeats_the_older_one(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, finished_job: Finished
) -> None:
    """A finished job is reported as being processed. A direct result cannot be stale."""
    job_id = generate().json()["id"]
    finished_job(job_id)
    sandbox.inject(Fault(faults.StaleStatus(), on="status", times=1), Fault(faults.StaleStatus(), on="submit"))
    bodies = [http.get(f"/api/v1/generate/{job_id}").json() for _ in range(2)]
    assert bodies[0] == {"id": job_id, "status": "processing"}
    assert bodies[1]["status"] == "succeeded"
    assert imagine().json()["data"]["status"] == "completed"


def test_fault_of_weryais_envelope_changes_nothing(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, finished_job: Finished
) -> None:
    """Jobs, images, models and the account are not changed."""
    job_id = generate().json()["id"]
    usual = [finished_job(job_id), http.get("/api/v1/models").json(), http.get("/api/v1/account").json()]
    sandbox.inject(*(Fault(kind) for kind in OF_WERYAI))
    changed = [http.get(f"/api/v1/{path}").json() for path in (f"generate/{job_id}", "models", "account")]
    assert changed == usual
    assert set(imagine().json()["data"]) == {"image_id", "url", "status", "parameters", "created_at"}


def test_fault_match_limits_it_to_named_requests(
    sandbox: Sandbox, http: httpx.Client, generate: Send, imagine: Send, finished_job: Finished
) -> None:
    """`match` finds prompts in both POSTs, in the status and for the file."""
    (image,) = finished_job(generate(prompt="a dragon").json()["id"])["output"]["images"]
    sandbox.inject(Fault(faults.SERVER_ERROR, match="dragon"))
    job_id = sandbox.betterwaifu.jobs[0].id
    responses = [imagine(prompt="a dragon"), generate(prompt="a dragon")]
    responses += [http.get(f"/api/v1/generate/{job_id}"), http.get(image["url"])]
    assert [response.status_code for response in responses] == [500] * 4
    assert imagine(prompt="a cat").status_code == 200


def test_truncated_file_ends_with_a_reset(sandbox: Sandbox, generate: Send, finished_job: Finished) -> None:
    """Half of an image is sent, and then the connection is reset."""
    (image,) = finished_job(generate().json()["id"])["output"]["images"]
    sandbox.inject(Fault(faults.TruncatedFile(0.5), on="file"))
    with pytest.raises(httpx.TransportError):
        httpx.get(image["url"], trust_env=False)


def test_shape_fault_changes_no_html_page(sandbox: Sandbox, generate: Send) -> None:
    """A body that is not JSON has no ids, statuses or images."""
    page = Fault(faults.ErrorResponse(502, html=True, processed=True))
    sandbox.inject(page, *map(Fault, (faults.NoIds(), faults.StatusWords(waiting="x"), faults.NoOutputs())))
    assert generate().text.startswith("<html>")
