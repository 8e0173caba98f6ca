"""What the open clients of one event loop share: one value for each host and key, as long as a client holds it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakValueDictionary

T = TypeVar("T")

_SALT: Final = secrets.token_bytes(16)


class SharedRegistry(Generic[T]):
    """A registry of values by event loop and name. It stores hashes of the names, which hold keys."""

    def __init__(self) -> None:
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, T]] = WeakKeyDictionary()

    def get(self, make: Callable[[], T], *names: str) -> T:
        """Return the running loop's value of these names; make it if there is none."""
        name = hashlib.blake2b("\n".join(names).encode(), key=_SALT).hexdigest()
        values = self._loops.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
        value = values.get(name)
        if value is None:
            value = values[name] = make()
        return value
