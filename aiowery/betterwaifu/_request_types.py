"""Everything BetterWaifu can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiowery._core.request_types import RequestTypes, to_dict
from aiowery.betterwaifu.requests._images import GenerateImage

CATALOGUE: Final[RequestTypes[GenerateImage]] = RequestTypes({GenerateImage.type_name: GenerateImage})
REQUESTS: Final[Mapping[str, type[GenerateImage]]] = CATALOGUE.requests
"""Every request class by its `type_name`, which files and the command line use."""


def request_type(name: object) -> type[GenerateImage]:
    """Return the request class of this `type_name`; ConfigurationError lists the known ones."""
    return CATALOGUE.request_type(name)


def from_dict(values: Mapping[str, Any]) -> GenerateImage:
    """Make the request that a JSON object describes: `type` names its class, null means left out.

    Names that the class does not know go to `extra`. Raises ConfigurationError.
    """
    return CATALOGUE.from_dict(values)


__all__ = ("CATALOGUE", "REQUESTS", "from_dict", "request_type", "to_dict")
