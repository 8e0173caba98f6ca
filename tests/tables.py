"""Generated tables: the export lists of the packages, README's table of endpoints, the table of verdicts.

`python -m tests.tables` compares each file with the generated one, prints the difference and exits with 1 if there is
one. `python -m tests.tables --write` writes the files.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("aiowery", "aiowery.betterwaifu", "aiowery.testing", "aiowery.weryai")
README: Final = ROOT / "README.md"
BATCHES: Final = ROOT / "docs" / "durable-batches.md"
BEGIN, END = "<!-- table of all calls, generated -->\n", "<!-- end of the table -->\n"
VERDICTS: Final = "<!-- table of verdicts, generated -->\n"
_WIDTH: Final = 120
_TYPE_CHECKING: Final = re.compile(r"(?<=^if TYPE_CHECKING:\n)(?: {4}.*\n)+(?=else:\n)", re.MULTILINE)
_ALL: Final = re.compile(r"^__all__ = \(\n(?: {4}.*\n)*\)\n", re.MULTILINE)
_MACHINERY: Final = frozenset({"lazy_names", "publish"})


def in_order(name: str) -> tuple[int, str]:
    """Return the sort key of an exported name: constants, then classes, then the rest, each by name."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def lazy_names(package: str) -> dict[str, tuple[str, ...]]:
    """Return the names that a package loads on first use, by module, from its tables."""
    module = import_module(package)
    tables: list[Mapping[str, Iterable[str]]] = [module._NAMES, getattr(module, "_REQUEST_NAMES", {})]
    found: dict[str, set[str]] = {}
    for table in tables:
        for home, names in table.items():
            found.setdefault(home, set()).update(names)
    return {home: tuple(sorted(found[home], key=in_order)) for home in sorted(found)}


def exported_names(package: str, source: str) -> list[str]:
    """Return all public names of a package: those of its tables, and those that it imports or defines eagerly."""
    lazy = {name for names in lazy_names(package).values() for name in names}
    return sorted(lazy.union(_eager_names(source)), key=in_order)


def _eager_names(source: str) -> Iterator[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("aiowery"):
            yield from (alias.name for alias in node.names if alias.name not in _MACHINERY)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name) and target.id != "__all__")


def package_source(package: str, source: str) -> str:
    """Return the source of a package with its imports for type checkers and its `__all__` as its tables have them."""
    homes = lazy_names(package).items()
    imports = "".join(_import(f"{package}.{home}".rstrip("."), names) for home, names in homes)
    listed = "".join(f'    "{name}",\n' for name in exported_names(package, source))
    source = _replace(_TYPE_CHECKING, imports, source)
    return _replace(_ALL, f"__all__ = (\n{listed})\n", source)


def _import(module: str, names: tuple[str, ...]) -> str:
    names = tuple(sorted(names, key=lambda name: (in_order(name)[0], name.casefold())))  # the order of ruff's I001
    line = f"    from {module} import {', '.join(names)}\n"
    if len(line.rstrip()) <= _WIDTH:
        return line
    return f"    from {module} import (\n{''.join(f'        {name},{chr(10)}' for name in names)}    )\n"


def _replace(part: re.Pattern[str], new: str, source: str) -> str:
    replaced, count = part.subn(lambda _: new, source)
    if count != 1:
        raise ValueError(f"{part.pattern!r} occurs {count} times, must occur once")
    return replaced


def readme_source(source: str) -> str:
    """Return README with its table of endpoints as generated from the code."""
    from tests.readme_table import table  # noqa: PLC0415 - it starts a sandbox, which the export lists do not need

    return _with_table(source, BEGIN, table())


def batches_source(source: str) -> str:
    """Return the page about durable batches with its table of verdicts as generated from the code."""
    from tests.verdict_table import table  # noqa: PLC0415 - the export lists do not need the providers

    return _with_table(source, VERDICTS, table())


def _with_table(source: str, begin: str, table: str) -> str:
    before, found, rest = source.partition(begin)
    _, end, after = rest.partition(END)
    if not (found and end):
        raise ValueError(f"the page must hold {begin!r} and {END!r}")
    return f"{before}{begin}{table}{end}{after}"


def generated_files() -> Iterator[tuple[Path, Callable[[str], str]]]:
    """Yield each file with generated parts, and the function that returns its source with the parts replaced."""
    for package in PACKAGES:
        path = ROOT.joinpath(*package.split("."), "__init__.py")
        yield path, partial(package_source, package)
    yield README, readme_source
    yield BATCHES, batches_source


def outdated_files() -> Iterator[tuple[Path, str, str]]:
    """Yield each file whose generated parts are out of date, with its present source and the new one."""
    for path, generate in generated_files():
        present = path.read_text("utf-8")
        new = generate(present)
        if new != present:
            yield path, present, new


def main(arguments: list[str] | None = None) -> int:
    """Compare the files, or write them with `--write`, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.tables", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the files instead of comparing them")
    write: bool = parser.parse_args(arguments).write
    outdated = list(outdated_files())
    for path, present, new in outdated:
        name = str(path.relative_to(ROOT))
        if write:
            path.write_text(new, "utf-8")
            sys.stdout.write(f"wrote {name}\n")
        else:
            lines = difflib.unified_diff(present.splitlines(True), new.splitlines(True), name, f"{name} (generated)")
            sys.stdout.writelines(lines)
    return 1 if outdated and not write else 0


if __name__ == "__main__":
    sys.exit(main())
