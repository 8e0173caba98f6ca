"""Being called back by WeryAI when a task ends, instead of asking every few seconds.

    receiver = Receiver()
    app.mount("/aiowery", receiver)          # Starlette, FastAPI
    client = WeryAI(webhooks=Webhooks(public_url="https://app.example/aiowery", receiver=receiver))

Calls are neither signed nor repeated, so each is a hint worth acting on at once, and never the truth by itself: it
wakes the job's status check, which confirms it, while ordinary checks go on as a safety net. Every submission has an
address of its own, which nobody can guess.

    _asgi                 HTTP
    _receiver             whose call it is
    _reading              what it says
"""

from __future__ import annotations

from aiowery._core.webhook_config import Webhooks
from aiowery.webhook._asgi import Receiver
from aiowery.webhook._dispatch import ReceiverStatistics

__all__ = ("Receiver", "ReceiverStatistics", "Webhooks")
