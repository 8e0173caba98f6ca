"""The dialects of WeryAI that are met in its documents and clients: words for statuses, and codes of refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import attrs

from aiowery.sandbox._response import Refused
from aiowery.sandbox._tasks import SandboxTaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

StatusDialect = Literal["docs", "upper", "lower"]
"""Words for statuses: those of each endpoint's documentation, or all in capitals, or all in lower case."""
CodeDialect = Literal["seed", "late"]
"""Codes of refusals: those of the guide, or those of the vendor's later clients."""

_WORDS: Mapping[str, tuple[str, str, str, str]] = {
    "docs": ("waiting", "processing", "SUCCESS", "FAILED"),
    "docs of music": ("WAITING", "PROCESSING", "SUCCEED", "FAILED"),
    "upper": ("WAITING", "PROCESSING", "SUCCESS", "FAILED"),
    "lower": ("waiting", "processing", "succeed", "failed"),
}
_LATE: Mapping[int | str, tuple[int, str]] = {
    1001: (1002, "PARAMETER_ERROR"),
    1002: (1009, "PERMISSION_DENIED"),
    1003: (1003, "RESOURCE_NOT_EXISTS"),
    1004: (1011, "INSUFFICIENT_CREDITS"),
    1005: (2003, "IMG_TEXT_CHECK_FAILED"),
    1006: (1006, "NOT_MODEL"),
}
"""By the guide's code, the code and name of the vendor's later clients."""
_UNAUTHORIZED, _FORBIDDEN = 401, 403


@attrs.frozen
class Dialect:
    """A choice of words and codes. Raises ValueError for an unknown one."""

    status_words: StatusDialect = attrs.field(default="docs")
    codes: CodeDialect = attrs.field(default="seed")

    def __attrs_post_init__(self) -> None:
        for name, allowed in (("status_words", get_args(StatusDialect)), ("codes", get_args(CodeDialect))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")

    def status(self, state: SandboxTaskState, *, is_music: bool = False) -> str:
        """Return the word for a state. In their documentation, tasks that make music have words of their own."""
        name = "docs of music" if is_music and self.status_words == "docs" else self.status_words
        return _WORDS[name][list(SandboxTaskState).index(state)]

    def refusal(self, refused: Refused) -> Refused:
        """Return a refusal that has the guide's code with the code of this dialect."""
        if self.codes == "seed" or refused.code not in _LATE:
            return refused
        code, desc = _LATE[refused.code]
        http = _FORBIDDEN if refused.http == _UNAUTHORIZED else refused.http
        return Refused(code, refused.message, desc=desc, http=http)
