"""WeryAI's request types by name."""

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
"""Every request class by its `type_name`, the name in files and on the command line."""


def request_type(name: object) -> type[WeryAIRequest[Any]]:
    """Return the request class of this `type_name`. Raises ConfigurationError, which lists the known ones."""
    return CATALOGUE.request_type(name)


def from_dict(values: Mapping[str, Any]) -> WeryAIRequest[Any]:
    """Return the request that a JSON object describes: `type` names its class, null means left out.

    For a video's aspect ratio, which has a default, null means that none is sent.

    A text in a media field that is not a URL is the path of a local file: read only objects whose authors may read
    your files. Names that are not fields of the class go to `extra`. Raises ConfigurationError for an invalid object.
    """
    return CATALOGUE.from_dict(values)


__all__ = ("CATALOGUE", "REQUESTS", "from_dict", "request_type", "to_dict")
