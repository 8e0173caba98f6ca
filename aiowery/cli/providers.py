"""The services that the command line speaks to, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

import attrs

from aiowery import BetterWaifu, Limits, WeryAI, betterwaifu, weryai
from aiowery._client.client import Client
from aiowery.betterwaifu import Edition, GenerateImage
from aiowery.errors import ConfigurationError
from aiowery.weryai import TextToImage

if TYPE_CHECKING:
    from aiowery.sandbox import Sandbox

Name = Literal["weryai", "betterwaifu"]


class Service(Protocol):
    """A service as a command needs it.

    `default_type` is asked for where nothing else is said; `key_variable` holds the key.
    """

    name: ClassVar[Name]
    key_variable: ClassVar[str]
    default_type: ClassVar[str]

    def limits(self, in_flight: int | None) -> Limits:
        """Return the limits for so many tasks at once; ConfigurationError for more than there can be."""
        ...

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Make a client for the service, or for a sandbox in its place."""
        ...


@attrs.frozen
class WeryAIService:
    """See `Service`."""

    name: ClassVar[Name] = "weryai"
    key_variable: ClassVar[str] = "WERYAI_API_KEY"
    default_type: ClassVar[str] = TextToImage.type_name

    def limits(self, in_flight: int | None) -> Limits:
        """Return the provider's usual limits, or fewer tasks, or more."""
        return Limits() if in_flight is None else Limits(in_flight=in_flight)

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Make a client."""
        if sandbox is None:
            return WeryAI(**settings)
        return WeryAI(sandbox.key, base_url=sandbox.url, models_base_url=sandbox.url, **settings)


@attrs.frozen
class BetterWaifuService:
    """See `Service`. An edition is chosen, never guessed."""

    name: ClassVar[Name] = "betterwaifu"
    key_variable: ClassVar[str] = "BETTERWAIFU_API_KEY"
    default_type: ClassVar[str] = GenerateImage.type_name

    edition: Edition = "v1-images"
    queue_file: Path | None = None

    def limits(self, in_flight: int | None) -> Limits:
        """Return the edition's limits: one picture at a time."""
        if in_flight not in {None, 1}:
            raise ConfigurationError(f"--in-flight is {in_flight}; BetterWaifu makes one picture at a time")
        return betterwaifu.LIMITS[self.edition]

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Make a client of the edition."""
        facts: dict[str, Any] = {"edition": self.edition, "queue_file": self.queue_file, **settings}
        if sandbox is None:
            return BetterWaifu(**facts)
        url = sandbox.url if self.edition == "v1-images" else sandbox.jobs_url
        return BetterWaifu(sandbox.key, base_url=url, **facts)


WERYAI: Final = WeryAIService()
_OF_TYPES: Final[Mapping[str, Name]] = {
    **dict.fromkeys(weryai.REQUESTS, "weryai"),
    **dict.fromkeys(betterwaifu.REQUESTS, "betterwaifu"),
}


def service_of(
    name: Name | None, edition: Edition | None, queue_file: Path | None, type_name: str | None = None
) -> Service:
    """Return the service that is meant, by its name or by what is asked for; ConfigurationError for contradictions."""
    asked = None if type_name is None else _OF_TYPES[type_name]
    if name is not None and asked not in {None, name}:
        raise ConfigurationError(f"{type_name} is made by --provider {asked}, not {name}")
    if (name or asked) == "betterwaifu":
        return BetterWaifuService(edition or "v1-images", queue_file)
    for option, value in (("--edition", edition), ("--queue-file", queue_file)):
        if value is not None:
            raise ConfigurationError(f"{option} belongs to --provider betterwaifu; leave it out, or add that")
    return WERYAI
