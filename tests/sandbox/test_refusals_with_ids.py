"""Refusals with task ids: the request is processed and charged, and the response is a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from aiowery.sandbox import MODERATED, Fault, Sandbox, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    Submit = Callable[..., httpx.Response]

THROTTLED = faults.ErrorResponse(429, 1001, "Request rate limit exceeded", ids=True, retry_after=1)


def test_ids_refusal_at_weryai_contains_task_ids(sandbox: Sandbox, submit: Submit) -> None:
    """Code, message and header are those of the refusal, the data is that of the acceptance. One credit is charged."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    response = submit()
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    body: dict[str, Any] = response.json()
    assert (body["status"], body["message"]) == (1001, "Request rate limit exceeded")
    assert body["data"]["task_ids"] == [task.id for task in sandbox.weryai.tasks]
    assert sandbox.weryai.charged == 1


def test_ids_refusal_of_a_job_contains_its_id(sandbox: Sandbox, generate: Submit) -> None:
    """The body contains the job's id beside the error."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    body = generate().json()
    assert (body["error"], body["id"]) == ("Request rate limit exceeded", sandbox.betterwaifu.generations[0].id)


def test_ids_refusal_at_v1_images_contains_the_image_id(sandbox: Sandbox, imagine: Submit) -> None:
    """`success` is false, and the data contains the image's id."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    body = imagine().json()
    assert (body["success"], body["error"]["code"]) == (False, "rate_limit_exceeded")
    assert body["data"]["image_id"] == sandbox.betterwaifu.generations[0].id


def test_ids_refusal_without_acceptance_has_no_ids(sandbox: Sandbox, submit: Submit, http: httpx.Client) -> None:
    """Without an accepted submission there are no ids, and responses to other requests have none."""
    sandbox.inject(Fault(THROTTLED))
    assert submit(prompt=f"a cat {MODERATED}").json()["data"] is None
    assert http.get("/v1/generation/balance").json()["data"] is None
    assert sandbox.weryai.charged == 0
