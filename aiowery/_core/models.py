"""Models as a provider lists them, and conflicts of a request with that list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class ModelInfo:
    """A model that a provider offers. A provider may list more about its models in a subclass."""

    key: str | int
    """The value of a request's `model`."""
    kind: str = ""
    """The kind of output, such as "image", "video" or "chat"."""
    mode: str = ""
    """The `type_name` of the requests that accept the model; empty if the provider does not say."""
    description: str = ""
    """The provider's text about the model."""
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)
    """The entry as received."""

    @property
    def details(self) -> Mapping[str, str]:
        """Facts to choose a model by: short texts under their headings, for a table. Empty texts may be left out."""
        return {"about": self.description}


@attrs.frozen(kw_only=True)
class CheckIssue:
    """A conflict between one field of a request and the provider's list of models."""

    field: str
    """The field's name."""
    value: object
    """The value in the request."""
    message: str
    """The conflict, and a value to use instead."""

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r}; {self.message}"
