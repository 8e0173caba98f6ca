"""The exports of the package and its public modules are listed, and the lists are true."""

from __future__ import annotations

import importlib
import importlib.resources
import pickle
import pkgutil
import types
import typing
from importlib import metadata

import attrs
import pytest

import aiowery
import aiowery.errors
import aiowery.testing
import aiowery.weryai
from tests.tables import in_order

PUBLIC = sorted(
    f"aiowery.{module.name}" for module in pkgutil.iter_modules(aiowery.__path__) if not module.name.startswith("_")
)


@pytest.mark.parametrize("name", aiowery.__all__)
def test_package_listed_name_can_be_imported(name: str) -> None:
    """Each name of `__all__` is an attribute of the package."""
    assert getattr(aiowery, name) is not None


def test_package_public_name_is_listed() -> None:
    """A name without an underscore in the package is either listed or a module."""
    found = {name for name, value in vars(aiowery).items() if not isinstance(value, types.ModuleType)}
    machinery = {"annotations", "Final", "TYPE_CHECKING", "lazy_names", "publish"}
    assert {name for name in found if not name.startswith("_")} - machinery <= set(aiowery.__all__)


@pytest.mark.parametrize("name", ["aiowery", *PUBLIC])
def test_public_module_all_is_sorted_and_true(name: str) -> None:
    """Each public module has an `__all__` that is sorted, without duplicates, and names only its attributes."""
    module = importlib.import_module(name)
    listed = module.__all__
    assert isinstance(listed, tuple)
    assert list(listed) == sorted(set(listed), key=in_order)
    assert all(hasattr(module, one) for one in listed)


def test_weryai_exports_its_client_and_requests() -> None:
    """`aiowery.weryai` exports each request class of REQUESTS, and its client is the package's."""
    assert {cls.__name__ for cls in aiowery.weryai.REQUESTS.values()} <= set(aiowery.weryai.__all__)
    assert aiowery.WeryAI is aiowery.weryai.WeryAI


def test_package_version_is_the_distributions() -> None:
    """`__version__` is the version that is installed."""
    assert aiowery.__version__ == metadata.version("aiowery")


def test_package_has_a_typing_marker() -> None:
    """Type checkers read the annotations only if `py.typed` exists."""
    assert any(file.name == "py.typed" for file in importlib.resources.files("aiowery").iterdir())


@pytest.mark.parametrize("name", ["aiowery", *PUBLIC])
def test_public_class_names_a_public_module(name: str) -> None:
    """A class or function says that it lives where users import it, and is found there."""
    module = importlib.import_module(name)
    for listed in module.__all__:
        value = getattr(module, listed)
        if isinstance(value, (type, types.FunctionType)) and value.__module__.startswith("aiowery"):
            assert not any(part.startswith("_") for part in value.__module__.split(".")), value
            assert getattr(importlib.import_module(value.__module__), value.__name__) is value
            assert pickle.loads(pickle.dumps(value)) is value  # noqa: S301 - made in this line


@pytest.mark.parametrize("name", ["aiowery", "aiowery.weryai", "aiowery.betterwaifu", "aiowery.ledger"])
def test_public_class_has_type_hints(name: str) -> None:
    """The annotations of a public value are evaluated although the class names another module than its own."""
    module = importlib.import_module(name)
    for value in (getattr(module, listed) for listed in module.__all__):
        if isinstance(value, type) and attrs.has(value):
            hints = typing.get_type_hints(value)
            assert all(field.name in hints for field in attrs.fields(value)), value
