"""Secrets, such as API keys: values that no repr, traceback or pickle shows."""

from __future__ import annotations

from typing import Any, NoReturn, Self, overload

_STARS = "***"


class Secret:
    """A text that is shown as `***` everywhere, also in a traceback with local variables. `reveal` returns it.

    A pickle does not contain it: unpickled, it is empty.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Use it in an expression; a variable would be shown in tracebacks."""
        return self._text

    def __repr__(self) -> str:
        return _STARS

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())


class HoldsSecret:
    """A base class of objects that hold a secret in the form in which it is sent or searched: they are not pickled."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and cannot be pickled")


@overload
def hide(value: str | Secret) -> Secret: ...
@overload
def hide(value: object) -> Any: ...
def hide(value: object) -> object:
    """Return a text as a secret, and anything else unchanged."""
    return Secret(value) if isinstance(value, str) else value
