"""The books: what an open client does with money, written into its ledger as it happens.

_books            opens a page for each submission, keeps the ends, closes with everything written
_page             one submission's steps
_purse | _kept    what may be spent; snapshots, errors and durations as the ledger keeps them, and back
"""

from __future__ import annotations

from aiowery._books._books import Books, item_of
from aiowery._books._kept import kept_error, kept_snapshots
from aiowery._books._page import Page
from aiowery._books._purse import Prices, PriceTable, Purse

__all__ = ("Books", "Page", "PriceTable", "Prices", "Purse", "item_of", "kept_error", "kept_snapshots")
