"""`aiowery batch` behind a proxy that responds to every POST itself: it pauses, probes, and exits with 3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from aiowery import PollPolicy, RetryPolicy, WeryAI
from aiowery.sandbox import Fault, Sandbox, faults
from tests.cli.conftest import Command, Manifest, outcomes, spent_credits


@pytest.fixture(autouse=True)
def _fast_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make clients whose retries and polls are hundreds of times faster."""

    class FastWeryAI(WeryAI):
        def __init__(self, **settings: Any) -> None:
            super().__init__(retries=RetryPolicy().faster(600), polling=PollPolicy().faster(100), **settings)

    monkeypatch.setattr("aiowery.cli.providers.clients", lambda: {"weryai": FastWeryAI})


@pytest.fixture
def batch(tmp_path: Path, aiowery_command: Command) -> Callable[..., CompletedProcess[str]]:
    """Run a batch of 24 prompts in this process."""
    (tmp_path / "cats.txt").write_text("".join(f"cat {number}\n" for number in range(24)))
    return lambda *options: aiowery_command("batch", "cats.txt", "--out", "out", "--no-check", "--yes", *options)


def test_batch_behind_a_broken_proxy_stops_and_resumes_later(
    batch: Command, manifest: Manifest, aiowery_sandbox: Sandbox
) -> None:
    """Six to nine of 24 items are sent, three of them as probes. The same command again sends each unsent item once."""
    aiowery_sandbox.inject(Fault(faults.NotJson(), on="submit"))
    ended = batch()
    doubts = outcomes(manifest())["in_doubt"]
    assert ended.returncode == 3, ended.stderr
    assert 6 <= doubts <= 9
    assert spent_credits(aiowery_sandbox) == doubts
    assert outcomes(manifest()) == {"in_doubt": doubts, "not submitted": 24 - doubts}
    assert ended.stderr.count("Submitting pauses: the last 3 submissions had no clear answer") == 4
    assert "The next probe is sent in 0.1 s." in ended.stderr
    assert "Nothing more is submitted: 3 probes failed" in ended.stderr
    assert "Stopped early: 3 probes failed" in ended.stdout
    unsent = f"{24 - doubts} were not submitted and cost nothing. Run the same command again to send them."
    assert unsent in ended.stdout
    assert "aiowery doubts list" in ended.stdout
    aiowery_sandbox._script._rules.clear()
    again = batch()
    assert again.returncode == 3, again.stderr  # the doubts wait for a decision
    assert outcomes(manifest()) == {"in_doubt": doubts, "done": 24 - doubts}
    assert spent_credits(aiowery_sandbox) == 24


def test_batch_behind_a_recovering_proxy_pauses_and_finishes(
    batch: Command, manifest: Manifest, aiowery_sandbox: Sandbox
) -> None:
    """The batch waits, resumes and finishes. With --json, an event reports the pause and another its end."""
    aiowery_sandbox.inject(Fault(faults.NotJson(), on="submit", times=2))
    ended = batch("--json", "--max-doubts", "2", "--in-flight", "1", "--limit", "8")
    assert outcomes(manifest()) == {"in_doubt": 2, "done": 6}, ended.stderr
    assert ended.stderr.count("Submitting pauses") == ended.stderr.count("Submitting resumes.") == 1
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    paused = next(event for event in events if event["event"] == "paused")
    assert paused["failed_probes"] == 0
    assert paused["retry_in"] == pytest.approx(0.05, abs=0.01)
    assert "the last 2 submissions" in paused["reason"]
    assert [event["event"] for event in events].count("resumed") == 1
    assert events[-1]["exit_code"] == ended.returncode == 3
    assert spent_credits(aiowery_sandbox) == 8


def test_batch_with_redirected_posts_exits_with_3(batch: Command, manifest: Manifest, aiowery_sandbox: Sandbox) -> None:
    """Responses that count as refusals, and leave no doubt in the ledger, also stop a batch."""
    aiowery_sandbox.inject(Fault(faults.Redirect("https://elsewhere.example"), on="submit"))
    ended = batch("--max-doubts", "1")
    assert ended.returncode == 3, ended.stderr
    assert "3 probes failed" in ended.stdout
    assert outcomes(manifest())["not submitted"] >= 14


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_batch_with_invalid_max_doubts_creates_nothing(batch: Command, value: str, tmp_path: Path) -> None:
    """An invalid value exits with 2, before the output directory is created."""
    assert batch("--max-doubts", value).returncode == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("status", [401, 407])
def test_batch_behind_a_page_that_refuses_the_key_sends_the_rest_later(
    batch: Command, manifest: Manifest, aiowery_sandbox: Sandbox, status: int
) -> None:
    """A proxy's 401 is no refusal of the key: submissions pause, nothing has failed, and the next run sends all."""
    aiowery_sandbox.inject(Fault(faults.ErrorResponse(status, html=True), on="submit"))
    ended = batch()
    assert ended.returncode == 3, ended.stderr
    assert outcomes(manifest()) == {"not submitted": 24}
    assert "Submitting pauses: the last submission had no clear answer" in ended.stderr
    assert "the provider refused the key" not in ended.stdout + ended.stderr
    assert spent_credits(aiowery_sandbox) == 0
    aiowery_sandbox._script._rules.clear()
    again = batch()
    assert again.returncode == 0, again.stderr
    assert outcomes(manifest()) == {"done": 24}


@pytest.mark.parametrize("status", [400, 404, 500])
def test_batch_behind_another_page_fails_nothing_for_ever(
    batch: Command, manifest: Manifest, aiowery_sandbox: Sandbox, status: int
) -> None:
    """What a page has answered is in doubt, and the rest is sent by the next run."""
    aiowery_sandbox.inject(Fault(faults.ErrorResponse(status, html=True), on="submit", times=2))
    ended = batch()
    assert ended.returncode == 3, ended.stderr
    assert outcomes(manifest()) == {"in_doubt": 2, "done": 22}
