"""The providers of the command line: those of the package, and those of installed distributions."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from aiowery import BetterWaifu, Limits, Request, WeryAI
from aiowery._client.client import Client
from aiowery._client.config import ProviderInfo
from aiowery._core.request_types import RequestTypes
from aiowery.cli.terminal import print_notice
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

GROUP: Final = "aiowery.providers"
"""The entry point group in which a distribution names its client class."""

_BUILT_IN: Final[Mapping[str, type[Client]]] = {"weryai": WeryAI, "betterwaifu": BetterWaifu}
DEFAULT_NAME: Final = next(iter(_BUILT_IN))


@functools.cache
def clients() -> Mapping[str, type[Client]]:
    """Return the client classes by the names of their providers: those of the package first, then installed ones.

    An installed provider that cannot be used is reported on standard error and left out.
    """
    found = dict(_BUILT_IN)
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found[entry.name] = _load(entry, taken=found)
        except Exception as fault:  # noqa: BLE001 - another distribution's code must not stop this program
            print_notice(
                f"aiowery: the provider {entry.name!r} ({entry.value}) is left out: {type(fault).__name__}: {fault}"
            )
    return found


def _load(entry: metadata.EntryPoint, taken: Container[str]) -> type[Client]:
    if entry.name in taken:
        raise ValueError("another provider has this name")
    client_type = entry.load()
    if not (isinstance(client_type, type) and issubclass(client_type, Client)):
        raise TypeError("it must be a subclass of aiowery.Client")
    editions = client_type.editions
    if not editions or not all(isinstance(info, ProviderInfo) for info in editions.values()):
        raise TypeError(f"{client_type.__name__}.editions must map at least one edition to its ProviderInfo")
    if len(editions) > 1 and not accepts(client_type, "edition"):
        raise TypeError(f"{client_type.__name__}() must accept edition=, because it has several editions")
    for info in editions.values():
        info.request_types.load()
        info.request_types.request_type(info.prompt_type)
    return client_type


@functools.cache
def request_types(provider: str | None = None) -> RequestTypes[Request[Any]]:
    """Return the request types of all providers.

    If two types share a name, the one of `provider` counts, else the first.
    """
    names = sorted(clients(), key=lambda name: name != provider)
    found: dict[str, type[Request[Any]]] = {}
    for name in names:
        for info in clients()[name].editions.values():
            for type_name, request_type in info.request_types.requests.items():
                found.setdefault(type_name, request_type)
    return RequestTypes(found)


def provider_of(type_name: str) -> str | None:
    """Return the name of the first provider with this request type, or None for an unknown type."""
    return next((name for name in clients() if _has_type(name, type_name)), None)


def service_at(base_url: str, type_name: str) -> Service | None:
    """Return the provider and edition with this request type, at this base URL if one is there.

    None for an unknown type. Another base URL, such as a gateway's, may belong to any of them: then the first is
    returned, in its default edition.
    """
    first = provider_of(type_name)
    for name in clients():
        for edition, info in clients()[name].editions.items():
            if type_name in info.request_types.requests and _base_url_of(info) == base_url:
                return Service(name, edition if len(clients()[name].editions) > 1 else None)
    return None if first is None else Service(first)


def _base_url_of(info: ProviderInfo) -> str | None:
    try:
        return info.resolve_base_url(None)
    except ConfigurationError:  # of the environment
        return None


def accepts(function: Callable[..., Any], parameter: str) -> bool:
    """Return True if the function has the keyword parameter, or takes any."""
    parameters = inspect.signature(function).parameters
    return parameter in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values())


@attrs.frozen
class Service:
    """A provider, in the edition and with the queue file that the command names."""

    name: str = DEFAULT_NAME
    edition: str | None = None
    queue_file: Path | None = None

    @property
    def client_type(self) -> type[Client]:
        """Class of its client."""
        return clients()[self.name]

    @property
    def info(self) -> ProviderInfo:
        """Facts about its edition, or about its default edition."""
        editions = self.client_type.editions
        return editions[self.edition or next(iter(editions))]

    @property
    def request_types(self) -> RequestTypes[Request[Any]]:
        """Request types of all providers; if two share a name, that of this edition."""
        return RequestTypes({**request_types(self.name).requests, **self.info.request_types.requests})

    @property
    def options(self) -> tuple[str, ...]:
        """The command-line options that choose it, as arguments."""
        default = next(iter(self.client_type.editions))
        name = () if self.name == DEFAULT_NAME else ("--provider", self.name)
        return name if self.edition in {None, default} else (*name, "--edition", str(self.edition))

    def limits(self, in_flight: int | None) -> Limits:
        """Return its limits with this many concurrent tasks. Raises ConfigurationError for more than it ever runs."""
        largest = self.info.max_in_flight
        if in_flight is None:
            return self.info.limits
        if largest is not None and in_flight > largest:
            raise ConfigurationError(
                f"--in-flight must be {largest}{' or less' * (largest > 1)}, got {in_flight}:"
                f" {self.info.provider.name} runs no more tasks of one account at a time; nothing was sent"
            )
        return attrs.evolve(self.info.limits, in_flight=in_flight)

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Return a client, of a sandbox if one is given. Raises ConfigurationError if no sandbox simulates it."""
        if len(self.client_type.editions) > 1:
            settings["edition"] = self.edition or next(iter(self.client_type.editions))
        if self.queue_file is not None:
            settings["queue_file"] = self.queue_file
        if sandbox is not None:
            try:
                settings |= sandbox.settings_for(self.name, settings.get("edition"))
            except ValueError as fault:
                raise ConfigurationError(f"--sandbox: {fault}; leave it out") from fault
        return self.client_type(**settings)


def service_of(name: str | None, edition: str | None, queue_file: Path | None, type_name: str | None = None) -> Service:
    """Return the provider of a name or a request type. Raises ConfigurationError if the options contradict."""
    if name is not None and name not in clients():
        raise ConfigurationError(f"--provider must be one of {', '.join(clients())}, got {name!r}; nothing was sent")
    if name is None:
        name = DEFAULT_NAME if type_name is None else provider_of(type_name) or DEFAULT_NAME
    elif type_name is not None and not _has_type(name, type_name):
        raise ConfigurationError(
            f"{type_name} is made by --provider {provider_of(type_name)}, not {name}; nothing was sent:"
            " name that provider, or leave the option out"
        )
    _check_edition(name, edition)
    if queue_file is not None and not accepts(clients()[name], "queue_file"):
        suitable = " or ".join(other for other, client in clients().items() if accepts(client, "queue_file"))
        raise ConfigurationError(
            f"--queue-file belongs to --provider {suitable}; nothing was sent: leave it out, or add that option"
        )
    return Service(name, edition, queue_file)


def _check_edition(name: str, edition: str | None) -> None:
    editions = clients()[name].editions
    if edition is None or (len(editions) > 1 and edition in editions):
        return
    if len(editions) > 1:
        raise ConfigurationError(f"--edition must be one of {', '.join(editions)}, got {edition!r}; nothing was sent")
    suitable = " or ".join(other for other, client in clients().items() if len(client.editions) > 1)
    raise ConfigurationError(
        f"--edition belongs to --provider {suitable}; nothing was sent: leave it out, or add that option"
    )


def _has_type(name: str, type_name: str) -> bool:
    return any(type_name in info.request_types.requests for info in clients()[name].editions.values())
