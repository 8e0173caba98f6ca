"""The labels of requests in logs, events and errors."""

from __future__ import annotations

from typing import Any

import attrs

from aiowery._base.text import MAX_LABEL, safe_text
from aiowery._core.request import Request


@attrs.frozen
class Labels:
    """A maker of labels. A label holds the type, the model, and the caller's number or name.

    Prompts are personal data: only `with_prompts` does the label also hold the beginning of the prompt.
    """

    with_prompts: bool = False

    def of(self, request: Request[Any], name: str = "") -> str:
        """Return the label of a request; `name` is the caller's number or name for it."""
        parts = [request.log_label, name]
        if self.with_prompts:
            parts.append(repr(request.label))
        return safe_text(", ".join(filter(None, parts)), MAX_LABEL)
