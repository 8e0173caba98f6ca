"""The pool keeps its limits, serves callers in order of arrival, and closes what is no longer of use."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from aiowery.transport import (
    Clocks,
    ConnectError,
    ConnectionPool,
    ConnectTimeout,
    LeaseTerms,
    Origin,
    OutgoingRequest,
    PoolClosed,
    PoolTimeout,
    ReadError,
    RemoteProtocolError,
    RequestRefused,
    encode_head,
)
from aiowery.transport import _dial as dial_module
from tests.support import http_response, peer, serving
from tests.transport.conftest import CLOCKS, QUICK, get, origin_of, post

pytestmark = pytest.mark.anyio
MakePool = Callable[..., ConnectionPool]
OK = http_response("ok")


async def read(pool: ConnectionPool, url: str, terms: LeaseTerms = QUICK) -> bytes:
    """Return the body of a GET."""
    response = await pool.exchange(origin_of(url), get(), terms=terms, clocks=CLOCKS, max_body=1000)
    return response.body


async def test_pool_thousand_reads_use_the_allowed_connections(make_pool: MakePool) -> None:
    """A thousand concurrent reads share sixteen connections; all get their response."""
    pool = make_pool(max_connections=16)
    async with peer(OK) as server:
        bodies = await asyncio.gather(*(read(pool, server.url) for _ in range(1000)))
        assert pool.connections == 16
        await pool.aclose()
    assert (set(bodies), server.connections) == ({b"ok"}, 16)


async def test_pool_waiters_are_served_in_order_of_arrival(make_pool: MakePool) -> None:
    """The first caller that waits gets the first connection; one that has left is skipped."""
    pool, order = make_pool(max_connections=1), []
    async with peer(OK) as server:

        async def use(name: int) -> None:
            async with pool.lease(origin_of(server.url), QUICK) as connection:
                order.append(name)
                await connection.exchange(get(), clocks=CLOCKS, max_body=10)

        async with pool.lease(origin_of(server.url), QUICK) as connection:
            tasks = [asyncio.create_task(use(name)) for name in range(5)]
            await asyncio.sleep(0.01)
            tasks[1].cancel()
            await connection.exchange(get(), clocks=CLOCKS, max_body=10)
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.aclose()
    assert (order, server.connections) == ([0, 2, 3, 4], 1)


async def test_pool_full_of_others_closes_the_oldest_for_a_new_origin(make_pool: MakePool) -> None:
    """Connections that rest do not keep another origin waiting."""
    pool = make_pool(max_connections=2)
    async with peer(OK) as one, peer(OK) as other:
        await read(pool, one.url)
        await asyncio.gather(read(pool, other.url), read(pool, other.url))
        assert await read(pool, one.url) == b"ok"
        await pool.aclose()


async def test_pool_waiter_for_another_origin_gets_the_place(make_pool: MakePool) -> None:
    """A released connection to one origin makes room for a caller that waits for another."""
    pool = make_pool(max_connections=1)
    async with peer(OK) as one, peer(OK) as other:
        async with pool.lease(origin_of(one.url), QUICK) as connection:
            waiting = asyncio.create_task(read(pool, other.url))
            await asyncio.sleep(0.01)
            await connection.exchange(get(), clocks=CLOCKS, max_body=10)
        assert await waiting == b"ok"
        await pool.aclose()


async def test_pool_without_a_free_connection_in_time_raises_unsent(make_pool: MakePool) -> None:
    """Waiting for a place ends in PoolTimeout, and leaves the place count as it was."""
    pool = make_pool(max_connections=1)
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK):
            with pytest.raises(PoolTimeout) as caught:
                await read(pool, server.url, LeaseTerms(0.01, 1))
        assert caught.value.unsent
        assert await read(pool, server.url) == b"ok"
        await pool.aclose()


async def test_pool_resting_connection_ends_after_its_time(make_pool: MakePool) -> None:
    """A connection that rests too long is closed by itself, not at the next request."""
    pool = make_pool(rest_seconds=0.05)
    async with peer(OK) as server:
        await read(pool, server.url)
        assert pool.connections == 1
        await asyncio.sleep(0.15)
        assert pool.connections == 0
        assert await read(pool, server.url) == b"ok"
        await pool.aclose()
    assert server.connections == 2


async def test_pool_connection_that_the_server_ends_leaves_immediately(make_pool: MakePool) -> None:
    """A resting connection that the server closes leaves the pool without a further request."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.02)

    pool = make_pool()
    async with serving(script) as url:
        await read(pool, url)
        await asyncio.sleep(0.1)
        assert (pool.connections, pool._places_taken, pool._resting) == (0, 0, {})


