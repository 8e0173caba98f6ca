"""Everything WeryAI can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiowery._core.request_types import LazyTypes, RequestTypes, to_dict
from aiowery.weryai import _REQUEST_NAMES
from aiowery.weryai.requests._base import WeryAIRequest

_CLASS_NAMES: Final = {
    type_name: class_name for classes in _REQUEST_NAMES.values() for class_name, type_name in classes.items()
}
CATALOGUE: Final[RequestTypes[WeryAIRequest[Any]]] = RequestTypes(LazyTypes("aiowery.weryai", _CLASS_NAMES))
REQUESTS: Final[Mapping[str, type[WeryAIRequest[Any]]]] = CATALOGUE.requests
"""Every request class by its `type_name`, which files and the command line use."""


def request_type(name: object) -> type[WeryAIRequest[Any]]:
    """Return the request class of this `type_name`; ConfigurationError lists the known ones."""
    return CATALOGUE.request_type(name)


def from_dict(values: Mapping[str, Any]) -> WeryAIRequest[Any]:
    """Make the request that a JSON object describes: `type` names its class, null means left out.

    (For a video's ratio, which has a default, null means that none is sent.)

    A text in a media field that is no url is a local file's path, so take objects from people you trust with your
    files only. Names that the class does not know go to `extra`. Raises ConfigurationError.
    """
    return CATALOGUE.from_dict(values)


__all__ = ("CATALOGUE", "REQUESTS", "from_dict", "request_type", "to_dict")
