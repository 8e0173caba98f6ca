"""Start the server with the faults that the command line holds as JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks._http_server import Connection
from benchmarks._server_process import serve
from benchmarks.peers._plan import Faults
from benchmarks.peers.server._state import ServerState


async def main() -> None:
    """Serve until standard input ends."""
    state = ServerState(Faults(**json.loads(sys.argv[1])))
    await serve(lambda: Connection(state, state.traffic), lambda _: None, state.counts)
    print(json.dumps(state.counts()), flush=True)


asyncio.run(main())
