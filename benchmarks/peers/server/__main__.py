"""Start the server with the misfortunes that the command line names, in JSON."""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks._held import serve
from benchmarks.peers._plan import Faults
from benchmarks.peers.server._world import World


async def main() -> None:
    """Serve until standard input ends."""
    world = World(Faults(**json.loads(sys.argv[1])))
    await serve(world, world.traffic, lambda _: None, world.seen)
    print(json.dumps(world.seen()), flush=True)


asyncio.run(main())
