"""Helpers that several test folders share."""

from tests.support.clocks import Clock, now
from tests.support.fake_weryai import FakeWeryAI, client_of, envelope, ledger_of
from tests.support.samples import CAT, KEY, PNG, URL
from tests.support.sandboxes import sandbox_client, sandbox_policies
from tests.support.servers import Peer, http_answer, peer, serving

__all__ = (
    "CAT",
    "KEY",
    "PNG",
    "URL",
    "Clock",
    "FakeWeryAI",
    "Peer",
    "client_of",
    "envelope",
    "http_answer",
    "ledger_of",
    "now",
    "peer",
    "sandbox_client",
    "sandbox_policies",
    "serving",
)
