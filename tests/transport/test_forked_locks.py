"""A lock that a thread holds while its process is forked does not block the child for ever."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support import lines_of_script

SCRIPT: Final = """
import os, sqlite3, sys, threading, warnings
from pathlib import Path
from aiowery.ledger import _files
from aiowery.transport import _tls

warnings.simplefilter("ignore", DeprecationWarning)
is_held, is_over = threading.Event(), threading.Event()

def hold():
    with _tls._making, _files._creating:
        is_held.set()
        is_over.wait()

threading.Thread(target=hold, daemon=True).start()
is_held.wait()
child = os.fork()
if not child:
    _tls.make_context()
    _files._create(Path(sys.argv[1]))
    os._exit(0)
_, status = os.waitpid(child, 0)
is_over.set()
with _tls._making, _files._creating:
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_lock_held_while_forking_is_free_in_the_child(tmp_path: object) -> None:
    """The child makes a TLS context and a ledger's file although threads that it does not have were doing so."""
    assert lines_of_script(SCRIPT, f"{tmp_path}/jobs.db") == ["0"]
