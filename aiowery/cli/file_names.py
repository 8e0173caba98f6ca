"""Names of the files that a batch keeps in its output directory."""

from __future__ import annotations

from typing import Final

MANIFEST: Final = "manifest.jsonl"
UNDER_WAY: Final = "under-way.jsonl"
GALLERY: Final = "gallery.html"
LEDGER: Final = ".aiowery.db"
