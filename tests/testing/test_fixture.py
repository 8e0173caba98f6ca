"""The pytest fixture `aiowery_sandbox` and its marker."""

from __future__ import annotations

import os

import pytest

from aiowery import WeryAI
from aiowery.errors import InsufficientCredits
from aiowery.sandbox import Sandbox
from aiowery.weryai import TextToImage


@pytest.mark.anyio
@pytest.mark.aiowery_sandbox(credits=1, status_words="lower", codes="late", faults=["server-error@models"])
async def test_fixture_marker_passes_arguments_to_the_sandbox(aiowery_sandbox: Sandbox) -> None:
    """The marker has the arguments of `Sandbox`, and the speed stays 100."""
    async with WeryAI() as client:
        await client.run(TextToImage(prompt="a cat"))
        with pytest.raises(InsufficientCredits) as caught:
            await client.run(TextToImage(prompt="a cat"))
    assert caught.value.code == 1011
    assert aiowery_sandbox.speed == 100.0


@pytest.mark.aiowery_sandbox(speed=7, keys=["mine"])
def test_fixture_marker_sets_speed_and_key_of_the_environment(aiowery_sandbox: Sandbox) -> None:
    """A speed and a key of the marker reach the code under test through the environment."""
    assert os.environ["AIOWERY_SANDBOX_SPEED"] == "7"
    assert os.environ["WERYAI_API_KEY"] == os.environ["BETTERWAIFU_API_KEY"] == "mine"
    urls = {os.environ[f"{name}_BASE_URL"] for name in ("WERYAI", "WERYAI_MODELS", "BETTERWAIFU")}
    assert urls == {aiowery_sandbox.url}


def test_fixture_marker_is_registered(pytestconfig: pytest.Config) -> None:
    """With --strict-markers the marker is known."""
    assert any(line.startswith("aiowery_sandbox(") for line in pytestconfig.getini("markers"))
