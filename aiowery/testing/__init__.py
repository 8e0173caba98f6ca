"""Helpers for tests of code that uses aiowery: the sandbox as a pytest fixture, and an event loop in virtual time.

pytest loads the fixtures wherever aiowery is installed. A test that requests `aiowery_sandbox` then gets a running
`Sandbox` at a hundred times real speed. The environment is set so that `WeryAI()` and `BetterWaifu()` connect to it and
run at its speed. `@pytest.mark.aiowery_sandbox(credits=3)` passes arguments to the `Sandbox`.

`aiowery.testing.ledger` has the conformance suite for a ledger of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiowery._base.public_names import lazy_names

# Loaded on first use, because pytest loads this package in every run.
_NAMES: Final = {
    "_plugin": ("aiowery_sandbox",),
    "_virtual_time": ("VirtualLoop", "run_virtual"),
}

# `python -m tests.tables --write` writes the imports below and `__all__` from this table.
if TYPE_CHECKING:
    from aiowery.testing._plugin import aiowery_sandbox
    from aiowery.testing._virtual_time import VirtualLoop, run_virtual
else:
    __getattr__, __dir__ = lazy_names(__name__, _NAMES)

__all__ = (
    "VirtualLoop",
    "aiowery_sandbox",
    "run_virtual",
)
