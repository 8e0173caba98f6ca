"""The public names of packages: modules loaded on first use (PEP 562), and the module that a class names as its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import FunctionType
from typing import Any


def lazy_names(
    package: str, *tables: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the package's `__getattr__` and `__dir__`.

    `tables` list the package's modules, each with the names that it defines; the names of "" are modules themselves. If
    two threads read a name at the same time, the second waits for the import of the first.
    """
    modules = {module for table in tables for module in (*table, *table.get("", ())) if module}
    module_of = {name: module for table in tables for module, names in table.items() for name in names}
    own = vars(sys.modules[package])

    def load(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(import_module(f"{package}.{module_of[name]}"), name)
        _publish(package, own[name])
        return own[name]

    return load, lambda: sorted({*own, *modules, *module_of})


def publish(package: str) -> None:
    """Let the public classes and functions that the package has imported name it as their module.

    Then `repr`, tracebacks and documentation show the path that users import.
    """
    names = vars(sys.modules[package])
    for name in names["__all__"]:
        if name in names:
            _publish(package, names[name])


def _publish(package: str, value: Any) -> None:
    module = getattr(value, "__module__", None)
    if not isinstance(value, (type, FunctionType)) or not _is_private(str(module)):
        return
    if isinstance(value, type):
        import inspect  # noqa: PLC0415 - half of the time of `import aiowery`, which needs no class

        # `typing.get_type_hints` evaluates texts in the module that the class names, which then is another one.
        with contextlib.suppress(NameError):  # a name that only type checkers import
            value.__annotations__ = inspect.get_annotations(value, eval_str=True)
    value.__module__ = package


def _is_private(module: str) -> bool:
    return module.startswith("aiowery.") and any(part.startswith("_") for part in module.split("."))
