"""Messages in the terms of the command line: its options and the fields of a request.

The library names classes and parameters of Python, and a provider names the fields of its HTTP requests.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from aiowery import Request
from aiowery._core.fields import wire_of
from aiowery.cli.providers import request_types

_PYTHON: Final[Mapping[str, str]] = {
    "models(): kind": "--kind",
    "use status() for each task": "use aiowery status for each task",
    " or api_key=)": ")",
    ", or pass api_key=...": "",
    "api_key must": "the API key must",
    "api_key: ": "the API key: ",
    " and client.find_model(...) looks up": "",
    "client.models()": "aiowery models",
    "client.speakers()": "aiowery speakers",
    "; to send them now, call client.resume_submitting()": "",
    ", or SqliteLedger(path, accept_copy=True)": "",
    "allow_hosts= (--allow-host on the command line)": "--allow-host",
    "open a client with that base_url": "set the variable of the provider's base URL to that one",
    "check the network, base_url and": "check the network, the base URL and",
    "`prices`": "--price",
}
_METHOD: Final = re.compile(r"^[a-z_]{1,40}\(\): ")
_PARAMETER: Final = re.compile(r"\b(edition|queue_file|mode)='([^'\n]*)'")
_OPTIONS: Final[Mapping[str, str]] = {"edition": "--edition ", "queue_file": "--queue-file ", "mode": "mode="}
_CLASS: Final = re.compile(r"\b([A-Z][A-Za-z]{2,60})\b(\.(?=[a-z_]))?(:)?")
_RULES: Final = (
    *(" cannot", " can not", " can't", " must", " should", " exceed", " not supported", " empty"),
    *(f" is {what}" for what in ("required", "invalid", "missing", "empty", "not")),
)
"""What follows a name of one word that stands for a field, although it is a common word, such as "image"."""
_LONGEST_RULE: Final = max(map(len, _RULES))


def in_user_terms(text: str, request_type: type[Request[Any]] | None = None) -> str:
    """Return a message with options and field names, and with the names of fields in the HTTP request replaced."""
    for name, words in _PYTHON.items():
        text = text.replace(name, words)
    text = _METHOD.sub("", text)
    text = _PARAMETER.sub(lambda found: f"{_OPTIONS[found[1]]}{found[2]}", text)
    text = _CLASS.sub(_without_class, text)
    for type_name in _types_by_class().values():
        text = text.replace(f"{type_name}: {type_name}: ", f"{type_name}: ")
    hashable: Any = request_type  # which attrs' stubs deny
    for name, field in {} if request_type is None else _fields_by_wire_name(hashable).items():
        text = _with_field(text, name, field)
    return text


def _without_class(found: re.Match[str]) -> str:
    """Return the type name of a request class, and nothing for the class of a field."""
    name, dot, colon = found.groups()
    type_name = _types_by_class().get(name)
    if type_name is None:
        return found[0]
    if dot:
        return ""
    is_word = name[1:].islower()
    return found[0] if is_word and not colon else f"{type_name}{colon or ''}"


@functools.cache
def _types_by_class() -> Mapping[str, str]:
    return {cls.__name__: type_name for type_name, cls in request_types().requests.items()}


@functools.cache
def _fields_by_wire_name(request_type: Any) -> Mapping[str, str]:
    """Return the fields that the HTTP request names otherwise, by that name.

    A provider may write it with blanks, and the type before it: "music type". The longest names are first, because
    they may contain others.
    """
    fields = attrs.fields(request_type)
    own = {field.name for field in fields}
    wires = {wire_of(field).name or "": field.name for field in fields}
    others = {name: field for name, field in wires.items() if name and name not in own}
    spaced = {name.replace("_", " "): field for name, field in others.items()}
    prefixed = {f"{request_type.type_name} {name}": field for name, field in spaced.items()}
    return dict(sorted({**prefixed, **spaced, **others}.items(), key=lambda item: -len(item[0])))


def _with_field(text: str, name: str, field: str) -> str:
    """Return a text with the field in place of a name in any case, where that stands alone and for a field."""
    lowered = text.lower() if len(text.lower()) == len(text) else text  # a few letters become two
    parts, copied, at = [], 0, lowered.find(name)
    while at >= 0:
        end = at + len(name)
        is_alone = not _is_letter(text[max(0, at - 1) : at]) and not _is_letter(text[end : end + 1])
        is_of_several_words = "_" in name or " " in name
        if is_alone and (is_of_several_words or _is_of_rule(lowered[end : end + _LONGEST_RULE + 1])):
            parts += [text[copied:at], field]
            copied = end
        at = lowered.find(name, end)
    return "".join((*parts, text[copied:]))


def _is_letter(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is_of_rule(following: str) -> bool:
    return following.lstrip("'\"`").startswith(_RULES)
