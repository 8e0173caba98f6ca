"""What each answer to a paid POST means: the table of docs/durable-batches.md, and every cell of it."""

from __future__ import annotations

import pytest

from tests import tables
from tests.verdict_table import (
    ACCEPTED,
    BACKS_OFF,
    COUNTS,
    OWN,
    PAGE,
    PAID,
    PAUSES,
    STATUSES,
    Body,
    Paid,
    own_verdicts,
    verdict,
)

PAGES: dict[str, Body] = {
    "html": PAGE,
    "empty": "",
    "text": "error code: 1020",
    "cut off": '{"status": 1007, "mess',
    "list": "[]",
    "number": "1007",
    "object": {},
    "gateway": {"message": "Forbidden"},
    "word as status": {"status": "error", "message": "rate limit exceeded"},
    "success under an error": {"status": 0, "message": "success", "data": None},
    "success flag": {"success": False, "message": "rate limit exceeded"},
    "status of another answer": {"status": 404, "message": "no route"},
    "status as text": {"status": "403", "error": "Forbidden"},
    "Spring": {"timestamp": "2026-01-01", "status": 403, "error": "Forbidden", "path": "/generate"},
    "Nest": {"statusCode": 429, "message": "ThrottlerException: Too Many Requests", "error": "Too Many Requests"},
    "Azure": {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}},
    "Google": {"error": {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}},
    "error flag": {"error": True, "message": "Forbidden"},
    "error number": {"error": 1020},
}
UNREAD = {421, 425}
NEW_AGAIN = {401, 407, 413}
PAUSING = {401, 403, 407, 503}
IN_DOUBT = "in doubt"
TEXTS = {429: "sent again after a pause", **dict.fromkeys(UNREAD, "max_attempts"), **dict.fromkeys(NEW_AGAIN, "raised")}


def test_docs_table_of_verdicts_is_the_generated_one() -> None:
    """The page shows what the code decides, row by row."""
    source = tables.BATCHES.read_text("utf-8")
    assert tables.batches_source(source) == source, "run: python -m tests.tables --write"


@pytest.mark.parametrize("ids", [False, True], ids=["no ids", "ids"])
@pytest.mark.parametrize("body", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("paid", PAID.values(), ids=PAID)
def test_page_is_judged_by_its_http_status_alone(paid: Paid, body: Body, ids: bool) -> None:
    """No page fails an entry for ever or turns other requests away, whatever its text says.

    429 is busy, 421 and 425 are unsent, 401, 407 and 413 are raised, everything else is in doubt. So is a page that
    names a task.
    """
    for status in STATUSES:
        if ids and status < 300:  # that is read as an acceptance
            continue
        found = verdict(paid, paid.response(status, body, ids=ids))
        assert ("in doubt" if ids else TEXTS.get(status, IN_DOUBT)) in found.request, status
        assert "failed" not in found.request, status
        if status == 429 and not ids:
            assert found.queue == BACKS_OFF
        else:
            assert found.queue == (PAUSES if status in PAUSING else COUNTS), status


EXPECTED = {
    "a refusal for the sake of the request: a parameter, moderation": "raised, and failed",
    "a refusal of the key, or because of the daily limit": "raised, and new",
    "a refusal because of credits, plan or permission": "raised, and new",
    "a refusal because of load: HTTP 429, or a code of load with any HTTP status": "sent again after a pause",
    "5xx with any other code": IN_DOUBT,
}


@pytest.mark.parametrize("label", OWN)
def test_refusal_in_own_form_is_believed_unless_it_names_a_task(label: str) -> None:
    """A refusal charges nothing and shows whether a repeat helps. 5xx shows nothing, and task ids leave a doubt."""
    for found in own_verdicts(label, ids=False).values():
        assert all(EXPECTED[label] in one.request for one in found), found
        assert not any(one.queue == PAUSES for one in found)
    for found in own_verdicts(label, ids=True).values():
        assert all(one.request == IN_DOUBT for one in found), found


@pytest.mark.parametrize("status", STATUSES)
def test_refusal_in_the_form_of_chat_is_a_page_at_an_endpoint_with_an_envelope(status: int) -> None:
    """Gateways for language models write OpenAI's form, which is WeryAI's own at its chat endpoint only."""
    body: Body = {"error": {"message": "quota exceeded", "type": "invalid_request_error", "code": "no_access"}}
    paid = PAID["WeryAI"]
    assert verdict(paid, paid.response(status, body)) == verdict(paid, paid.response(status, PAGE))


@pytest.mark.parametrize("status", [300, 302, 307, 399])
@pytest.mark.parametrize("name", PAID)
def test_redirect_is_never_an_acceptance_or_a_refusal(status: int, name: str) -> None:
    """A redirect with an acceptance or a refusal in its body is in doubt: it came from something in between."""
    paid = PAID[name]
    bodies: list[Body] = [
        {"status": 0, "data": {"task_ids": ["t"]}, "id": "t", "choices": [{"message": {"content": "hi"}}]},
        {"status": 1001, "error": "no"},
        {"status": 1007, "error": {"code": "rate_limit_exceeded"}},
    ]
    for body in bodies:
        assert verdict(paid, paid.response(status, body)).request == IN_DOUBT


def test_acceptance_of_each_provider_is_accepted() -> None:
    """The documented acceptances are accepted, so that the other tests do not pass for want of any."""
    bodies: dict[str, Body] = {
        "WeryAI": {"status": 0, "data": {"task_ids": ["t"]}},
        "WeryAI chat": {"choices": [{"message": {"content": "hi"}}]},
        "BetterWaifu jobs": {"id": "t", "status": "queued"},
        "BetterWaifu v1-images": {"success": True, "data": {"image_id": "t", "url": "https://e.example/1.png"}},
    }
    assert {
        name: verdict(PAID[name], PAID[name].response(200, body)) for name, body in bodies.items()
    } == dict.fromkeys(PAID, ACCEPTED)
