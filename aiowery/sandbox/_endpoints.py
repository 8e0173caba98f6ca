"""All submitting endpoints, and what their parameters mean."""

from __future__ import annotations

from aiowery.sandbox import _generation, _speech, _tools

ENDPOINTS = (*_generation.ENDPOINTS, *_tools.ENDPOINTS, *_speech.ENDPOINTS)
