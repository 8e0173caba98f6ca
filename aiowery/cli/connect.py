"""The client of a command: for a provider, or for a sandbox that lasts as long as the command."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from aiowery import Limits, PollPolicy, RetryPolicy
from aiowery._client.arguments import sandbox_speed
from aiowery._client.client import Client
from aiowery._core.policies import FASTEST
from aiowery._core.urls import parse_hosts
from aiowery.cli.providers import Service, accepts
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

_CREDITS: Final = 10_000
_CLOSE_TIMEOUT: Final = 1.5


@attrs.frozen(kw_only=True)
class Target:
    """A target of requests: a provider, or a sandbox with all durations divided by `speed`.

    `allow_hosts` are hosts in private networks from which outputs may be downloaded. `log_prompts` lets the library's
    log name prompts, which are personal data.
    """

    sandbox: bool = False
    speed: float | None = None
    service: Service = attrs.field(factory=Service)
    allow_hosts: tuple[str, ...] = ()
    log_prompts: bool = False

    def check(self) -> None:
        """Raise ConfigurationError, with the possible remedies, if the target cannot work."""
        if self.speed is not None:
            if not self.sandbox:
                raise ConfigurationError(
                    "--speed works with --sandbox only, because a real service cannot be sped up; nothing was sent:"
                    " add --sandbox or leave --speed out"
                )
            check_speed(self.speed)
        parse_hosts("--allow-host", self.allow_hosts)
        if self.allow_hosts and not accepts(self.service.client_type, "allow_hosts"):
            raise ConfigurationError(
                f"--allow-host: {self.service.info.provider.name} does not support it; nothing was sent: leave it out"
            )
        if self.sandbox:
            sandbox_module()
        elif not os.environ.get(self.service.info.key_variable):
            raise ConfigurationError(
                f"there is no API key; nothing was sent: set the environment variable {self.service.info.key_variable},"
                " or add --sandbox to try everything without a key"
            )


def check_speed(speed: float) -> None:
    """Raise ConfigurationError for a speed that the sandbox does not support."""
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(f"--speed must be above 0 and at most {FASTEST:g}, got {speed:g}")


def sandbox_module() -> ModuleType:
    """Return `aiowery.sandbox`. Raises ConfigurationError, with the extra to install, if a package is missing."""
    try:
        import aiowery.sandbox  # noqa: PLC0415 - its packages are an extra
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    return aiowery.sandbox


@contextlib.asynccontextmanager
async def open_client(
    target: Target,
    *,
    in_flight: int | None = None,
    max_doubts: int | None = None,
    task_count: int = 1,
    **settings: Any,
) -> AsyncIterator[Client]:
    """Open the client of the target with these settings and limits.

    A sandbox gets credits for `task_count` tasks. Closing the client takes at most 1.5 seconds. When it begins, nothing
    is under way, or the user has chosen not to wait.
    """
    target.check()
    limits = target.service.limits(in_flight)
    if target.allow_hosts:
        settings["allow_hosts"] = target.allow_hosts
    if target.log_prompts and accepts(target.service.client_type, "log_prompts"):
        settings["log_prompts"] = True
    if max_doubts is not None:
        limits = attrs.evolve(limits, max_doubts=max_doubts)
    async with contextlib.AsyncExitStack() as stack:
        if target.sandbox:
            client = await _open_in_sandbox(stack, target, limits, max(_CREDITS, task_count), settings)
        else:
            # As a client's default limits, these fit the speed of a sandbox that the environment names.
            speed = sandbox_speed(target.service.info.resolve_base_url(None))
            client = target.service.client(None, limits=limits.faster(speed), **settings)
        await client.open()
        try:
            yield client
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await client.aclose()


async def _open_in_sandbox(
    stack: contextlib.AsyncExitStack, target: Target, limits: Limits, credits_: int, settings: Mapping[str, Any]
) -> Client:
    from aiowery.sandbox import Sandbox  # noqa: PLC0415 - see sandbox_module

    speed = target.speed or 1.0
    sandbox = await stack.enter_async_context(Sandbox(speed=speed, credits=credits_))
    return target.service.client(
        sandbox,
        limits=limits.faster(speed),
        polling=PollPolicy().faster(speed),
        retries=RetryPolicy().faster(speed),
        **settings,
    )
