"""Request classes by name, and the conversion of requests to JSON and back."""

from __future__ import annotations

import base64
import binascii
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs

from aiowery._core.fields import short_repr, wire_of, wrong_request
from aiowery._core.media import File, is_url
from aiowery._core.request import Request
from aiowery.errors import ConfigurationError

RequestT = TypeVar("RequestT", bound=Request[Any])

_TYPE: Final = "type"


class LazyTypes(Mapping[str, type[RequestT]]):
    """A mapping from `type_name` to a package's request class; `names` maps it to the class name.

    A class is imported on first access, so reading the names imports nothing.
    """

    def __init__(self, package: str, names: Mapping[str, str]) -> None:
        self._package = sys.modules[package]
        self._names = names

    def __getitem__(self, type_name: str) -> type[RequestT]:
        cls: type[RequestT] = getattr(self._package, self._names[type_name])
        return cls

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


class RequestTypes(Generic[RequestT]):
    """The request classes of one provider; `requests` maps each `type_name` to its class."""

    def __init__(self, requests: Mapping[str, type[RequestT]]) -> None:
        self.requests = requests

    def load(self) -> None:
        """Import every class now, so that reading a request from a file does not block an event loop later."""
        tuple(self.requests.values())

    def request_type(self, name: object) -> type[RequestT]:
        """Return the class with this `type_name`. Raises ConfigurationError, which lists the known ones."""
        cls = self.requests.get(name) if isinstance(name, str) else None
        if cls is None:
            raise wrong_request(f"unknown type {short_repr(name)}; known types are: {', '.join(self.requests)}")
        return cls

    def from_dict(self, values: Mapping[str, Any]) -> RequestT:
        """Return the request that a JSON object describes; names that are no fields of its class go to `extra`.

        Raises ConfigurationError for an unknown type, a missing field or a wrong value.
        """
        cls = self.request_type(values.get(_TYPE))
        fields = {field.name: field for field in attrs.fields(cls)}
        given = {
            name: value
            for name, value in values.items()
            if name != _TYPE and (value is not None or _is_none_by_choice(fields.get(name), value))
        }
        extra = given.pop("extra", {})
        if not isinstance(extra, Mapping):
            raise wrong_request(f"extra must be an object, got {short_repr(extra)}")
        known = {name: _read(fields[name], value) for name, value in given.items() if name in fields}
        unknown = {name: value for name, value in given.items() if name not in fields}
        for name, field in fields.items():
            if field.default is attrs.NOTHING and name not in known:
                raise wrong_request(f"{cls.type_name} requires the field {name}")
        try:
            return cls(extra={**extra, **unknown}, **known)
        except ConfigurationError as fault:
            raise ConfigurationError(f"{cls.type_name}: {fault}") from fault
        except (TypeError, ValueError) as fault:  # of validators that are not the package's
            reason = fault.args[0] if fault.args else fault  # attrs adds the field and the value as further arguments
            raise wrong_request(f"{cls.type_name}: {reason}") from fault


def to_dict(request: Request[Any], *, contents: bool = True) -> dict[str, Any]:
    """Return the request as a JSON object, from which `from_dict` makes an equal one.

    The object holds only fields that were set. A local file is represented by its path, a file in memory by its content
    in base64. Without `contents` a file in memory is represented by a hash, which `from_dict` cannot read.
    """
    values = {
        field.name: _to_json(value, contents=contents)
        for field in attrs.fields(type(request))
        if (value := getattr(request, field.name)) is not None or _is_none_by_choice(field, value)
        if value != () and (field.name != "extra" or value)
    }
    return {_TYPE: request.type_name, **values}


def _is_none_by_choice(field: attrs.Attribute[Any] | None, value: Any) -> bool:
    return value is None and field is not None and wire_of(field).may_be_none


def _to_json(value: Any, *, contents: bool) -> Any:
    """Return a field's value as JSON."""
    if isinstance(value, Path) or (isinstance(value, tuple) and type(value) is not tuple):
        return str(value)  # a named tuple has its own text form
    if isinstance(value, File):
        if contents:
            return {"base64": base64.b64encode(value.content).decode(), "name": value.name}
        return {"digest": value.digest, "name": value.name}
    if isinstance(value, tuple):
        return [_to_json(item, contents=contents) for item in value]
    if attrs.has(type(value)):
        return {
            name: _to_json(member, contents=contents)
            for name, member in attrs.asdict(value, recurse=False).items()
            if member is not None
        }
    return dict(value) if isinstance(value, Mapping) else value


def _read(field: attrs.Attribute[Any], value: Any) -> Any:
    """Return the value of a media field from JSON; other fields have their own converters."""
    if wire_of(field).media is None:
        return value
    return [_local_file(item) for item in value] if isinstance(value, list) else _local_file(value)


def _local_file(value: Any) -> Any:
    if isinstance(value, str):
        return value if is_url(value) else Path(value)
    if isinstance(value, Mapping):
        try:
            return File(base64.b64decode(value["base64"], validate=True), str(value.get("name", "")))
        except (KeyError, TypeError, binascii.Error, ValueError) as fault:
            raise wrong_request(f"a file must be {{'base64': ..., 'name': ...}}: {fault!r}") from fault
    return value
