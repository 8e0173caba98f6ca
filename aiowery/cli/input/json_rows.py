"""JSON in prompt files: one object per line, or an array."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from aiowery.errors import ConfigurationError

_EXCERPT: Final = 200
_BLANK: Final = re.compile(r"[ \t\n]*+")
_SURROGATE: Final = "holds an invalid character (a lone surrogate)"
_TOO_DEEP: Final = "is nested too deeply"

Row = tuple[int, Mapping[str, Any] | str]
"""A line number, with the values of the line or its fault."""


def line_rows(text: str) -> Iterator[Row]:
    """Yield the object of each line that is not blank. A text that begins with `[` is read as an array."""
    if text.lstrip().startswith("["):
        yield from array_rows(text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, json_object(line)


def array_rows(text: str) -> Iterator[Row]:
    """Yield the members of an array, or one object, each with the number of its first line; a text is a prompt.

    Raises ConfigurationError if the whole is not JSON.
    """
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_once)
    start = _skip_blanks(text, 0)
    if not text[start:]:
        return
    if text[start] != "[":
        value, end = _decode(decoder, text, start)
        yield _line(text, start), _as_row(value)
        _expect_end(text, end)
        return
    at, line, counted = start + 1, _line(text, start), start
    at = _skip_blanks(text, at)
    is_first = True
    while text[at : at + 1] != "]":
        if not is_first:
            if text[at : at + 1] != ",":
                raise _not_json(text, at, "a comma or ] is expected")
            at = _skip_blanks(text, at + 1)
        line, counted = line + text.count("\n", counted, at), at
        value, at = _decode(decoder, text, at)
        yield line, _as_row(value)
        at, is_first = _skip_blanks(text, at), False
    _expect_end(text, at + 1)


def json_object(line: str) -> Mapping[str, Any] | str:
    """Return the JSON object in a text, or its fault."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_once)
        # A lone surrogate is valid JSON, but it can be neither sent nor saved.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return _SURROGATE
    except RecursionError:
        return _TOO_DEEP
    except json.JSONDecodeError as fault:
        line = f"line {fault.lineno}, " if fault.lineno > 1 else ""
        return f"is not JSON ({fault.msg} at {line}column {fault.colno})"
    except ValueError as fault:
        return f"is not JSON ({fault})"
    return value if isinstance(value, dict) else f"is not a JSON object: {line.strip()[:_EXCERPT]}"


def _as_row(value: Any) -> Mapping[str, Any] | str:
    """Return the object of an array's member, or its fault."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE
    except RecursionError:
        return _TOO_DEEP
    except ValueError as fault:
        return f"is not JSON ({fault})"
    if isinstance(value, str):
        return {"prompt": value}
    return value if isinstance(value, dict) else f"is neither a JSON object nor a text: {text[:_EXCERPT]}"


def _decode(decoder: json.JSONDecoder, text: str, at: int) -> tuple[Any, int]:
    try:
        return decoder.raw_decode(text, at)
    except json.JSONDecodeError as fault:
        raise _not_json(text, fault.pos, fault.msg) from None
    except RecursionError:
        raise ConfigurationError(f"line {_line(text, at)}: {_TOO_DEEP}") from None
    except ValueError as fault:
        raise _not_json(text, at, str(fault)) from None


def _expect_end(text: str, at: int) -> None:
    at = _skip_blanks(text, at)
    if at < len(text):
        raise _not_json(text, at, "text follows its end")


def _not_json(text: str, at: int, reason: str) -> ConfigurationError:
    return ConfigurationError(f"line {_line(text, at)}: it is no JSON ({reason}); correct it, or name another --format")


def _skip_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object. Raises ValueError for a name that is there twice: one of the values is wrong."""
    members = dict(pairs)
    if len(members) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"{twice[:_EXCERPT]} is named twice")
    return members
