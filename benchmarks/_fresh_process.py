"""Run each measurement in a process of its own, so that no measurement warms or burdens another."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_TIMEOUT = 150.0


def in_fresh_process(measure: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run the function in a fresh interpreter and return its result.

    Raises RuntimeError when the process ends without a result, TimeoutError when it takes longer than 150 seconds.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_result, args=(sender, measure, args, kwargs))
    process.start()
    sender.close()
    try:
        if not receiver.poll(_TIMEOUT):
            raise TimeoutError(f"{measure.__module__}.{measure.__name__} took longer than {_TIMEOUT:.0f} s")
        result: T = receiver.recv()
    except EOFError:
        raise RuntimeError(
            f"{measure.__module__}.{measure.__name__} ended without a result; its error is printed above"
        ) from None
    finally:
        if process.is_alive():
            process.join(5)
        if process.is_alive():
            process.terminate()
            process.join(5)
        receiver.close()
    return result


def _send_result(
    sender: Connection, measure: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]
) -> None:
    """Run the function in the new process and send its result to the parent."""
    sender.send(measure(*args, **kwargs))
    sender.close()
