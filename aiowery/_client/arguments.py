"""Check the arguments of a client's verbs and of its constructor. What is wrong is named, with the way out."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar
from urllib.parse import urlsplit

from aiowery._base.snapshot import Asset
from aiowery._base.text import MAX_ID
from aiowery._client.options import SubmitOptions
from aiowery._core.fields import short_repr
from aiowery._core.media import Media, clean_url, local_media
from aiowery._core.policies import FASTEST, Resubmit
from aiowery._core.request import Request, Timeout, check_timeout
from aiowery._core.result import Result
from aiowery._core.urls import is_loopback
from aiowery._core.webhook_config import Webhooks
from aiowery.errors import ConfigurationError

T = TypeVar("T")

_SPEED: Final = "AIOWERY_SANDBOX_SPEED"
_URL: Final = "a URL that begins with https:// (client.job(task_id) returns the job of a task)"
_ID: Final = f"an id as the provider returned it, a non-empty string of at most {MAX_ID} characters"
_REQUEST: Final = "a request, such as aiowery.weryai.TextToImage(prompt='a cat')"


def refused(name: str, value: object, expected: str) -> ConfigurationError:
    """Return the error for an argument of the wrong type or value. `expected` completes "must be ..."."""
    return ConfigurationError(f"{name} must be {expected}, got {short_repr(value)}; nothing was sent")


def is_number(value: object) -> TypeGuard[float]:
    """Return True for an integer or a float, but not for a bool or NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def check_type(name: str, value: object, types: type[Any] | tuple[type[Any], ...], expected: str) -> None:
    """Raise ConfigurationError unless the argument is of one of these types; a bool is no integer."""
    if not isinstance(value, types) or (isinstance(value, bool) and types is int):
        raise refused(name, value, expected)


def check_callable(name: str, value: object) -> None:
    """Raise ConfigurationError for anything but a function."""
    if not callable(value):
        raise refused(name, value, "a function")


def check_request(verb: str, request: object) -> None:
    """Raise ConfigurationError for anything but a request."""
    check_type(f"{verb}(): request", request, Request, _REQUEST)


def check_requests(verb: str, requests: object, types: tuple[type[Any], ...] = (Iterable, AsyncIterable)) -> None:
    """Raise ConfigurationError for anything but an iterable of requests; its items are checked as they come."""
    is_one = isinstance(requests, (str, bytes, Mapping, Request))
    if is_one or not isinstance(requests, types):
        what = "a list" if types == (Sequence,) else "a list, or another iterable,"
        raise refused(f"{verb}(): requests", requests, f"{what} of requests; write [...] around one")


def check_id(verb: str, name: str, value: object) -> None:
    """Raise ConfigurationError for anything but the text of an id: no response with another one is accepted."""
    if not (isinstance(value, str) and 0 < len(value) <= MAX_ID):
        raise refused(f"{verb}(): {name}", value, _ID)


def submit_options(request: object, job_timeout: Timeout, start_within: float | None, name: str | int) -> SubmitOptions:
    """Return the checked options of a submission. Raises ConfigurationError, also for what is no request."""
    check_request("submit", request)
    check_timeout(job_timeout, "job_timeout")
    if start_within is not None and not (is_number(start_within) and start_within >= 0):
        raise refused("start_within", start_within, "a number of seconds >= 0, or None")
    check_type("name", name, (str, int), "a string or a number")
    return SubmitOptions(job_timeout=job_timeout, start_within=start_within, name=str(name))


def checked_type(task_ids: tuple[object, ...], of: object) -> type[Request[Any]] | None:
    """Return the class of a job's request, None if it is not known. Raises ConfigurationError, also for wrong ids."""
    for task_id in task_ids or (None,):
        check_id("job", "task_id", task_id)
    if of is None or (isinstance(of, type) and issubclass(of, Request)):
        return of
    raise refused("job(): of", of, "the class of a request, such as aiowery.weryai.TextToImage")


