"""The providers of the command line, and the differences between them."""

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
    """A provider as the commands need it.

    `default_type` is the request type if none is given; `key_variable` is the environment variable of the key.
    """

    name: ClassVar[Name]
    key_variable: ClassVar[str]
    default_type: ClassVar[str]

    def limits(self, in_flight: int | None) -> Limits:
        """Return limits with this many concurrent tasks. Raises ConfigurationError for too many."""
        ...

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Return a client of the provider, or of a sandbox in its place."""
        ...


@attrs.frozen
class WeryAIService:
    """The WeryAI provider."""

    name: ClassVar[Name] = "weryai"
    key_variable: ClassVar[str] = "WERYAI_API_KEY"
    default_type: ClassVar[str] = TextToImage.type_name

    def limits(self, in_flight: int | None) -> Limits:
        """Return the default limits, or limits with this many concurrent tasks."""
        return Limits() if in_flight is None else Limits(in_flight=in_flight)

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Return a WeryAI client."""
        if sandbox is None:
            return WeryAI(**settings)
        return WeryAI(sandbox.key, base_url=sandbox.url, models_base_url=sandbox.url, **settings)


@attrs.frozen
class BetterWaifuService:
    """An edition of the BetterWaifu provider."""

    name: ClassVar[Name] = "betterwaifu"
    key_variable: ClassVar[str] = "BETTERWAIFU_API_KEY"
    default_type: ClassVar[str] = GenerateImage.type_name

    edition: Edition = "v1-images"
    queue_file: Path | None = None

    def limits(self, in_flight: int | None) -> Limits:
        """Return the edition's limits: one picture at a time."""
        if in_flight not in {None, 1}:
            raise ConfigurationError(
                f"--in-flight must be 1, got {in_flight}: BetterWaifu makes one picture at a time; nothing was sent"
            )
        return betterwaifu.LIMITS[self.edition]

    def client(self, sandbox: Sandbox | None, **settings: Any) -> Client:
        """Return a client of the edition."""
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
    """Return the provider of a name or a request type. Raises ConfigurationError if the options contradict."""
    required = None if type_name is None else _OF_TYPES[type_name]
    if name is not None and required not in {None, name}:
        raise ConfigurationError(f"{type_name} is made by --provider {required}, not {name}; nothing was sent")
    if (name or required) == "betterwaifu":
        return BetterWaifuService(edition or "v1-images", queue_file)
    for option, value in (("--edition", edition), ("--queue-file", queue_file)):
        if value is not None:
            raise ConfigurationError(f"{option} belongs to --provider betterwaifu; leave it out, or add that option")
    return WERYAI
