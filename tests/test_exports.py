"""The front door has a list, and the list is true."""

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
def test_each_exported_name_is_there(name: str) -> None:
    """What is listed can be imported."""
    assert getattr(aiowery, name) is not None


def test_nothing_public_is_left_off_the_list() -> None:
    """A name without underscore at the front door is either listed or a module."""
    found = {name for name, value in vars(aiowery).items() if not isinstance(value, types.ModuleType)}
    machinery = {"annotations", "Final", "TYPE_CHECKING", "lazy_names"}
    assert {name for name in found if not name.startswith("_")} - machinery <= set(aiowery.__all__)


@pytest.mark.parametrize("name", ["aiowery", *PUBLIC])
def test_public_modules_have_a_sorted_true_list(name: str) -> None:
    """Every public module says what it offers, in order, without twins, and offers it."""
    module = importlib.import_module(name)
    listed = module.__all__
    assert isinstance(listed, tuple)
    assert list(listed) == sorted(set(listed), key=in_order)
    assert all(hasattr(module, one) for one in listed)


def test_weryai_offers_its_client_and_requests() -> None:
    """The provider's own module exports each request class of the registry, and its client is the package's."""
    assert {cls.__name__ for cls in aiowery.weryai.REQUESTS.values()} <= set(aiowery.weryai.__all__)
    assert aiowery.WeryAI is aiowery.weryai.WeryAI


def test_the_version_is_the_distributions() -> None:
    """What the package says of itself is what was installed."""
    assert aiowery.__version__ == metadata.version("aiowery")


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers read the annotations only if the marker is there."""
    assert any(file.name == "py.typed" for file in importlib.resources.files("aiowery").iterdir())
