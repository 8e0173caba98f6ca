"""The lower bounds of pyproject.toml exclude vulnerable versions, also of what other packages bring.

The session `audit` of noxfile.py asks the advisory database; where that cannot be reached, this table stands in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT: Final = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
OURS: Final = "aiowery"
RUNTIME: Final = ""
"""The key of the dependencies that belong to no extra."""


class Advisory(NamedTuple):
    """A package, the first version without its latest known vulnerability, and the advisory that describes it."""

    package: str
    fixed_in: str
    reference: str


ADVISORIES: Final = (
    Advisory("aiohttp", "3.14.3", "CVE-2026-69244"),
    Advisory("anyio", "4.14.2", "CVE-2026-63374"),
    Advisory("av", "18.0", "CVE-2026-8461, of the FFmpeg in its wheels"),
    Advisory("certifi", "2024.7.4", "CVE-2024-39689"),
    Advisory("click", "8.3.3", "CVE-2026-7246"),
    Advisory("cryptography", "50.0", "CVE-2026-69247"),
    Advisory("fastapi", "0.109.1", "CVE-2024-24762"),
    Advisory("filelock", "3.20.3", "CVE-2026-22701"),
    Advisory("fonttools", "4.60.2", "CVE-2025-66034"),
    Advisory("h11", "0.16", "CVE-2025-43859"),
    Advisory("httpx", "0.23", "CVE-2021-41945"),
    Advisory("httpx2", "2.12", "CVE-2026-84382"),
    Advisory("idna", "3.15", "CVE-2026-45409"),
    Advisory("litestar", "2.20", "CVE-2026-25479"),
    Advisory("markdown-it-py", "4.3", "its release notes: two parsers in quadratic time"),
    Advisory("multidict", "6.9.1", "GHSA-54p9-h82j-f925"),
    Advisory("multipart", "1.3.1", "CVE-2026-28356"),
    Advisory("pillow", "13.0", "CVE-2026-96639"),
    Advisory("playwright", "1.56", "CVE-2025-9611"),
    Advisory("pydantic", "2.4", "CVE-2024-3772"),
    Advisory("pygments", "2.20", "CVE-2026-4539"),
    Advisory("pytest", "9.0.3", "CVE-2025-71176"),
    Advisory("python-multipart", "0.0.31", "CVE-2026-53540"),
    Advisory("pyyaml", "5.4", "CVE-2020-14343"),
    Advisory("starlette", "1.3.1", "CVE-2026-54283"),
    Advisory("uv", "0.11.15", "GHSA-4gg8-gxpx-9rph"),
    Advisory("uvicorn", "0.11.7", "CVE-2020-7695"),
    Advisory("virtualenv", "20.36.1", "CVE-2026-22702"),
)


def _parse(lines: Iterable[str]) -> tuple[Requirement, ...]:
    return tuple(Requirement(line) for line in lines)


GROUPS: Final = {
    RUNTIME: _parse(PROJECT["project"]["dependencies"]),
    **{extra: _parse(lines) for extra, lines in PROJECT["project"]["optional-dependencies"].items()},
}
"""The dependencies as pyproject.toml declares them: those of the package, and those of each extra."""
DECLARED: Final = tuple(
    requirement
    for requirements in (*GROUPS.values(), _parse(PROJECT["build-system"]["requires"]))
    for requirement in requirements
    if requirement.name != OURS
)


def _name_of(requirement: Requirement) -> str:
    return canonicalize_name(requirement.name)


def _lower_bounds(requirement: Requirement) -> list[Version]:
    return [Version(bound.version) for bound in requirement.specifier if bound.operator == ">="]


def _declared_with(extra: str) -> Iterator[Requirement]:
    """Yield what an installation with this extra declares, with the extras that it names."""
    for requirement in (*GROUPS[RUNTIME], *GROUPS[extra]):
        if requirement.name == OURS:
            for named in requirement.extras:
                yield from _declared_with(named)
        else:
            yield requirement


def _installed_by(declared: Iterable[Requirement]) -> set[str]:
    """Return the names of these packages and of all that they bring, as far as they are installed here."""
    names: set[str] = set()
    visited: set[tuple[str, frozenset[str]]] = set()
    pending = list(declared)
    while pending:
        requirement = pending.pop()
        key = (_name_of(requirement), frozenset(requirement.extras))
        if key in visited:
            continue
        visited.add(key)
        names.add(key[0])
        try:
            brought = _parse(requires(requirement.name) or ())
        except PackageNotFoundError:
            continue
        extras = ("", *requirement.extras)
        pending += [
            each for each in brought if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras)
        ]
    return names


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_dependency_declared_has_one_lower_bound(requirement: Requirement) -> None:
    """Each declared dependency has a lower bound."""
    assert len(_lower_bounds(requirement)) == 1


def test_dependency_declared_twice_has_the_same_bounds_in_each_place() -> None:
    """A package that several extras declare has the same bounds in each: one lowest version is tested for all."""
    bounds: dict[str, set[str]] = {}
    for requirement in DECLARED:
        bounds.setdefault(_name_of(requirement), set()).add(str(requirement.specifier))
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda advisory: advisory.package)
def test_lower_bound_excludes_the_vulnerable_versions(advisory: Advisory) -> None:
    """A package with an advisory has a lower bound, and none below the first version without the vulnerability."""
    declared = (requirement for requirement in DECLARED if _name_of(requirement) == advisory.package)
    bounds = [bound for requirement in declared for bound in _lower_bounds(requirement)]
    assert bounds
    assert min(bounds) >= Version(advisory.fixed_in), advisory.reference


@pytest.mark.parametrize("extra", GROUPS, ids=lambda extra: extra or "runtime")
def test_extra_has_a_lower_bound_for_each_package_with_an_advisory(extra: str) -> None:
    """A package with an advisory has a lower bound in each extra that installs it, also where another brings it."""
    declared = tuple(_declared_with(extra))
    without = _installed_by(declared) - {_name_of(requirement) for requirement in declared}
    assert without & {advisory.package for advisory in ADVISORIES} == set()
