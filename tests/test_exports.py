"""The exports of the package and its public modules are listed, and the lists are true."""

from __future__ import annotations

import importlib
import importlib.resources
import pkgutil
import types
from importlib import metadata

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
    machinery = {"annotations", "Final", "TYPE_CHECKING", "lazy_names"}
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
