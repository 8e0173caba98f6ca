"""Helpers that several test folders share."""

from tests.support.clocks import Clock, now
from tests.support.fake_weryai import FakeWeryAI, client_of, envelope
from tests.support.http_clients import http_client_to
from tests.support.leaks import OpenThings, open_sockets
from tests.support.ledgers import LEDGER_KINDS, FailingLedger, ledger_of
from tests.support.processes import lines_of_script
from tests.support.samples import CAT, KEY, PNG, URL, WIDE
from tests.support.sandboxes import sandbox_client, sandbox_policies
from tests.support.servers import Peer, http_response, peer, responding, serving
from tests.support.state_files import expect_no_tasks, state_file_of
from tests.support.tracebacks import assert_hides

__all__ = (
    "CAT",
    "KEY",
    "LEDGER_KINDS",
    "PNG",
    "URL",
    "WIDE",
    "Clock",
    "FailingLedger",
    "FakeWeryAI",
    "OpenThings",
    "Peer",
    "assert_hides",
    "client_of",
    "envelope",
    "expect_no_tasks",
    "http_client_to",
    "http_response",
    "ledger_of",
    "lines_of_script",
    "now",
    "open_sockets",
    "peer",
    "responding",
    "sandbox_client",
    "sandbox_policies",
    "serving",
    "state_file_of",
)
