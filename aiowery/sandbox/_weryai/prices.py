"""What a call costs, in credits: for each picture, video or sound, for each use of a tool, for words."""

from __future__ import annotations

IMAGE = 1
VIDEO = 5
AUDIO = 2
TOOL = 1
WORDS = 1
"""A podcast's script, a transcript, a reply, a description."""
RESEARCH = 10
