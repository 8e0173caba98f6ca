"""BetterWaifu's request types by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiowery._core.request_types import RequestTypes, to_dict
from aiowery.betterwaifu.requests._images import GenerateImage

CATALOGUE: Final[RequestTypes[GenerateImage]] = RequestTypes({GenerateImage.type_name: GenerateImage})
REQUESTS: Final[Mapping[str, type[GenerateImage]]] = CATALOGUE.requests
"""Every request class by its `type_name`, the name in files and on the command line."""


def request_type(name: object) -> type[GenerateImage]:
    """Return the request class of this `type_name`. Raises ConfigurationError, which lists the known ones."""
    return CATALOGUE.request_type(name)


def from_dict(values: Mapping[str, Any]) -> GenerateImage:
    """Return the request that a JSON object describes: `type` names its class, null means left out.

    Names that are not fields of the class go to `extra`. Raises ConfigurationError for an invalid object.
    """
    return CATALOGUE.from_dict(values)


__all__ = ("CATALOGUE", "REQUESTS", "from_dict", "request_type", "to_dict")
