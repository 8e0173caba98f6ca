"""Measuring apart: every measurement has a process of its own, so that none warms or burdens another."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 150.0


def apart(measure: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call the function in a fresh interpreter and return what it returned.

    RuntimeError when the process ends without an answer, TimeoutError when it takes longer than 150 s.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, measure, args, kwargs))
    process.start()
    sender.close()
    try:
        if not receiver.poll(_PATIENCE):
            raise TimeoutError(f"{measure.__module__}.{measure.__name__} took longer than {_PATIENCE:.0f} s")
        answer: T = receiver.recv()
    except EOFError:
        raise RuntimeError(f"{measure.__module__}.{measure.__name__} ended without an answer; see above") from None
    finally:
        if process.is_alive():
            process.join(5)
        if process.is_alive():
            process.terminate()
            process.join(5)
        receiver.close()
    return answer


def _answer(
    sender: Connection, measure: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    """Run in the new process."""
    sender.send(measure(*args, **kwargs))
    sender.close()
