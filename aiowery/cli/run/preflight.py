"""Checks against the model registry and of local files before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import attrs

from aiowery import Request
from aiowery._base.snapshot import AssetKind
from aiowery._client.client import Client
from aiowery._core.fields import wire_of
from aiowery._core.media import validate_upload
from aiowery.cli.input.prompt_files import InputItem
from aiowery.cli.input.user_terms import in_user_terms
from aiowery.cli.output.logs import watch_registry
from aiowery.cli.records import ValidationRefused
from aiowery.errors import ConfigurationError


async def refuse_invalid(client: Client, request: Request[Any]) -> None:
    """Raise ValidationRefused, with all issues that the client finds without sending the request."""
    with watch_registry():
        issues = await client.check(request)
    if issues:
        listed = "; ".join(map(str, issues))
        raise ValidationRefused(f"{listed}; nothing was sent (--no-check sends it anyway)")


async def find_faults(client: Client, items: Iterable[InputItem], *, check: bool) -> dict[int, str]:
    """Return by line number the faults that can be found before anything is sent."""
    faults = {}
    for item in items:
        if item.request is not None:
            try:
                client.provider.validate(item.request)
                await anyio.to_thread.run_sync(_check_files, item.request, client.provider.upload_limits)
                if check:
                    await refuse_invalid(client, item.request)
            except ConfigurationError as fault:
                faults[item.line] = in_user_terms(str(fault), type(item.request))
    return faults


def _check_files(request: Request[Any], limits: Mapping[AssetKind, int]) -> None:
    """Raise ConfigurationError for a local file that could not be uploaded. Blocks."""
    for field in attrs.fields(type(request)):
        value = getattr(request, field.name)
        for source in value if isinstance(value, tuple) else (value,):
            if wire_of(field).media is not None and isinstance(source, Path):
                validate_upload(source, wire_of(field).media, limits)
