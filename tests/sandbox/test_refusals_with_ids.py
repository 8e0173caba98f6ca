"""A refusal that holds task ids: the call is carried out and charged, and the answer says no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from aiowery.sandbox import MODERATED, Fault, Sandbox, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    Submit = Callable[..., httpx.Response]

THROTTLED = faults.ErrorResponse(429, 1001, "Request rate limit exceeded", ids=True, retry_after=1)


def test_weryais_data_hold_what_the_acceptance_would(sandbox: Sandbox, submit: Submit) -> None:
    """Code, text and header of the refusal, the data of the acceptance, and one credit less."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    answer = submit()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["message"]) == (1001, "Request rate limit exceeded")
    assert told["data"]["task_ids"] == [task.id for task in sandbox.weryai.tasks]
    assert sandbox.weryai.charged == 1


def test_betterwaifus_answers_hold_their_ids(sandbox: Sandbox, generate: Submit) -> None:
    """A job's id beside the error."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    told = generate().json()
    assert (told["error"], told["id"]) == ("Request rate limit exceeded", sandbox.betterwaifu.generations[0].id)


def test_a_picture_is_named_beside_the_error(sandbox: Sandbox, imagine: Submit) -> None:
    """The v1-images edition: no success, and the picture's id in the data."""
    sandbox.inject(Fault(THROTTLED, on="submit"))
    told = imagine().json()
    assert (told["success"], told["error"]["code"]) == (False, "rate_limit_exceeded")
    assert told["data"]["image_id"] == sandbox.betterwaifu.generations[0].id


def test_what_the_world_refuses_has_no_ids(sandbox: Sandbox, submit: Submit, http: httpx.Client) -> None:
    """Nothing was taken, so there is nothing to name; nor is there in an answer that is no submission's."""
    sandbox.inject(Fault(THROTTLED))
    assert submit(prompt=f"a cat {MODERATED}").json()["data"] is None
    assert http.get("/v1/generation/balance").json()["data"] is None
    assert sandbox.weryai.charged == 0
