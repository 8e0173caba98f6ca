"""Default policies of a client keep the time of a sandbox, if the environment contains its speed."""

from __future__ import annotations

import pytest

from aiowery import BetterWaifu, Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.betterwaifu import LIMITS
from aiowery.errors import ConfigurationError
from aiowery.sandbox import Sandbox
from aiowery.weryai import TextToImage
from tests.support import KEY

LOOPBACK = "http://127.0.0.1:8765"


def test_defaults_on_loopback_are_divided_by_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both providers' default limits, polling and retries are those of real time, divided by the speed."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "50")
    for client, limits in (
        (WeryAI(KEY, base_url=LOOPBACK), Limits()),
        (BetterWaifu(KEY, base_url=LOOPBACK), LIMITS["v1-images"]),
        (BetterWaifu(KEY, base_url=LOOPBACK, edition="jobs"), LIMITS["jobs"]),
    ):
        expected = (limits.faster(50), PollPolicy().faster(50), RetryPolicy().faster(50))
        assert (client.limits, client.polling, client.retries) == expected


def test_defaults_elsewhere_ignore_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the variable was left over, the real service is not polled a hundred times as often."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "100")
    for url in (None, "https://api.example.com", "https://127.0.0.1.example.com"):
        client = WeryAI(KEY, base_url=url)
        assert (client.limits, client.polling, client.retries) == (Limits(), PollPolicy(), RetryPolicy())


def test_policies_given_by_caller_are_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies that a caller passes are not divided."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "100")
    polling = PollPolicy(min_interval=1.0)
    assert WeryAI(KEY, base_url=LOOPBACK, polling=polling).polling is polling


@pytest.mark.parametrize("value", ["0", "-1", "1001", "nan", "inf", "fast", "1e9"])
def test_speed_invalid_value_error_names_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The message contains the variable, its value and the bounds."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", value)
    with pytest.raises(ConfigurationError, match=rf"AIOWERY_SANDBOX_SPEED must be a number above 0 .* got '{value}'"):
        WeryAI(KEY, base_url=LOOPBACK)


@pytest.mark.anyio
async def test_run_plain_client_under_fixture_polls_at_sandbox_speed(aiowery_sandbox: Sandbox) -> None:
    """Under the fixture, `WeryAI()` without settings polls its job at the sandbox's pace, not every 3 to 5 seconds."""
    async with WeryAI() as client:
        result = await client.run(TextToImage(prompt="a cat"))
    assert result.seconds is not None
    assert result.seconds < PollPolicy().min_interval
    assert aiowery_sandbox.weryai.counters.posts == 1
