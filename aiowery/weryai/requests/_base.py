"""What all requests to WeryAI share."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Generic

import attrs

from aiowery._base.text import shorten
from aiowery._core.fields import integer, pattern, text_length
from aiowery._core.request import R_co, Request

MAX_TEXT_LENGTH: Final = 200
"""Characters of a model key, a ratio and other words of the provider's."""
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s]+")
required_text = text_length(shortest=1, longest=MAX_TEXT_LENGTH)
optional_text = text_length(longest=MAX_TEXT_LENGTH)
web_address = [text_length(shortest=1, longest=2000), pattern(_WEB_ADDRESS, "https://example.com/hook")]
prompt = text_length(shortest=1, longest=2000)
negative_prompt = text_length(longest=1000)
caller_id = integer(least=0)

_LABEL_FIELDS: Final = ("prompt", "text", "query", "description", "input")
# What the time that a job takes depends on, where a request has it.
_TIMING_FIELDS: Final = ("model", "resolution", "quality", "duration", "mode")


@attrs.frozen(kw_only=True)
class WeryAIRequest(Request[R_co], Generic[R_co]):
    """Any request to WeryAI.

    `answer_member` names the output in the answer of an endpoint that
    starts no task; `in_envelope` is whether the answer comes in WeryAI's envelope.
    """

    result_field: ClassVar[str | None] = None
    has_envelope: ClassVar[bool] = True

    @property
    def timing_key(self) -> tuple[str, ...]:
        """The endpoint, and the model and settings that decide how long it takes."""
        settings = (str(getattr(self, name, None) or "") for name in _TIMING_FIELDS)
        return (self.endpoint, *settings, str(self.task_count))

    @property
    def model_name(self) -> str | None:
        """The model."""
        return getattr(self, "model", None)

    @property
    def label(self) -> str:
        """The beginning of the prompt, or of whatever stands for one."""
        label = next(
            (value for name in _LABEL_FIELDS if isinstance(value := getattr(self, name, None), str)), self.type_name
        )
        return shorten(label)


@attrs.frozen(kw_only=True)
class CallerRequest(WeryAIRequest[R_co], Generic[R_co]):
    """A request that can carry `caller_id`, the caller's own number for whom it is made."""

    caller_id: int | None = attrs.field(default=None, validator=caller_id)


@attrs.frozen(kw_only=True)
class WebhookRequest(CallerRequest[R_co], Generic[R_co]):
    """A request whose end the provider can report to `webhook_url`, besides answering status checks."""

    webhook_url: str | None = attrs.field(default=None, validator=web_address)
