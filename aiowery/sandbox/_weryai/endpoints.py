"""All submission endpoints."""

from __future__ import annotations

from aiowery.sandbox._weryai import generation, speech, tools

ENDPOINTS = (*generation.ENDPOINTS, *tools.ENDPOINTS, *speech.ENDPOINTS)