async def test_pool_read_on_a_dead_connection_is_sent_once_more(make_pool: MakePool, tls: Any) -> None:
    """A read that meets a closed connection is repeated on a new one; a second such end is the caller's error."""
    heads = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if len(heads) < 4:
            writer.write(OK)
            heads.append(await reader.readuntil(b"\r\n\r\n"))  # and close without a response

    pool = make_pool(tls[1])
    async with serving(script, tls=tls[0]) as url:
        assert await read(pool, url) == b"ok"
        assert await read(pool, url) == b"ok"
        with pytest.raises(Exception, match=r"closed|lost"):
            await read(pool, url)
        await pool.aclose()
    assert len(heads) == 5


async def test_pool_post_on_a_dead_connection_is_not_repeated(make_pool: MakePool) -> None:
    """Only reads are sent once more."""
    heads = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        heads.append(await reader.readuntil(b"\r\n\r\n"))

    pool = make_pool()
    async with serving(script) as url:
        await read(pool, url)
        with pytest.raises(Exception, match=r"closed|lost"):
            await pool.exchange(origin_of(url), post(b"x"), terms=QUICK, clocks=CLOCKS, max_body=10)
        await pool.aclose()
    assert len(heads) == 2


async def test_pool_close_ends_everything_with_errors_that_say_so(make_pool: MakePool) -> None:
    """Waiters, dials and exchanges under way end with the transport's errors; later use is refused."""
    received = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.set()
        await reader.read()

    pool = make_pool(max_connections=1)
    async with serving(silent) as url:
        using = asyncio.create_task(read(pool, url))
        waiting = asyncio.create_task(read(pool, url))
        await received.wait()
        await pool.aclose()
        ended = await asyncio.gather(using, waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [ReadError, PoolClosed]
        assert "transport was closed" in str(ended[0])
        with pytest.raises(PoolClosed) as caught:
            await read(pool, url)
    assert (caught.value.unsent, pool.connections) == (True, 0)


async def test_pool_close_during_a_lookup_ends_with_its_error(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dial under way ends with PoolClosed, never with CancelledError; the caller is not cancelled."""
    pool = make_pool()

    async def slow(*_: Any) -> list[Any]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(dial_module.Dialer, "_query_resolver", slow)
    origin = Origin(False, "name.invalid", 80)
    task = asyncio.create_task(pool.exchange(origin, get(), terms=QUICK, clocks=CLOCKS, max_body=1))
    await asyncio.sleep(0.01)
    await pool.aclose()
    with pytest.raises(PoolClosed):
        await task


def test_pool_in_two_loops_is_refused_and_begins_anew_after_the_first() -> None:
    """A pool belongs to one running loop; when that is closed, the next one may use it."""
    pool = ConnectionPool(dial_module.Dialer())

    async def use() -> bytes:
        async with peer(OK) as server:
            body = await read(pool, server.url)
            pool.close_resting(origin_of(server.url))
            await asyncio.sleep(0.01)
        return body

    async def refused() -> None:
        with pytest.raises(RuntimeError, match="in use in another event loop"):
            await read(pool, "http://127.0.0.1:1")

    with asyncio.Runner() as first:
        assert first.run(use()) == b"ok"
        with asyncio.Runner() as second:
            second.run(refused())
    with asyncio.Runner() as third:
        assert third.run(use()) == b"ok"


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        (Origin(False, "a..b", 80), "is no address"),
        (Origin(False, "a b", 80), "is no address"),
        (Origin(False, "a\r\nb", 80), "is no address"),
        (Origin(False, "127.0.0.1", 0), "is no address"),
        (Origin(False, "user@host", 80), "is no address"),
        (Origin(False, "a" * 64 + ".example", 80), "no name of a server"),
        (Origin(False, "127.0.0.1", 1), "no connection to 127.0.0.1"),
        (Origin(False, "name.invalid", 80), "no connection to name.invalid"),
    ],
)
async def test_dial_impossible_origin_raises_an_unsent_error(make_pool: MakePool, origin: Origin, message: str) -> None:
    """Odd hosts, closed ports and unknown names are one clear error each, and nothing was sent."""
    pool = make_pool()
    with pytest.raises((ConnectError, RequestRefused), match=message) as caught:
        await pool.exchange(origin, get(), terms=QUICK, clocks=CLOCKS, max_body=1)
    assert getattr(caught.value, "unsent", False)
    assert pool._places_taken == 0


async def test_dial_server_that_does_not_accept_times_out(make_pool: MakePool) -> None:
    """A connection that is not made in time is ConnectTimeout, and its socket is closed."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    occupied = [socket.socket() for _ in range(4)]
    for one in occupied:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    pool = make_pool()
    origin = Origin(False, *full.getsockname())
    with pytest.raises(ConnectTimeout) as caught:
        await pool.exchange(origin, get(), terms=LeaseTerms(1, 0.05), clocks=CLOCKS, max_body=1)
    for one in (full, *occupied):
        one.close()
    assert (caught.value.unsent, pool._places_taken) == (True, 0)


async def test_dial_checks_every_address_and_connects_to_a_checked_one(make_pool: MakePool) -> None:
    """`allow_address` sees the resolved addresses; refused ones are not connected to."""
    seen: list[str] = []

    def allow(address: str) -> bool:
        seen.append(address)
        return False

    pool = make_pool(allow_address=allow)
    async with peer(OK) as server:
        port = origin_of(server.url).port
        for host in ("127.0.0.1", "localhost", "::ffff:127.0.0.1"):
            with pytest.raises(ConnectError, match="may not be connected to"):
                await pool.exchange(Origin(False, host, port), get(), terms=QUICK, clocks=CLOCKS, max_body=10)
    assert "127.0.0.1" in seen
    assert set(seen) <= {"127.0.0.1", "::1"}
    assert server.connections == 0


async def test_dial_several_callers_share_a_lookup(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten concurrent dials to a name look it up once; a caller that leaves does not end it for the others."""
    lookups = 0
    original = dial_module.Dialer._query_resolver

    async def counted(self: Any, host: str, port: int) -> Any:
        nonlocal lookups
        lookups += 1
        await asyncio.sleep(0.02)
        return await original(self, host, port)

    monkeypatch.setattr(dial_module.Dialer, "_query_resolver", counted)
    pool = make_pool()
    async with peer(OK) as server:
        origin = Origin(False, "localhost", origin_of(server.url).port)
        tasks = [
            asyncio.create_task(pool.exchange(origin, get(), terms=QUICK, clocks=CLOCKS, max_body=10))
            for _ in range(10)
        ]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        await pool.aclose()
    assert lookups == 1
    assert sum(getattr(one, "status", 0) == 200 for one in done) == 9


async def test_pool_leaves_no_garbage_behind_an_exchange(make_pool: MakePool) -> None:
    """An exchange leaves no cycle for the garbage collector."""
    pool = make_pool()
    async with peer(OK) as server:
        await read(pool, server.url)
        gc.collect()
        gc.freeze()  # what other tests have left is not counted
        gc.disable()
        try:
            for _ in range(50):
                await read(pool, server.url)
            found = [one for one in gc.get_objects() if str(type(one).__module__).startswith("aiowery.transport")]
            assert gc.collect() < 50
        finally:
            gc.enable()
            gc.unfreeze()
        assert len(found) < 40
        await pool.aclose()


async def _nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def test_clocks_are_seconds() -> None:
    """The defaults are those of the client: half a minute between bytes, no limit of the whole."""
    assert Clocks() == (30.0, 30.0, float("inf"))


async def test_pool_dial_cancelled_again_and_again_loses_no_place(make_pool: MakePool, tls: Any) -> None:
    """Anyio cancels in every iteration of the loop until the caller has left; the place is freed all the same."""
    pool = make_pool(tls[1], max_connections=2)
    async with peer(OK, tls=tls[0]) as server:
        for delay in (0.0, 0.0, 0.0005, 0.001, 0.002, 0.003, 0.005):
            with anyio.move_on_after(delay):
                await read(pool, server.url)
        assert await read(pool, server.url) == b"ok"
        await asyncio.sleep(0.6)
        assert pool._places_taken == len(pool._open) == 1
        await pool.aclose()


async def test_pool_end_ends_what_one_holder_has_under_way(make_pool: MakePool) -> None:
    """A holder that leaves takes its exchange and its waiting along; the other's go on."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            await release.wait()
            writer.write(OK)

    pool = make_pool(max_connections=2)
    async with serving(slow) as url:
        leaving, staying = [
            [asyncio.create_task(read(pool, url, QUICK._replace(holder=holder))) for _ in range(2)]
            for holder in ("leaving", "staying")
        ]
        await asyncio.sleep(0.02)
        pool.end("leaving")
        ended = await asyncio.gather(*leaving, return_exceptions=True)
        release.set()
        assert [type(error) for error in ended] == [ReadError, ReadError]
        assert await asyncio.gather(*staying) == [b"ok", b"ok"]
        await pool.aclose()


async def test_pool_unused_lease_makes_no_connection_younger(make_pool: MakePool) -> None:
    """A lease that ends without a request does not prolong how long the connection may rest for a paid one."""
    pool = make_pool(rest_seconds=30.0)
    async with peer(OK) as server:
        await read(pool, server.url)
        (connection,) = pool._open
        connection._rested_since -= 4
        for _ in range(2):
            async with pool.lease(origin_of(server.url), QUICK._replace(is_paid=True)) as leased:
                assert leased is connection
        connection._rested_since -= 2
        async with pool.lease(origin_of(server.url), QUICK._replace(is_paid=True)) as leased:
            assert leased is not connection
        await pool.aclose()


async def test_pool_fresh_lease_takes_no_connection_that_is_passed_on(make_pool: MakePool) -> None:
    """A caller that waits for a new connection gets the place of a released one, not the connection."""
    pool = make_pool(max_connections=1)
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            waiting = asyncio.create_task(read(pool, server.url, QUICK._replace(is_fresh=True)))
            await asyncio.sleep(0.01)
            await connection.exchange(get(), clocks=CLOCKS, max_body=10)
        assert await waiting == b"ok"
        assert pool._places_taken == 1
        await pool.aclose()
    assert server.connections == 2


async def test_pool_second_release_does_nothing(make_pool: MakePool) -> None:
    """A connection that is released twice rests once, and its place is counted once."""
    pool = make_pool()
    async with peer(OK) as server:
        connection = await pool.acquire(origin_of(server.url), QUICK)
        await connection.exchange(get(), clocks=CLOCKS, max_body=10)
        for _ in range(2):
            pool.release(connection)
        assert (pool._resting_count, pool._places_taken) == (1, 1)
        await pool.aclose()


async def test_pool_end_ends_waiting_and_dialling(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that leaves while it waits for a place, or for a connection, gets an unsent error; others go on."""

    async def slow(*_: Any) -> list[Any]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(dial_module.Dialer, "_query_resolver", slow)
    leaving = QUICK._replace(holder="leaving")
    pool = make_pool(max_connections=2)
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK._replace(holder="staying")) as connection:
            name = Origin(False, "name.invalid", 80)
            dialling = asyncio.create_task(pool.exchange(name, get(), terms=leaving, clocks=CLOCKS, max_body=1))
            await asyncio.sleep(0.01)
            waiting = asyncio.create_task(read(pool, server.url, leaving))
            await asyncio.sleep(0.01)
            pool.end("leaving")
            ended = await asyncio.gather(dialling, waiting, return_exceptions=True)
            assert [(type(error), getattr(error, "unsent", None)) for error in ended] == [(PoolClosed, True)] * 2
            assert (await connection.exchange(get(), clocks=CLOCKS, max_body=10)).body == b"ok"
        assert await read(pool, server.url) == b"ok"
        assert pool._places_taken == 1
        await pool.aclose()


async def test_pool_close_with_a_waiter_that_has_just_left_ends_the_others(make_pool: MakePool) -> None:
    """A caller that is cancelled in the same moment is left alone; the next one gets the error."""
    pool = make_pool(max_connections=1)
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK):
            first, second = (asyncio.create_task(read(pool, server.url)) for _ in range(2))
            await asyncio.sleep(0.01)
            first.cancel()
            pool.close()
            ended = await asyncio.gather(first, second, return_exceptions=True)
        await pool.aclose()
    assert [type(error) for error in ended] == [asyncio.CancelledError, PoolClosed]


@pytest.mark.parametrize(("granted", "connections"), [("connection", 1), ("connection that is lost", 2), ("place", 2)])
async def test_pool_grant_to_a_waiter_that_leaves_is_passed_on(
    make_pool: MakePool, granted: str, connections: int
) -> None:
    """What a caller is given in the moment of its cancellation reaches the next one.

    A connection that has ended meanwhile does so as a place to dial.
    """
    pool = make_pool(max_connections=1)
    async with peer(OK) as server:
        async with pool.lease(origin_of(server.url), QUICK) as connection:
            first, second = (asyncio.create_task(read(pool, server.url)) for _ in range(2))
            await asyncio.sleep(0.01)
            await connection.exchange(get(), clocks=CLOCKS, max_body=10)
            if granted == "place":
                connection.abort()  # it cannot rest
        if granted == "connection that is lost":
            connection.abort()
        first.cancel()  # it has been given the connection or the place, and has not run since
        assert await second == b"ok"
        with pytest.raises(asyncio.CancelledError):
            await first
        assert pool._places_taken == 1
        await pool.aclose()
    assert server.connections == connections


async def test_pool_read_whose_body_is_used_up_is_not_sent_once_more(make_pool: MakePool) -> None:
    """A streamed body cannot be sent again, also where the server has closed the connection."""
    heads = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        heads.append(await reader.readuntil(b"0\r\n\r\n"))  # and close without a response

    async def body() -> AsyncIterator[bytes]:
        yield b"query"

    pool = make_pool()
    async with serving(script) as url:
        await read(pool, url)
        chunked = encode_head(b"GET", b"/", [(b"host", b"x"), (b"transfer-encoding", b"chunked")])
        with pytest.raises((ReadError, RemoteProtocolError)):
            await pool.open_stream(origin_of(url), OutgoingRequest(b"GET", chunked, body()), terms=QUICK, clocks=CLOCKS)
        await pool.aclose()
    assert len(heads) == 2


async def test_pool_dead_connection_takes_the_resting_ones_of_its_origin_along(make_pool: MakePool) -> None:
    """A server that has closed one connection may have closed all: none of them is tried, a new one is opened."""
    heads: list[list[bytes]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(mine := [])
        while head := await reader.readuntil(b"\r\n\r\n"):
            mine.append(head)
            if len(heads) < 4 and len(mine) == 2:
                return
            writer.write(OK)

    pool = make_pool()
    async with serving(script) as url:
        await asyncio.gather(*(read(pool, url) for _ in range(3)))
        assert await read(pool, url) == b"ok"
        assert (pool.connections, pool._resting_count, pool._places_taken) == (1, 1, 1)
        await pool.aclose()
    assert sorted(len(one) for one in heads) == [1, 1, 1, 2]


async def test_pool_read_over_a_resting_connection_is_written_within_the_call(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task is made for it, no timer of its own is set, and nothing is awaited before the write."""
    pool = make_pool()
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: Any, **settings: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **settings)

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a read needs no task of its own")

    async with peer(OK) as server:
        await read(pool, server.url)
        (connection,) = pool._open
        monkeypatch.setattr(loop, "call_at", counted)
        monkeypatch.setattr(loop, "create_task", refused)
        for _ in range(20):
            reading = read(pool, server.url).__await__()
            waited = reading.send(None)
            assert connection._is_busy
            while not waited.done():  # noqa: ASYNC110 - the call itself is awaited by hand
                await asyncio.sleep(0)
            with pytest.raises(StopIteration) as ended:
                reading.send(None)
            assert ended.value.value == b"ok"
        monkeypatch.undo()
        await pool.aclose()
    assert server.connections == 1
    assert len(timers) <= 2
