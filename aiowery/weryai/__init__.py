"""WeryAI: its client and what it can be asked for."""

from __future__ import annotations

from aiowery.weryai._client import WeryAI
from aiowery.weryai._requests import ASPECT_RATIOS, IMAGE_MODELS, AspectRatio, TextToImage

__all__ = ("ASPECT_RATIOS", "IMAGE_MODELS", "AspectRatio", "TextToImage", "WeryAI")
