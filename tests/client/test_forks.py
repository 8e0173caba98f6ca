"""A forked process may use nothing that its parent has opened, and takes nothing away from it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from aiowery._base.file_lock import FileLock
from aiowery.ledger import SqliteLedger
from aiowery.sandbox import Fault, Sandbox, faults
from tests.support import lines_of_script

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.sandbox(speed=100.0, picture_size=64, durations=(80.0, 80.0)),
    pytest.mark.slow("processes of their own"),
]

PARENT: Final = """
import asyncio, json, multiprocessing, os, sys, threading, time, warnings
from aiowery import WeryAI
from aiowery.errors import AioweryError
from aiowery.ledger import SqliteLedger
from aiowery.weryai import TextToImage

warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of any fork beside threads
url, path, how = sys.argv[1:]
CAT = TextToImage(prompt="a cat")

def said(use):
    try:
        use()
    except AioweryError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"

def child(client, ledger, job):
    async def first():
        async for _ in client.stream([CAT]):
            pass
    async def awaited():
        await job
    async def anew():
        other = SqliteLedger(path)
        await other.open()
    uses = {
        "submit": lambda: asyncio.run(client.submit(CAT)),
        "status": lambda: asyncio.run(client.status("task")),
        "balance": lambda: asyncio.run(client.balance()),
        "stream": lambda: asyncio.run(first()),
        "job": lambda: asyncio.run(awaited()),
        "jobs": client.jobs,
        "ledger read": lambda: asyncio.run(ledger.entries()),
        "ledger write": lambda: asyncio.run(ledger.recover_abandoned()),
        "ledger anew": lambda: asyncio.run(anew()),
        "ledger close": lambda: asyncio.run(ledger.aclose()),
        "close": lambda: asyncio.run(client.aclose()),
    }
    print(json.dumps({name: said(use) for name, use in uses.items()}), flush=True)

def fork(client, ledger, job):
    if how == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child, args=(client, ledger, job))
        process.start()
        return lambda: (process.join(), process.exitcode)[1]
    pid = os.fork()
    if pid == 0:
        child(client, ledger, job)
        if how == "os._exit":
            os._exit(0)
        sys.exit(0)  # and the interpreter closes everything
    return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()

def run(work):
    return asyncio.run_coroutine_threadsafe(work, loop)

async def opened():
    ledger = SqliteLedger(path)
    await ledger.open()
    client = WeryAI("sk-sandbox", base_url=url, ledger=ledger)
    await client.open()
    return client, ledger, await client.submit(CAT)

client, ledger, job = run(opened()).result()
posted = run(client.submit(CAT))
time.sleep(0.2)  # its response is late
assert not posted.done()
wait = fork(client, ledger, job)
assert wait() == 0
print(json.dumps([*run(job.wait()).result().task_ids, *run(posted.result().wait()).result().task_ids]))

async def close():
    await client.aclose()
    await ledger.aclose()
run(close()).result()
print(len(list(__import__("pathlib").Path(path + ".owners").glob("*.alive"))))
"""


@pytest.fixture(autouse=True)
def fast_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of other processes keep the sandbox's time."""
    monkeypatch.setenv("AIOWERY_SANDBOX_SPEED", "100")


@pytest.mark.parametrize("how", ["os._exit", "sys.exit", "multiprocessing"])
def test_fork_with_an_open_client_and_ledger_is_refused_in_the_child_alone(
    sandbox: Sandbox, tmp_path: Path, how: str
) -> None:
    """In the child every use raises at once; the parent's submission under way, job, ledger and locks are untouched."""
    sandbox.inject(Fault(faults.SlowBody(0.6), on="submit", nth=2))
    printed = lines_of_script(PARENT, sandbox.url, tmp_path / "jobs.db", how)
    said, task_ids, locks = map(json.loads, printed)
    assert said.pop("close") == said.pop("ledger close") == "no error"
    assert "was open when this process was forked" in said.pop("ledger anew")
    for use, message in said.items():
        kind = "LedgerError" if use.startswith("ledger") else "ConfigurationError"
        assert message.startswith(f"{kind}: "), use
        assert "before this process was forked; nothing was sent" in message, use
    assert len(set(task_ids)) == 2
    assert (sandbox.weryai.counters.posts, locks) == (2, 0)


HOLDER: Final = """
import asyncio, os, sys, warnings
from pathlib import Path
from aiowery._base.file_lock import FileLock
from aiowery.ledger import NewEntry, SqliteLedger

warnings.simplefilter("ignore", DeprecationWarning)
path = sys.argv[1]
lock = FileLock(Path(path + ".lock"))

async def main():
    ledger = SqliteLedger(path)
    await ledger.open()
    (entry,) = await ledger.add("b", [NewEntry(key="1", index=0, request={})], claim=True)
    await ledger.mark_sending(entry.id, "r", 1.0)
    assert lock.acquire()
    child = os.fork()
    if child:
        Path(path).with_name("child").write_text(str(child))
        print("ready", flush=True)
    while sys.stdin.read():
        pass

asyncio.run(main())
"""


def test_lock_of_a_killed_parent_ends_although_its_child_lives(tmp_path: Path) -> None:
    """A forked process holds no lock of its parent: the parent's entries are recovered once the parent is dead."""
    path = tmp_path / "jobs.db"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert not FileLock(tmp_path / "jobs.db.lock").is_free()
        parent.kill()
        parent.wait()  # the child still reads its standard input

        async def recovered() -> int:
            ledger = SqliteLedger(path)
            await ledger.open()
            try:
                return await ledger.recover_abandoned()
            finally:
                await ledger.aclose()

        assert asyncio.run(recovered()) == 1
        assert FileLock(tmp_path / "jobs.db.lock").is_free()
        os.kill(int((tmp_path / "child").read_text()), 0)  # it is alive
