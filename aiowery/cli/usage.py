"""The messages for arguments that cannot be understood, in one sentence each, with what to do instead."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, get_args, get_origin

from cyclopts import CycloptsError

_PROGRAM: Final = "aiowery"
_UNSENT: Final = "; nothing was sent: "
_SIMILARITY: Final = 0.6
_VALUES: Final[Mapping[Any, str]] = {int: "a whole number", float: "a number", bool: "true or false"}


def usage_error(error: CycloptsError) -> str:
    """Return the message for an error of cyclopts."""
    kind = type(error).__name__
    return _MESSAGES[kind](error) if kind in _MESSAGES else f"{error}{_UNSENT}{_help(error)}"


def _unknown_command(error: Any) -> str:
    name = (error.unused_tokens or [""])[0]
    is_option = name.startswith("-")
    commands = [command for command in (error.app or ()) if command.startswith("-") == is_option]
    if is_option:
        return f"{_command(error)} has no option {name}{_UNSENT}{_guess(name, commands)}{_help(error)}"
    return f"there is no command {name!r}{_UNSENT}{_guess(name, commands)}{_help(error, 'the commands')}"


def _unused(error: Any) -> str:
    unused = error.unused_tokens or []
    are = "is" if len(unused) == 1 else "are"
    remedy = "put quotes around a text of several words, or leave out what is too much"
    if _command(error) == "run" and all("=" in token for token in unused):
        remedy = f"write {' '.join(f'--set {shlex.quote(token)}' for token in unused)}"
    return f"{' '.join(map(repr, unused))} {are} too much for {_command(error)}{_UNSENT}{remedy} ({_help(error)})"


def _unknown_option(error: Any) -> str:
    name = (error.token.keyword or error.token.value).partition("=")[0]
    arguments = (argument for argument in error.argument_collection if getattr(argument, "parse", True))
    names = [name for argument in arguments for name in argument.names]
    return f"{_command(error)} has no option {name}{_UNSENT}{_guess(name, names)}{_help(error)}"


def _missing(error: Any) -> str:
    keyword = getattr(error, "keyword", None)
    name = keyword or error.argument.name
    if keyword or error.argument.tokens:
        return f"{name} needs a value{_UNSENT}write it behind the option, such as {name} VALUE ({_help(error)})"
    remedy = f"add {name} VALUE" if name.startswith("-") else f"give {name}"
    return f"{_command(error)} requires {name}{_UNSENT}{remedy} ({_help(error)})"


def _wrong_kind(error: Any) -> str:
    token = error.token
    value = "" if token is None else f", got {token.value!r}"
    return f"{_name_of(error)} must be {_kind(error.target_type)}{value}{_UNSENT}{_help(error)}"


def _wrong_value(error: Any) -> str:
    message = error.exception_message.rstrip(".")
    if error.argument is None or not message.lower().startswith("must"):
        return f"{message}{_UNSENT}{_help(error)}"
    value = error.argument.tokens[0].value if error.argument.tokens else error.argument.value
    return f"{_name_of(error)} {message[0].lower()}{message[1:]}, got {value}{_UNSENT}{_help(error)}"


def _repeated(error: Any) -> str:
    name = error.token.keyword or error.token.value
    return f"{name} is given more than once{_UNSENT}give it once ({_help(error)})"


_MESSAGES: Final[Mapping[str, Callable[[Any], str]]] = {
    "UnknownCommandError": _unknown_command,
    "UnusedCliTokensError": _unused,
    "UnknownOptionError": _unknown_option,
    "MissingArgumentError": _missing,
    "CoercionError": _wrong_kind,
    "ValidationError": _wrong_value,
    "RepeatArgumentError": _repeated,
}


def _command(error: Any) -> str:
    return " ".join(error.command_chain or (_PROGRAM,))


def _help(error: Any, what: str = "the options") -> str:
    return f"{' '.join((_PROGRAM, *(error.command_chain or ())))} --help shows {what}"


def _name_of(error: Any) -> str:
    """Return the option as it was written, or the name of a positional argument."""
    argument, token = error.argument, getattr(error, "token", None)
    if argument is not None and token is None and argument.tokens:
        token = argument.tokens[0]
    if token is not None and token.keyword:
        return str(token.keyword)
    return "the value" if argument is None else str(argument.name)


def _kind(target: Any) -> str:
    if get_origin(target) is Literal:
        return f"one of {', '.join(map(str, get_args(target)))}"
    members = getattr(target, "__members__", None)
    if members is not None:
        return f"one of {', '.join(name.lower().replace('_', '-') for name in members)}"
    return _VALUES.get(target, "a value of another kind")


def _guess(name: str, names: Iterable[str]) -> str:
    by_letters = {known.lstrip("-"): known for known in names}
    near = difflib.get_close_matches(name.lstrip("-"), by_letters, n=2, cutoff=_SIMILARITY)
    return f"did you mean {' or '.join(by_letters[letters] for letters in near)}? " if near else ""
