"""Requests with a direct result: chat, an image's description, documents for research."""

from __future__ import annotations

import re
import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from aiowery.sandbox._parameter_rules import Field, extension_of, is_empty, parse_url, texts_of, url
from aiowery.sandbox._tasks import TaskSpec
from aiowery.sandbox._weryai import model_rows, prices

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOCUMENTS = frozenset({"txt", "pdf", "md", "csv", "json", "docx", "xlsx", "pptx"})
_DEFAULT_TOKENS = 1024
_WORDS = re.compile(r"\S+\s*")
_UNSAFE = re.compile(r"[^a-z0-9]+")


def _is_message(value: Any) -> bool:
    return all(isinstance(value.get(name), str) and value[name] for name in ("role", "content"))


def _is_document(value: str) -> str | None:
    parts = parse_url(value)
    if parts is None:
        return "file url error"
    ending = extension_of(parts)
    # An extension without letters, as in "papers/2401.00001", is part of the name.
    is_ending = ending.isalnum() and not ending.isdecimal()
    return "file type is not supported" if is_ending and ending not in _DOCUMENTS else None


CHAT = (
    Field("model", "model", required=True),
    Field(
        "messages",
        "messages",
        list,
        required=True,
        min_items=1,
        max_items=50,
        item=Field("messages", "messages", dict, required=True, allowed=_is_message),
    ),
    Field("max_tokens", "max_tokens", int, minimum=1),
    Field("temperature", "temperature", float, minimum=0, maximum=2),
    Field("top_p", "top_p", float, minimum=0, maximum=1),
    Field("presence_penalty", "presence_penalty", float, minimum=-2, maximum=2),
    Field("frequency_penalty", "frequency_penalty", float, minimum=-2, maximum=2),
    Field("seed", "seed", int),
    Field("n", "n", int, minimum=1, maximum=128),
    Field("stream", "stream", bool, allowed=lambda value: not value),
)
CHAT_MODEL = model_rows.model_rule(model_rows.CHAT)
DESCRIPTION = (
    url("img_url", "image url", images_only=True),
    Field("image_size", "image size", int, required=True, minimum=1),
    Field("language", "language"),
    Field("model", "model"),
)
CORPUS = (
    Field("file_url", "file url", required=True, check_value=_is_document),
    Field("file_name", "file name"),
)


def chat_spec(params: Mapping[str, Any]) -> TaskSpec:
    """Return the specification of a chat request."""
    return TaskSpec(prompt=params["messages"][-1]["content"], model=params["model"], price=prices.TEXT)


def completion(params: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return a chat completion that repeats the last message."""
    question = params["messages"][-1]["content"]
    reply = _WORDS.findall(f"You said: {question}")
    tokens = params.get("max_tokens") or _DEFAULT_TOKENS
    content = "".join(reply[:tokens]).rstrip()
    prompt_tokens = sum(len(_WORDS.findall(message["content"])) for message in params["messages"])
    completion_tokens = min(len(reply), tokens) * (params.get("n") or 1)
    choice = {
        "message": {"role": "assistant", "content": content},
        "finish_reason": "length" if len(reply) > tokens else "stop",
    }
    return {
        "id": f"chat-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": params["model"],
        "choices": [{"index": index, **choice} for index in range(params.get("n") or 1)],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def description_spec(params: Mapping[str, Any]) -> TaskSpec:
    """Return the specification of an image description."""
    return TaskSpec(prompt=texts_of(params, "img_url"), model=params.get("model") or "DESCRIPTION", price=prices.TEXT)


def description(params: Mapping[str, Any]) -> dict[str, Any]:
    """Describe an image by its file name. Its content is not read."""
    name = _stem(params["img_url"]).replace("-", " ").replace("_", " ")
    return {"prompt": f"a picture of {name or 'something'}, soft light, fine detail", "cost_mill": 812}


def corpus(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response to an uploaded document."""
    given = params.get("file_name")
    name = _stem(params["file_url"]) if is_empty(given) else str(given)
    plain = _UNSAFE.sub("-", name.lower()).strip("-")
    return {"name": f"fileSearchStores/{plain or 'store'}", "uploaded_count": 1}


def _stem(file_url: str) -> str:
    return PurePosixPath(unquote(urlsplit(file_url).path)).stem
