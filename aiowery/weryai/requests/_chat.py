"""The chat request, in OpenAI's form and without WeryAI's envelope (contract: chat/completions)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import attrs

from aiowery._base.snapshot import Kind, Snapshot
from aiowery._base.text import shorten
from aiowery._core.fields import integer, item_count, items, number, short_repr, text_length, wire, wrong_request
from aiowery._core.result import TextResult
from aiowery.weryai.requests._base import WeryAIRequest, required_text
from aiowery.weryai.requests._research import first_value, text_or_none

_MAX_CONTENT_LENGTH = 10_000_000


@attrs.frozen
class Message:
    """One message of a conversation.

    `role`: "system", "user" or "assistant". `content`: the text.
    """

    role: Literal["system", "user", "assistant"] | str = attrs.field(validator=required_text)
    content: str = attrs.field(validator=text_length(longest=_MAX_CONTENT_LENGTH))


@attrs.frozen(kw_only=True)
class ChatResult(TextResult):
    """The result of a chat request; `text` is the answer.

    `choices`: all answers, more than one if `n` was set. `finish_reason`: the reason why the first one ends.
    `usage`: the counted tokens.
    """

    choices: tuple[str, ...] = ()
    finish_reason: str | None = None
    usage: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def _extra_fields(cls, snapshots: Sequence[Snapshot]) -> dict[str, Any]:
        raw_choices = first_value(snapshots, "choices")
        choices = (
            [choice for choice in raw_choices if isinstance(choice, Mapping)] if isinstance(raw_choices, list) else []
        )
        usage = first_value(snapshots, "usage")
        return {
            "choices": tuple(map(choice_text, choices)),
            "finish_reason": text_or_none(choices[0].get("finish_reason")) if choices else None,
            "usage": usage if isinstance(usage, Mapping) else {},
        }


def choice_text(choice: Mapping[str, Any]) -> str:
    """Return the text of one choice of a completion."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, Mapping) else None
    return content if isinstance(content, str) else ""


def _messages(values: Iterable[Any]) -> tuple[Message, ...]:
    return tuple(map(_message, [values] if isinstance(values, str) else items(values)))


def _message(value: Any) -> Message:
    if isinstance(value, str):
        return Message("user", value)
    try:
        return value if isinstance(value, Message) else Message(**value)
    except TypeError as error:
        raise wrong_request(
            f"messages must be texts, Messages, or objects with role and content, got {short_repr(value)}"
        ) from error


def _messages_on_wire(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [attrs.asdict(message) for message in messages]


@attrs.frozen(kw_only=True)
class Chat(WeryAIRequest[ChatResult]):
    """A request for the next message of a conversation: `POST /v1/chat/completions`.

    The response holds the answer itself, possibly after minutes. The provider does not stream yet.

    `messages`: 1 to 50, as `Message`s or objects with role and content; a text is a user's message. `model`: a
    key from `client.models("chat")`. `max_tokens`: at least 1; the provider's default is 1024. `temperature`: 0 to 2.
    `top_p`: 0 to 1. `presence_penalty`, `frequency_penalty`: -2 to 2. `seed`: an integer for repeatable answers. `n`:
    the number of answers.
    """

    type_name: ClassVar[str] = "chat"
    endpoint: ClassVar[str] = "/v1/chat/completions"
    kind: ClassVar[Kind] = "text"
    result_type: ClassVar[type[ChatResult]] = ChatResult
    has_envelope: ClassVar[bool] = False

    messages: tuple[Message, ...] = attrs.field(
        converter=_messages,
        validator=item_count(least=1, most=50),
        metadata=wire(write=_messages_on_wire, text_form="list: a text, or objects with role and content"),
    )
    model: str = attrs.field(default="GPT_4O", validator=required_text)
    max_tokens: int | None = attrs.field(default=None, validator=integer(least=1))
    temperature: float | None = attrs.field(default=None, validator=number(least=0, most=2))
    top_p: float | None = attrs.field(default=None, validator=number(least=0, most=1))
    presence_penalty: float | None = attrs.field(default=None, validator=number(least=-2, most=2))
    frequency_penalty: float | None = attrs.field(default=None, validator=number(least=-2, most=2))
    seed: int | None = attrs.field(default=None, validator=integer(least=-(2**63), most=2**63 - 1))
    n: int | None = attrs.field(default=None, validator=integer(least=1))

    @property
    def direct_timeout(self) -> float:
        """Ten minutes: some models need long."""
        return 600.0

    @property
    def label(self) -> str:
        """The beginning of the last message."""
        return shorten(self.messages[-1].content)
