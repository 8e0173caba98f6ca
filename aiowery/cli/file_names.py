"""Names and mode of the files in the output directory of a batch."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Final

from aiowery._base.new_files import PRIVATE, SHARED

MANIFEST: Final = "manifest.jsonl"
UNDER_WAY: Final = "under-way.jsonl"
GALLERY: Final = "gallery.html"
LEDGER: Final = ".aiowery.db"
LOCK: Final = ".aiowery.lock"
COVER_SUFFIX: Final = "-cover"
"""The end of the name of a cover, a still picture that belongs to the file with the rest of the name."""


def file_mode(ledger: Path | None) -> int:
    """Return the mode of files with what a ledger holds: its own, unless all users may read it; else 0600."""
    try:
        mode = 0 if ledger is None else ledger.stat().st_mode
    except OSError:
        return PRIVATE
    return PRIVATE if not mode or mode & stat.S_IRWXO else mode & SHARED


def without_covers(names: Iterable[str]) -> list[str]:
    """Return the names of an item's files that are no covers of others."""
    names = list(names)
    stems = {PurePath(name).stem for name in names}
    return [name for name in names if not _is_cover(PurePath(name).stem, stems)]


def _is_cover(stem: str, stems: set[str]) -> bool:
    """Return True for the cover of another file; the prompt of an output may end in "cover" too."""
    return stem.endswith(COVER_SUFFIX) and stem.removesuffix(COVER_SUFFIX) in stems
