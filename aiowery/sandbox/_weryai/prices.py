"""Prices in credits: for each image, video or sound, for each use of a tool, for text."""

from __future__ import annotations

IMAGE = 1
VIDEO = 5
AUDIO = 2
TOOL = 1
TEXT = 1
"""Price of a podcast's script, a transcript, a chat reply or a description."""
RESEARCH = 10
