"""Names of a package that load their module on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, *tables: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the package's `__getattr__` and `__dir__`.

    `tables` list the package's modules, each with the names that it defines. If two threads read a name at the same
    time, the second waits for the import of the first.
    """
    modules = {module for table in tables for module in table}
    module_of = {name: module for table in tables for module, names in table.items() for name in names}
    own = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(import_module(f"{package}.{module_of[name]}"), name)
        return own[name]

    return load, lambda: sorted({*own, *modules, *module_of})
