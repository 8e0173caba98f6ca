"""The door: the only room that knows the HTTP library."""

from __future__ import annotations

from aiowery._door._door import Body, Door, Fence

__all__ = ("Body", "Door", "Fence")
