"""Start and end of the sandbox, which leaves nothing behind."""

from __future__ import annotations

import asyncio
import importlib
import logging
import signal
import socket
import sys
import threading

import httpx
import psutil  # type: ignore[import-untyped,unused-ignore]  # its stubs are a package of their own
import pytest

from aiowery.sandbox import Fault, Sandbox, faults, run


def _threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def _sockets(url: str) -> int:
    """Count this process's sockets on the server's side of `url`."""
    port = int(url.rpartition(":")[2])
    return sum(end.laddr.port == port for end in psutil.Process().net_connections())


def _get(url: str, *, key: str = "sk-sandbox", timeout: float = 10) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{url}/v1/generation/balance", headers=headers, timeout=timeout, trust_env=False)


def test_sandbox_exit_leaves_no_thread_or_socket() -> None:
    """Threads and sockets are as before, and the port is closed."""
    threads = _threads()
    with Sandbox() as sandbox, httpx.Client(base_url=sandbox.url) as client:
        url = sandbox.url
        assert client.get("/v1/generation/balance").status_code == 401
        assert _sockets(url) == 2
    assert (_threads(), _sockets(url)) == (threads, 0)
    with pytest.raises(httpx.ConnectError):
        _get(url)


def test_sandbox_async_with_leaves_no_task() -> None:
    """`async with` works in any event loop, and leaves no task in it."""

    async def main() -> int:
        async with Sandbox() as sandbox, httpx.AsyncClient(base_url=sandbox.url) as client:
            assert (await client.get("/v1/generation/balance")).status_code == 401
        return len(asyncio.all_tasks())

    threads = _threads()
    assert asyncio.run(main()) == 1
    assert _threads() == threads


@pytest.mark.parametrize("kind", [faults.LostAnswer(600), faults.SlowBody(600)])
def test_sandbox_exit_ends_hanging_requests(kind: faults.LostAnswer | faults.SlowBody) -> None:
    """The block ends although a response would take ten minutes. The client gets an error."""
    results: list[object] = []

    def hang(url: str) -> None:
        try:
            results.append(_get(url, timeout=60))
        except httpx.TransportError as error:
            results.append(error)

    with Sandbox(faults=[Fault(kind)]) as sandbox:
        thread = threading.Thread(target=hang, args=(sandbox.url,))
        thread.start()
        while not sandbox.weryai.counters.requests:
            threading.Event().wait(0.01)
    thread.join(timeout=10)
    assert len(results) == 1


def test_sandbox_entry_cancelled_leaves_nothing() -> None:
    """A cancellation during the start leaves no thread, and the sandbox is not running."""
    sandbox = Sandbox()

    async def main() -> None:
        entering = asyncio.create_task(sandbox.__aenter__())
        await asyncio.sleep(0)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    threads = _threads()
    asyncio.run(main())
    assert _threads() == threads
    with pytest.raises(RuntimeError, match="enter it"):
        _ = sandbox.url


def test_connection_closed_during_a_body_affects_no_other(shared_sandbox: Sandbox) -> None:
    """A connection that ends during a request body does not affect other clients."""
    host, port = shared_sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/generation/text-to-image HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
        )
    assert _get(shared_sandbox.url).status_code == 200


def test_sandbox_entered_again_continues() -> None:
    """The state continues. A second entry at the same time is refused."""
    sandbox = Sandbox()
    for _ in range(2):
        with sandbox, pytest.raises(RuntimeError, match="running already"):
            sandbox.__enter__()
    with sandbox:
        assert _get(sandbox.url).json()["data"] == 10_000
    assert "not running" in repr(sandbox)


def test_sandbox_url_outside_the_block_raises() -> None:
    """The error names the solution."""
    with pytest.raises(RuntimeError, match="enter it"):
        _ = Sandbox().url


def test_sandbox_with_used_port_raises_oserror() -> None:
    """Both ways of entering raise, and entering can be repeated."""

    async def enter(port: int) -> None:
        async with Sandbox(port=port):
            pass

    threads = _threads()
    with Sandbox() as first:
        port = int(first.url.rpartition(":")[2])
        second = Sandbox(port=port)
        with pytest.raises(OSError, match=str(port)), second:
            pass
        with pytest.raises(OSError, match=str(port)):
            asyncio.run(enter(port))
    with second:
        assert second.url == f"http://127.0.0.1:{port}"
    assert _threads() == threads


def test_sandbox_changes_no_logging_or_signals() -> None:
    """No handler, level or signal handler changes while a sandbox runs."""
    names = ("uvicorn", "uvicorn.error", "uvicorn.access")

    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in names]
        settings = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
        return [*settings, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    before = state()
    with Sandbox() as sandbox:
        _get(sandbox.url)
        assert state() == before
    assert state() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"keys": ()}, "at least one key"), ({"speed": -1}, "speed"), ({"picture_size": 5}, "picture_size")],
)
def test_sandbox_with_invalid_argument_is_refused(arguments: dict[str, object], message: str) -> None:
    """The constructor raises ValueError."""
    with pytest.raises(ValueError, match=message):
        Sandbox(**arguments)  # type: ignore[arg-type]


def test_run_serves_until_interrupted() -> None:
    """`run` calls `ready`, serves, and returns after Ctrl-C."""
    seen: list[int] = []

    def ready(sandbox: Sandbox) -> None:
        seen.append(_get(sandbox.url, key="sk-any").status_code)
        signal.raise_signal(signal.SIGINT)

    run(port=0, ready=ready)
    assert seen == [200]


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "PIL"])
def test_import_without_the_extra_names_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import error contains the command to install it."""
    modules = [name for name in sys.modules if name.startswith("aiowery.sandbox")]
    for name in [*modules, *(name for name in sys.modules if name.partition(".")[0] == package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'aiowery\[sandbox\]'"):
        importlib.import_module("aiowery.sandbox")
