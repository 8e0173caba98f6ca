"""Requests, keys, files and limits of many tests."""

from __future__ import annotations

from typing import Final

from aiowery import Limits
from aiowery.weryai import TextToImage

KEY: Final = "sk-made-up-key-0123456789"
URL: Final = "https://api.example.com"
CAT: Final = TextToImage(prompt="a cat")
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(16)
WIDE: Final = Limits(in_flight=1000, submissions=50)
