"""WeryAI's client: the verbs that all providers share, and WeryAI's own reads."""

from __future__ import annotations

from typing import ClassVar

from aiowery._client import Client
from aiowery._provider import Provider
from aiowery._tasks import Snapshot
from aiowery.weryai import _answers
from aiowery.weryai._provider import BALANCE, WeryAIProvider


class WeryAI(Client):
    """An asyncio client for WeryAI.

    The key comes from `api_key` or the environment variable WERYAI_API_KEY, the host from `base_url`,
    WERYAI_BASE_URL, or WeryAI's own. See `aiowery.weryai` for what can be asked.
    """

    _provider: ClassVar[Provider] = WeryAIProvider()
    _key_variable: ClassVar[str] = "WERYAI_API_KEY"
    _url_variable: ClassVar[str] = "WERYAI_BASE_URL"
    _default_url: ClassVar[str] = "https://api.weryai.com"

    async def balance(self) -> float:
        """Return the account's credits. Tells the observer when they are below `low_credits`."""
        balance = await self._opened.read(BALANCE, _answers.decode_balance)
        if self._low_credits is not None and balance < self._low_credits:
            self._opened.tell_low_credits(balance)
        return balance

    async def status(self, task_id: str) -> Snapshot:
        """Ask once about one task and return what was said; raises NotFound for an unknown id."""
        return await self._opened.read(
            self._provider.status_call(task_id), lambda answer: self._provider.decode_status(answer, task_id)
        )
