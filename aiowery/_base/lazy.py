"""Names of a package that load the module they live in when they are first asked for (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the package's `__getattr__` and `__dir__`.

    `homes` has the package's modules, each with the names that it defines. Two threads may ask at once: the second
    waits for the import of the first.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    own = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name in homes:
            return import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(import_module(f"{package}.{home_of[name]}"), name)
        return own[name]

    return load, lambda: sorted({*own, *homes, *home_of})
