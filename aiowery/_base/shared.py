"""Values that the open clients of one event loop share: one for each host and key, as long as a client holds it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

from aiowery._base.secret import Secret

T = TypeVar("T")

_SALT: Final = secrets.token_bytes(16)


class SharedRegistry(Generic[T]):
    """A registry of values by event loop and names. It stores only hashes of the names, which contain API keys."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, T]] = WeakKeyDictionary()

    def get(self, make: Callable[[], T], *names: str | Secret) -> T:
        """Return the running event loop's value for these names; make it if there is none."""
        values, digest = self._values(names)
        value = values.get(digest)
        if value is None:
            value = values[digest] = make()
        return value

    def drop(self, *names: str | Secret) -> None:
        """Forget the running event loop's value for these names."""
        values, digest = self._values(names)
        values.pop(digest, None)

    def _values(self, names: tuple[str | Secret, ...]) -> tuple[WeakValueDictionary[str, T], str]:
        plain = (name.reveal() if isinstance(name, Secret) else name for name in names)
        digest = hashlib.blake2b("\n".join(plain).encode(), key=_SALT).hexdigest()
        return self._loops.setdefault(asyncio.get_running_loop(), WeakValueDictionary()), digest
