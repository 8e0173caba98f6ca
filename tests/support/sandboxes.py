"""Clients of a running sandbox."""

from __future__ import annotations

from typing import Any

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.sandbox import Sandbox


def sandbox_client(sandbox: Sandbox, **settings: Any) -> WeryAI:
    """Return a client that keeps the sandbox's time; `settings` override its policies."""
    speed = sandbox.speed
    policies = {
        "limits": Limits().faster(speed),
        "polling": PollPolicy().faster(speed),
        "retries": RetryPolicy().faster(speed),
    }
    return WeryAI(sandbox.key, base_url=sandbox.url, **{**policies, **settings})