def check_streaming(job_timeout: object, on_doubt: object) -> None:
    """Raise ConfigurationError for a wrong timeout, and unless `on_doubt` is "hold" or a Resubmit."""
    check_timeout(job_timeout, "job_timeout")
    if on_doubt != "hold" and not isinstance(on_doubt, Resubmit):
        raise refused("on_doubt", on_doubt, '"hold", or aiowery.Resubmit(at_most=...)')


def checked_directory(directory: object) -> Path:
    """Return a directory as a path. Raises ConfigurationError for what is no path."""
    if not isinstance(directory, (str, os.PathLike)) or "\0" in os.fsdecode(directory):
        raise refused("download(): directory", directory, "the path of a directory, such as 'out'")
    return Path(os.fsdecode(directory))


def checked_source(source: Any) -> Media:
    """Return a local file for an upload. Raises ConfigurationError for what cannot be read as one."""
    try:
        return local_media(source)
    except ConfigurationError as fault:
        raise ConfigurationError(f"upload(): source: {fault}") from fault


def checked_asset(asset: object) -> Asset:
    """Return an asset, or the asset at a URL. Raises ConfigurationError for anything else."""
    if isinstance(asset, Asset):
        return asset
    if (url := clean_url(asset)) is not None:
        return Asset(url)
    raise refused("fetch(): asset", asset, f"an Asset of a result, or {_URL}")


def checked_outputs(what: object) -> Result | Asset:
    """Return a result, an asset, or the asset at a URL. Raises ConfigurationError for anything else."""
    if isinstance(what, (Asset, Result)):
        return what
    if (url := clean_url(what)) is not None:
        return Asset(url)
    raise refused("download(): what", what, f"a Result, one of its assets, or {_URL}")


def checked_http(http: T) -> T:
    """Return the transport choice. Raises ConfigurationError if it is unknown."""
    if isinstance(http, str) and http != "httpx":
        raise ConfigurationError(
            f'http must be "httpx", an httpx.AsyncClient or an httpx2.AsyncClient, got {http!r}; nothing was sent'
        )
    return http


def check_entry_id(verb: str, entry_id: object) -> None:
    """Raise ConfigurationError for anything but the number of an entry."""
    check_type(f"{verb}(): entry_id", entry_id, int, "the number of an entry in the ledger")


def checked_name(batch: object, name: str = "batch") -> str:
    """Return the name of a batch. Raises ConfigurationError for anything but a non-empty string."""
    if not isinstance(batch, str) or not batch:
        raise refused(name, batch, "a non-empty string")
    return batch


def checked_webhooks(webhooks: object, ledger: object) -> Webhooks | None:
    """Return the webhooks. Raises ConfigurationError if no delivery could ever reach the client."""
    if webhooks is None:
        return None
    if not isinstance(webhooks, Webhooks):
        raise ConfigurationError(
            f"webhooks must be Webhooks(public_url=..., receiver=...), got {webhooks!r}; nothing was sent"
        )
    if webhooks.receiver is None and ledger is None:
        raise ConfigurationError(
            "Webhooks without a receiver need a ledger in a file, in which another process records deliveries; nothing"
            " was sent: give Webhooks(receiver=Receiver()), or ledger='jobs.db'"
        )
    return webhooks


def checked_credits(name: str, value: float | None) -> float | None:
    """Return an amount of credits or of money. Raises ConfigurationError unless it is None or a number >= 0."""
    if value is not None and not (is_number(value) and 0 <= value <= sys.float_info.max):
        raise refused(name, value, "a number >= 0")
    return value


def sandbox_speed(base_url: str) -> float:
    """Return the factor by which the default policies are faster than usual.

    It is 1, unless `base_url` is on loopback and AIOWERY_SANDBOX_SPEED holds the speed of a sandbox. Raises
    ConfigurationError if that is not a number above 0 and at most 1000.
    """
    given = os.environ.get(_SPEED)
    if not given or not is_loopback(urlsplit(base_url).hostname or ""):
        return 1.0
    try:
        speed = float(given)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= FASTEST:
        raise ConfigurationError(
            f"the environment variable {_SPEED} must be a number above 0 and at most {FASTEST}, got {given!r}; nothing"
            " was sent"
        )
    return speed
