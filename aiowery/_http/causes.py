"""The causes of errors: their messages are kept, and nothing that may hold the API key."""

from __future__ import annotations


def strip(fault: BaseException, handled: BaseException | None) -> None:
    """Remove the tracebacks of an exception and of all that it is chained to, and the headers of their requests.

    Variables in a traceback, and headers, may hold the key. What the caller was handling before stays as it is.
    """
    found = [handled]
    waiting: list[BaseException | None] = [fault]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is other for other in found):
            continue
        found.append(one)
        one.__traceback__ = None
        facts = vars(one)
        if (request := facts.get("_request")) is not None:  # an exception of httpx
            facts["_request"] = type(request)(request.method, request.url)
        waiting += (one.__cause__, one.__context__)
