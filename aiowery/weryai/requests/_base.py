"""Base classes and validators of all WeryAI requests."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Generic

import attrs

from aiowery._base.text import shorten
from aiowery._core.fields import integer, pattern, text_length
from aiowery._core.request import R_co, Request

MAX_TEXT_LENGTH: Final = 200
"""Limit in characters for a model key, a ratio and other short values."""
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s]+")
required_text = text_length(shortest=1, longest=MAX_TEXT_LENGTH)
optional_text = text_length(longest=MAX_TEXT_LENGTH)
web_address = [text_length(shortest=1, longest=2000), pattern(_WEB_ADDRESS, "https://example.com/hook")]
prompt = text_length(shortest=1, longest=2000)
negative_prompt = text_length(longest=1000)
caller_id = integer(least=0)

_LABEL_FIELDS: Final = ("prompt", "text", "query", "description", "input")
# The duration of a job depends on these fields.
_TIMING_FIELDS: Final = ("model", "resolution", "quality", "duration", "mode")


@attrs.frozen(kw_only=True)
class WeryAIRequest(Request[R_co], Generic[R_co]):
    """Base class of all WeryAI requests.

    `result_field`: the field that holds the output in the response of an endpoint that starts no task, else None.
    `has_envelope`: True if the response comes in WeryAI's envelope.
    """

    result_field: ClassVar[str | None] = None
    has_envelope: ClassVar[bool] = True

    @property
    def timing_key(self) -> tuple[str, ...]:
        """The endpoint with the model and settings on which the duration of a job depends."""
        settings = (str(getattr(self, name, None) or "") for name in _TIMING_FIELDS)
        return (self.endpoint, *settings, str(self.task_count))

    @property
    def model_name(self) -> str | None:
        """The model, None if the request has none."""
        return getattr(self, "model", None)

    @property
    def label(self) -> str:
        """The beginning of the prompt, or of the text that serves as one."""
        label = next(
            (value for name in _LABEL_FIELDS if isinstance(value := getattr(self, name, None), str)), self.type_name
        )
        return shorten(label)


@attrs.frozen(kw_only=True)
class CallerRequest(WeryAIRequest[R_co], Generic[R_co]):
    """A request with a caller id.

    `caller_id`: an integer from 0 by which your application identifies one of its users.
    """

    caller_id: int | None = attrs.field(default=None, validator=caller_id)

    @property
    def log_label(self) -> str:
        """The type, the model and the caller id."""
        label = super().log_label
        return label if self.caller_id is None else f"{label}, caller {self.caller_id}"


@attrs.frozen(kw_only=True)
class WebhookRequest(CallerRequest[R_co], Generic[R_co]):
    """A request with a webhook.

    `webhook_url`: the URL to which the provider reports the end of each task. Status checks work as well.
    """

    webhook_url: str | None = attrs.field(default=None, validator=web_address, repr=False)
