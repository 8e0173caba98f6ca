"""Receive the provider's webhook deliveries when tasks finish, instead of polling every few seconds.

    receiver = Receiver()
    app.mount("/aiowery", receiver)          # Starlette, FastAPI
    client = WeryAI(webhooks=Webhooks(public_url="https://app.example/aiowery", receiver=receiver))

Deliveries are neither signed nor repeated, so each is only a hint: it triggers a status check, which confirms it.
Rare polls go on as a fallback. Every submission has a webhook URL of its own, which cannot be guessed.
"""

from __future__ import annotations

from aiowery._base.public_names import publish
from aiowery._core.webhook_config import Webhooks
from aiowery.webhook._asgi import Receiver
from aiowery.webhook._dispatch import ReceiverStatistics

__all__ = ("Receiver", "ReceiverStatistics", "Webhooks")

publish(__name__)
