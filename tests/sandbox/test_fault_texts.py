"""Faults by the names of their behaviors, as on a command line."""

from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery.sandbox import Fault, Sandbox, faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("server-error", Fault(faults.SERVER_ERROR)),
        ("server-error:0.2", Fault(faults.SERVER_ERROR, share=0.2)),
        ("server-error@status:0.2", Fault(faults.SERVER_ERROR, on="status", share=0.2)),
        ("rate-limited-1001@submit", Fault(faults.RATE_LIMITED_1001, on="submit")),
        ("too-many-tasks:0", Fault(faults.TOO_MANY_TASKS, share=0)),
        ("lost-answer:1", Fault(faults.LostAnswer())),
        ("not-json@any:1e-1", Fault(faults.NotJson(), share=0.1)),
        ("success200", Fault(faults.Success200())),
        ("text-in-msg", Fault(faults.TextInMsg())),
        ("numeric-task-ids", Fault(faults.NumericTaskIds())),
        ("duplicate-delivery:0.5", Fault(faults.DuplicateDelivery(), on="delivery", share=0.5)),
        ("content-type@delivery", Fault(faults.ContentType(), on="delivery")),
    ],
)
def test_from_text_returns_the_named_fault(text: str, fault: Fault) -> None:
    """The name is that of a behavior in kebab case, a share and the kind of requests are optional."""
    assert faults.from_text(text) == fault


@pytest.mark.parametrize("name", [name for name in faults.__all__ if name not in {"Redirect", "from_text"}])
def test_from_text_knows_each_behavior(name: str) -> None:
    """Every behavior has a name, except one that needs a URL."""
    value = getattr(faults, name)
    kind = value() if isinstance(value, type) else value
    names = [text for text, known in faults._kinds().items() if known == kind]
    assert len(names) == 1
    assert names[0].replace("-", "") == name.replace("_", "").lower()
    assert faults.from_text(names[0]).kind == kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the names are bad-gateway"),
        ("sever-error", "such as server-error@status:0.2, got 'sever-error'"),
        ("SERVER_ERROR", "the names are"),
        ("redirect", "the names are"),
        ("from-text", "the names are"),
        ("server-error:2", "must be a number from 0 to 1, got '2'"),
        ("server-error:-0.1", "must be a number from 0 to 1"),
        ("server-error:", "must be a number from 0 to 1, got ''"),
        ("server-error:nan", "must be a number from 0 to 1"),
        ("server-error:much", "must be a number from 0 to 1"),
        ("server-error@polls", "must apply to one of submit, call"),
        ("server-error@", "must apply to one of"),
        ("lost-answer@delivery", "applies to requests only"),
        ("duplicate-delivery@status", "applies to deliveries only"),
    ],
)
def test_from_text_other_text_is_refused(text: str, message: str) -> None:
    """The error names the text, and what is possible."""
    with pytest.raises(ValueError, match=message):
        faults.from_text(text)


@given(st.text(max_size=30) | st.builds("{}@{}:{}".format, st.sampled_from(["empty", "x"]), st.text(), st.text()))
def test_from_text_any_text_is_a_fault_or_a_value_error(text: str) -> None:
    """No text raises anything else."""
    with contextlib.suppress(ValueError):
        assert isinstance(faults.from_text(text), Fault)


def test_sandbox_takes_faults_as_texts() -> None:
    """A text works like the fault that it names, at the start and later."""
    with Sandbox(faults=["server-error@balance"]) as sandbox:
        headers = {"authorization": f"Bearer {sandbox.key}"}
        with httpx.Client(base_url=sandbox.url, headers=headers) as http:
            assert http.get("/v1/generation/balance").status_code == 500
            assert http.get("/v1/chat/models").status_code == 200
            sandbox.inject("bad-gateway@models")
            assert http.get("/v1/chat/models").status_code == 502
