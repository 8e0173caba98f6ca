"""The client of a command: the real service, or a sandbox for this run."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from aiowery import Limits, PollPolicy, RetryPolicy
from aiowery._client.client import Client
from aiowery._core.policies import FASTEST
from aiowery.cli.providers import WERYAI, Service
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

_CREDITS: Final = 10_000
_CLOSING: Final = 1.5


@attrs.frozen(kw_only=True)
class Target:
    """Where requests go: to the service, or to a sandbox that is `speed` times as fast as life."""

    sandbox: bool = False
    speed: float | None = None
    service: Service = WERYAI

    def check(self) -> None:
        """Raise ConfigurationError for what cannot work, with the ways out."""
        if self.speed is not None:
            if not self.sandbox:
                raise ConfigurationError("--speed works with --sandbox only: the real service cannot be sped up")
            check_speed(self.speed)
        if self.sandbox:
            sandbox_module()
        elif not os.environ.get(self.service.key_variable):
            raise ConfigurationError(
                f"no API key: set the environment variable {self.service.key_variable},"
                " or add --sandbox to try everything without a key"
            )


def check_speed(speed: float) -> None:
    """Raise ConfigurationError for a speed that a sandbox cannot have."""
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(f"--speed is {speed:g}; give a number above 0 and not above {FASTEST:g}")


def sandbox_module() -> ModuleType:
    """Return `aiowery.sandbox`; ConfigurationError names the extra when it is missing."""
    try:
        import aiowery.sandbox  # noqa: PLC0415 - its packages are an extra
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    return aiowery.sandbox


@contextlib.asynccontextmanager
async def open_client(
    where: Target,
    *,
    in_flight: int | None = None,
    max_doubts: int | None = None,
    places: int = 1,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Open the client that `where` means, with these settings and limits; a sandbox gets credits for so many places.

    Closing waits for a moment only: by then nothing is under way, or people have said that they cannot wait.
    """
    where.check()
    limits = where.service.limits(in_flight)
    if max_doubts is not None:
        limits = attrs.evolve(limits, max_doubts=max_doubts)
    async with contextlib.AsyncExitStack() as stack:
        if where.sandbox:
            client = await _in_sandbox(stack, where, limits, max(_CREDITS, places), settings)
        else:
            # Defaults are left to the client, which keeps the time of a sandbox that the environment names.
            chosen = {} if limits == where.service.limits(None) else {"limits": limits}
            client = where.service.client(None, **chosen, **settings)
        await client.open()
        try:
            yield client
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await client.aclose()


async def _in_sandbox(
    stack: contextlib.AsyncExitStack, where: Target, limits: Limits, credits_: int, settings: Mapping[str, Any]
) -> Client:
    from aiowery.sandbox import Sandbox  # noqa: PLC0415 - see sandbox_module

    speed = where.speed or 1.0
    sandbox = await stack.enter_async_context(Sandbox(speed=speed, credits=credits_))
    return where.service.client(
        sandbox,
        limits=limits.faster(speed),
        polling=PollPolicy().faster(speed),
        retries=RetryPolicy().faster(speed),
        **settings,
    )
