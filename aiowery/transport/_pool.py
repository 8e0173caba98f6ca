"""The pool: it leases connections, dials new ones within its limits, and sees to their clocks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
from collections import deque
from collections.abc import Iterator
from math import inf
from types import TracebackType
from typing import Final, NamedTuple
from weakref import WeakSet

import httpx

from aiowery.transport._connection import MAX_LEASE, Clocks, Connection, Response
from aiowery.transport._dial import Dialer
from aiowery.transport._errors import ConnectionUnusable, PoolClosed, PoolTimeout, ReadError, RemoteProtocolError
from aiowery.transport._request import IDEMPOTENT, Origin, OutgoingRequest
from aiowery.transport._trace import ACQUIRE, RECEIVE_HEAD, SEND_HEAD, Tracer

_SWEEP_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0

_generation = 0
_pools: Final[WeakSet[ConnectionPool]] = WeakSet()
_inherited: Final[list[object]] = []
"""Connections of a parent process: kept, so that no warning reports them as left open."""


def _begin_generation() -> None:
    global _generation  # noqa: PLW0603 - one number for the process
    _generation += 1
    for pool in tuple(_pools):
        pool.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_generation)


class LeaseTerms(NamedTuple):
    """The terms of a lease.

    `pool_timeout`, `connect_timeout`: seconds to wait for a place in the pool, and for a new connection; None for no
    limit. `is_paid`: no connection that rested so long that the server may be about to close it. `is_fresh`: a new
    connection. `holder`: the user of the pool on whose behalf it is leased; `ConnectionPool.end` ends all its leases.
    """

    pool_timeout: float | None = 30.0
    connect_timeout: float | None = 30.0
    is_paid: bool = False
    is_fresh: bool = False
    holder: object = None


class _Waiter(NamedTuple):
    """A caller that waits for a connection to an origin, or for a place (None)."""

    origin: Origin
    holder: object
    future: asyncio.Future[Connection | None]


_DEFAULT_TERMS: Final = LeaseTerms()


class Lease:
    """The right to use a connection: `async with pool.lease(origin) as connection`."""

    __slots__ = ("_connection", "_origin", "_pool", "_terms")

    def __init__(self, pool: ConnectionPool, origin: Origin, terms: LeaseTerms) -> None:
        self._pool = pool
        self._origin = origin
        self._terms = terms
        self._connection: Connection

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.acquire(self._origin, self._terms)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.release(self._connection)


class ConnectionPool:
    """A pool of connections to any origins.

    The connection that was released last is leased first, so that the others may end. At most `max_connections` are
    open or being dialled. Callers that find none wait in order of arrival. A resting connection is closed after
    `rest_seconds`, or when more than `max_resting` would rest.

    A pool belongs to the event loop in which it is used first. When that loop is closed, or after a fork, it begins
    anew. Connections outlive the requests that open them: they and the timers run without context variables.
    """

    def __init__(
        self,
        dialer: Dialer,
        *,
        max_connections: float = 100,
        max_resting: float = 20,
        rest_seconds: float = 5.0,
    ) -> None:
        self._dialer = dialer
        self._max_connections = max_connections
        self._max_resting = max_resting
        self._rest_seconds = rest_seconds
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generation = _generation
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        self._open: set[Connection] = set()
        self._resting: dict[Origin, list[Connection]] = {}
        self._resting_count = 0
        self._places_taken = 0
        self._waiters: deque[_Waiter] = deque()
        self._dials: dict[asyncio.Task[Connection], object] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = inf
        self._emptied: asyncio.Future[None] | None = None

    @property
    def is_closed(self) -> bool:
        """True after `aclose`."""
        return self._is_closed

    @property
    def connections(self) -> int:
        """Number of connections whose sockets are open."""
        return len(self._open)

    def lease(self, origin: Origin, terms: LeaseTerms = _DEFAULT_TERMS) -> Lease:
        """Return the lease of a connection to this origin."""
        return Lease(self, origin, terms)

    async def exchange(
        self, origin: Origin, request: OutgoingRequest, *, terms: LeaseTerms, clocks: Clocks, max_body: int
    ) -> Response:
        """Lease a connection, send a request with a whole body, and return the response.

        A read on a connection that the server had already closed is sent once more, on a new connection.
        """
        first = await self.acquire(origin, terms)
        was_used = first.used
        try:
            return await first.exchange(request, clocks=clocks, max_body=max_body)
        except httpx.TransportError as error:
            if not (was_used and _may_repeat(request, error)):
                raise
            failure = error
        finally:
            self.release(first)
        self.close_resting(origin)
        with _again(failure):
            async with self.lease(origin, terms._replace(is_fresh=True)) as fresh:
                return await fresh.exchange(request, clocks=clocks, max_body=max_body)

    async def open_stream(
        self,
        origin: Origin,
        request: OutgoingRequest,
        *,
        terms: LeaseTerms,
        clocks: Clocks,
        tracer: Tracer | None = None,
    ) -> tuple[Connection, Response]:
        """Lease a connection, send a request, and return the connection with the head of the response.

        The caller reads the body from the connection, and releases it. A read on a connection that the server had
        already closed is sent once more, on a new connection.
        """
        acquire = self.acquire if tracer is None else functools.partial(self._acquire_traced, tracer)
        first = await acquire(origin, terms)
        was_used = first.used
        try:
            return first, await self._start(first, request, clocks, tracer)
        except httpx.TransportError as error:
            if not (was_used and _may_repeat(request, error)):
                raise
            failure = error
        self.close_resting(origin)
        with _again(failure):
            fresh = await acquire(origin, terms._replace(is_fresh=True))
            return fresh, await self._start(fresh, request, clocks, tracer)

    async def _start(
        self, connection: Connection, request: OutgoingRequest, clocks: Clocks, tracer: Tracer | None
    ) -> Response:
        """Send a request and return the head of its response; release the connection if there is none."""
        try:
            if tracer is None:
                return await connection.start_stream(request, clocks)
            return await _start_traced(connection, request, clocks, tracer)
        except BaseException:
            self.release(connection)
            raise

    async def _acquire_traced(self, tracer: Tracer, origin: Origin, terms: LeaseTerms) -> Connection:
        """Acquire a connection; report it, and that the request comes next. The tracer has as long as a lease lasts."""
        await tracer.start(ACQUIRE)
        try:
            connection = await self.acquire(origin, terms)
        except BaseException as failure:
            await tracer.fail(ACQUIRE, failure)
            raise
        try:
            async with asyncio.timeout_at(connection.leased_at + MAX_LEASE) as limit:
                await tracer.complete(ACQUIRE)
                await tracer.start(SEND_HEAD)
        except BaseException as failure:
            self.release(connection)
            if isinstance(failure, TimeoutError) and limit.expired():
                raise ConnectionUnusable(
                    f"the trace extension took more than {MAX_LEASE:g} s; nothing was sent"
                ) from failure
            raise
        return connection

    async def acquire(self, origin: Origin, terms: LeaseTerms) -> Connection:
        """Return a connection, resting or new; `release` ends its use. Raises an exception that is unsent."""
        loop = self._bind()
        connection = None if terms.is_fresh else self._take_resting(origin, loop.time(), is_paid=terms.is_paid)
        if connection is None:
            origin.check()
            connection = await self._take_place(origin, terms)
            if connection is not None and terms.is_fresh:
                connection.abort()
                connection = None
        if connection is None:
            connection = await self._dial(origin, terms)
        connection.leased_at = loop.time()
        connection.holder = terms.holder
        connection.is_leased = True
        connection.deadline = inf
        return connection

    def release(self, connection: Connection) -> None:
        """End the use of a connection: it rests, is passed on, or is closed. A second release does nothing."""
        if not connection.is_leased or connection.loop is not self._loop:
            return  # released before, or of a loop that is closed
        connection.is_leased = False
        connection.holder = None
        if self._is_closed or not connection.rest(connection.loop.time() + self._rest_seconds):
            self._discard(connection)
        else:
            self._pass_on(connection)

    def close_resting(self, origin: Origin) -> None:
        """Close the connections to an origin that rest: the server has closed one of them."""
        for connection in self._resting.pop(origin, ()):
            self._resting_count -= 1
            self._discard(connection)

    def end(self, holder: object) -> None:
        """End everything on behalf of this holder: its leased connections, its waiting, its dials."""
        for connection in tuple(self._open):
            if connection.is_leased and connection.holder is holder:
                connection.close()
        for waiter in self._waiters:
            if waiter.holder is holder and not waiter.future.done():
                waiter.future.set_exception(_closed())
        for dial, of in tuple(self._dials.items()):
            if of is holder:
                dial.cancel()

    def close(self) -> None:
        """Close all connections and end all waiting; `aclose` also waits for the sockets."""
        self._is_closed = True
        if self._is_foreign:
            return
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(_closed())
        self._waiters.clear()
        for dial in tuple(self._dials):
            dial.cancel()
        self._dialer.forget()
        for connection in tuple(self._open):
            connection.close()
        if self._timer is not None:
            self._timer.cancel()

    async def aclose(self) -> None:
        """Close all connections, end all waiting, and return when their sockets are closed, after a second at most."""
        self.close()
        if self._open and not self._is_foreign:
            self._emptied = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._emptied

    def disown(self) -> None:
        """Give up this process's copies of the sockets after a fork: the parent alone uses and closes them."""
        for connection in self._open:
            connection.disown()

    @property
    def _is_foreign(self) -> bool:
        """True if the connections are of a closed loop, of a parent process, or of none."""
        return self._loop is None or self._loop.is_closed() or self._generation != _generation

    # Places.

    def _bind(self) -> asyncio.AbstractEventLoop:
        """Return the running loop. Raises RuntimeError if the pool is in use in another one."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._generation != _generation:
            is_inherited = self._generation != _generation
            if self._loop is not None and not self._loop.is_closed() and not is_inherited:
                raise RuntimeError("the transport is in use in another event loop; make one for each loop")
            if is_inherited:
                _inherited.append(self._open)
            self._generation = _generation
            self._loop = loop
            self._dialer.forget()
            self._begin()
        if self._is_closed:
            raise _closed()
        return loop

    def _take_resting(self, origin: Origin, now: float, *, is_paid: bool) -> Connection | None:
        """Return the connection that rests since the shortest time, if there is one."""
        stack = self._resting.get(origin)
        while stack:
            if is_paid and not stack[-1].may_carry_paid(now):
                return None
            connection = stack.pop()
            self._resting_count -= 1
            if not stack:
                del self._resting[origin]
            if connection.is_open and connection.deadline > now:
                return connection
            self._discard(connection)
        return None

    def _pass_on(self, connection: Connection) -> None:
        """Give a reusable connection, or its place, to the first waiter; else let it rest."""
        if not connection.is_open:
            self._discard(connection)
            return
        waiter = self._next_waiter()
        if waiter is not None:
            is_wanted = waiter.origin == connection.origin
            if not is_wanted:
                connection.abort()
            waiter.future.set_result(connection if is_wanted else None)
            return
        if self._resting_count >= self._max_resting:
            self._discard(connection)
            return
        self._resting.setdefault(connection.origin, []).append(connection)
        self._resting_count += 1
        self.sweep_by(connection.deadline)

    def _discard(self, connection: Connection) -> None:
        """Close a connection, and free its place."""
        connection.abort()
        self._free_place()

    def _free_place(self) -> None:
        """Give a place to the first waiter, or count it as free."""
        waiter = self._next_waiter()
        if waiter is None:
            self._places_taken -= 1
        else:
            waiter.future.set_result(None)

    def _next_waiter(self) -> _Waiter | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.future.done():
                return waiter
        return None

    def _close_oldest(self) -> bool:
        """Close a resting connection to another origin, and keep its place; return False if none rests."""
        origin = next(iter(self._resting), None)
        if origin is None:
            return False
        stack = self._resting[origin]
        self._resting_count -= 1
        stack.pop(0).abort()
        if not stack:
            del self._resting[origin]
        return True

    async def _take_place(self, origin: Origin, terms: LeaseTerms) -> Connection | None:
        """Take a place to dial a connection (None), or a connection that is released meanwhile."""
        if self._places_taken < self._max_connections:
            self._places_taken += 1
            return None
        return None if self._close_oldest() else await self._wait_for_place(origin, terms)

    async def _wait_for_place(self, origin: Origin, terms: LeaseTerms) -> Connection | None:
        """Wait for a connection to this origin, or for a place to dial one (None)."""
        waiter = _Waiter(origin, terms.holder, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(terms.pool_timeout):
                return await waiter.future
        except BaseException as fault:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                granted = waiter.future.result()  # too late: pass it on
                if granted is None:
                    self._free_place()
                else:
                    self._pass_on(granted)
            if isinstance(fault, TimeoutError):
                raise PoolTimeout(
                    f"no connection was free within {terms.pool_timeout:g} s; nothing was sent"
                ) from fault
            raise

    async def _dial(self, origin: Origin, terms: LeaseTerms) -> Connection:
        """Return a new connection for the place that the caller has taken; free the place if there is none."""
        dialling = self._dialer.connect(origin, lambda: Connection(origin, self), terms.connect_timeout)
        dial = contextvars.Context().run(asyncio.create_task, dialling)
        self._dials[dial] = terms.holder
        try:
            await asyncio.wait((dial,))
        except BaseException:
            # Nothing is awaited here: a caller may be cancelled again and again.
            dial.cancel()
            dial.add_done_callback(self._drop_dial)
            raise
        del self._dials[dial]
        if dial.cancelled() or dial.exception() is not None or self._is_closed:
            self._drop_dial(dial)
            raise _closed() if dial.cancelled() or dial.exception() is None else dial.exception()  # type: ignore[misc]
        return dial.result()

    def _drop_dial(self, dial: asyncio.Task[Connection]) -> None:
        """Free the place of a dial without a user, and close its connection."""
        self._dials.pop(dial, None)
        if not dial.cancelled() and dial.exception() is None:
            dial.result().abort()
        self._free_place()

    def on_opened(self, connection: Connection) -> None:
        """Keep a connection whose socket is open."""
        self._open.add(connection)

    def on_closed(self, connection: Connection) -> None:
        """Forget a connection whose socket is closed."""
        self._open.discard(connection)
        stack = self._resting.get(connection.origin)
        if stack is not None and connection in stack:
            stack.remove(connection)
            self._resting_count -= 1
            if not stack:
                del self._resting[connection.origin]
            self._free_place()
        if not self._open and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    # Clocks.

    def sweep_by(self, moment: float) -> None:
        """See that the next sweep comes no later than this loop time."""
        if moment < self._sweep_at and self._loop is not None:
            if self._timer is not None:
                self._timer.cancel()
            self._sweep_at = moment
            self._timer = self._loop.call_at(moment, self._sweep, context=contextvars.Context())

    def _sweep(self) -> None:
        """End what is overdue, and come again: in a second, or earlier if a deadline is nearer."""
        self._timer, self._sweep_at = None, inf
        now = asyncio.get_running_loop().time()
        for connection in tuple(self._open):
            if connection.deadline <= now:
                connection.on_deadline(now)
        if self._open:
            self.sweep_by(min(now + _SWEEP_SECONDS, *(connection.deadline for connection in self._open)))


async def _start_traced(connection: Connection, request: OutgoingRequest, clocks: Clocks, tracer: Tracer) -> Response:
    """Send a request and return the head of its response; report both."""
    phase = SEND_HEAD
    try:
        await connection.send_head(request, clocks)
        await tracer.complete(SEND_HEAD)
        phase = RECEIVE_HEAD
        await tracer.start(RECEIVE_HEAD)
        response = await connection.receive_head(request)
        version = f"HTTP/{response.http_version}".encode()
        await tracer.complete(RECEIVE_HEAD, (version, response.status, response.reason, response.headers))
    except BaseException as failure:
        await tracer.fail(phase, failure)
        await tracer.close()
        raise
    return response


def _may_repeat(request: OutgoingRequest, failure: BaseException) -> bool:
    """Return True if a request may be sent once more on another connection: an unsent one, or a read without response.

    A body that is a stream has been used up.
    """
    if not (request.body is None or isinstance(request.body, bytes)):
        return False
    if getattr(failure, "unsent", False):
        return True
    is_dead = isinstance(failure, (ReadError, RemoteProtocolError)) and failure.nothing_received
    return is_dead and request.method in IDEMPOTENT


@contextlib.contextmanager
def _again(failure: BaseException) -> Iterator[None]:
    """Send a request once more after a failure; if this time nothing leaves, the first failure counts."""
    try:
        yield
    except httpx.TransportError as second:
        if getattr(second, "unsent", False) and not getattr(failure, "unsent", False):
            raise failure from second
        raise


def _closed() -> PoolClosed:
    return PoolClosed("the transport is closed; nothing was sent")
