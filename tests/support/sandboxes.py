"""Clients of a running sandbox."""

from __future__ import annotations

from typing import Any

from aiowery import Limits, PollPolicy, RetryPolicy, WeryAI
from aiowery.sandbox import Sandbox


def sandbox_policies(sandbox: Sandbox) -> dict[str, Any]:
    """Return the policies of a client that keeps the sandbox's time."""
    speed = sandbox.speed
    return {
        "limits": Limits().faster(speed),
        "polling": PollPolicy().faster(speed),
        "retries": RetryPolicy().faster(speed),
    }


def sandbox_client(sandbox: Sandbox, **settings: Any) -> WeryAI:
    """Return a client that keeps the sandbox's time. `settings` override its policies."""
    return WeryAI(sandbox.key, base_url=sandbox.url, **{**sandbox_policies(sandbox), **settings})
