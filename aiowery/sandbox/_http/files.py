"""Responses with a file's bytes: all, a range, or none if the client already has the file."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from aiowery.sandbox._response import PlannedResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

# Longer numbers than any file's size do not match, and the whole file is sent without a valid range.
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def file_response(content: bytes, media_type: str, headers: Mapping[str, str]) -> PlannedResponse:
    """Return the response to a GET for `content`. Supports If-None-Match, Range (one range) and If-Range."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    common = (("content-type", media_type), ("etag", etag), ("accept-ranges", "bytes"))
    if headers.get("if-none-match") == etag:
        return PlannedResponse(b"", http=304, headers=common)
    if headers.get("if-range", etag) != etag:
        return PlannedResponse(content, headers=common)
    match = _RANGE.fullmatch(headers.get("range", ""))
    if match is None or match[0] == "bytes=-":
        return PlannedResponse(content, headers=common)
    start, stop = _span(match[1], match[2], len(content))
    if start >= stop:
        return PlannedResponse(b"", http=416, headers=(*common, ("content-range", f"bytes */{len(content)}")))
    content_range = ("content-range", f"bytes {start}-{stop - 1}/{len(content)}")
    return PlannedResponse(content[start:stop], http=206, headers=(*common, content_range))


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    """Convert the two numbers of a range into start and stop. "-5" means the last five bytes."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
