"""WeryAI as a pure translator: requests to calls, answers to values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import attrs

from aiowery._tasks import Snapshot, TaskState, credits_of
from aiowery._values import Accepted, Request, ResultT
from aiowery._wire import Answer, Call, json_body
from aiowery.errors import APIError, AuthenticationError, ConfigurationError, DailyLimitReached
from aiowery.weryai import _answers
from aiowery.weryai._requests import TextToImage

BALANCE: Final = Call("GET", "/v1/generation/balance")
_REQUESTS: Final = (TextToImage,)


@attrs.frozen
class WeryAIProvider:
    """See `aiowery._provider.Provider`."""

    name: str = "WeryAI"
    everybodys_errors: tuple[type[APIError], ...] = (AuthenticationError, DailyLimitReached)

    def encode(self, request: Request[Any]) -> Call:
        """Send what was set: a field left at None is left to the provider's default."""
        if not isinstance(request, _REQUESTS):
            raise ConfigurationError(f"{request!r} is not a WeryAI request; give one of the classes of aiowery.weryai")
        names = (field.name for field in attrs.fields(type(request)) if field.name != "extra")
        wanted = {name: value for name in names if (value := getattr(request, name)) is not None}
        return Call("POST", request.endpoint, json_body({**wanted, **request.extra}))

    def decode_accepted(self, answer: Answer) -> Accepted:
        """Read the answer to a submission."""
        return _answers.decode_accepted(answer)

    def status_call(self, task_id: str) -> Call:
        """Ask for one task."""
        return Call("GET", f"/v1/generation/{quote(task_id, safe='')}/status")

    def decode_status(self, answer: Answer, task_id: str) -> Snapshot:
        """Read what was said of one task."""
        return _answers.decode_status(answer, task_id)

    def knows_word(self, word: str) -> bool:
        """Whether the status word is documented or seen in use."""
        return _answers.knows(word)

    def batch_call(self, batch_id: str) -> Call:
        """Ask for all tasks of one submission."""
        return Call("GET", f"/v1/generation/batch/{quote(batch_id, safe='')}/status")

    def decode_batch(self, answer: Answer) -> Sequence[Snapshot]:
        """Read what was said of all tasks."""
        return _answers.decode_batch(answer)

    def result(
        self,
        result_type: type[ResultT],
        snapshots: Sequence[Snapshot],
        *,
        seconds: float,
        request_id: str | None,
    ) -> ResultT:
        """Gather the outputs of all tasks that ended well."""
        return result_type(
            task_ids=tuple(snapshot.task_id for snapshot in snapshots),
            assets=tuple(asset for snapshot in snapshots for asset in snapshot.assets),
            credits=credits_of(snapshots),
            seconds=seconds,
            failures=tuple(snapshot for snapshot in snapshots if snapshot.state is TaskState.FAILED),
            request_id=request_id,
            raw=tuple(snapshot.raw for snapshot in snapshots),
        )
