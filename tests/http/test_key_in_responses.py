"""A server that quotes the API key: results stay as they came, and nothing that is told of them holds the key."""

from __future__ import annotations

import base64
import html
import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import PollPolicy, WeryAI
from aiowery._core.redaction import KeyRedactor
from aiowery.errors import AioweryError, APIError, ConfigurationError, JobFailed
from tests.support import CAT, http_response, ledger_of, peer
from tests.support.raw_providers import RAW_PROVIDERS

pytestmark = pytest.mark.anyio

KEY = 'sk-made/up+"key&0123456789='
RAW = RAW_PROVIDERS["weryai"]
QUICK = PollPolicy().faster(100)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON, slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "percent": lambda key: quote(key, safe=""),
    "percent, form": quote_plus,
    "HTML": html.escape,
    "HTML, numbers": lambda key: "".join(one if one.isalnum() or one == "-" else f"&#{ord(one)};" for one in key),
    "JSON, all characters": lambda key: "".join(f"\\u{ord(one):04x}" for one in key),
    "percent, all characters": lambda key: "".join(f"%{ord(one):02X}" for one in key),
    "HTML, all characters": lambda key: "".join(f"&#{ord(one)};" for one in key),
    "HTML, all in hexadecimal": lambda key: "".join(f"&#x{ord(one):X};" for one in key),
    "JSON, signs": lambda key: "".join(one if one.isalnum() else f"\\u{ord(one):04X}" for one in key),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of credentials": lambda key: base64.b64encode(f"user:{key}!".encode()).decode(),
}
CASES: dict[str, Callable[[str], str]] = {"as it is": str, "upper": str.upper, "lower": str.lower}
spelled = pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
PART = "0123456789"


def holds_key(text: str) -> bool:
    """Return True if a text holds the digits of the key, plain or in base64."""
    cores = [base64.b64encode(b"\0" * before + PART.encode()).decode()[before + 1 : -4] for before in range(3)]
    return any(part in text for part in (PART, *cores))


@spelled
@pytest.mark.parametrize("change", CASES.values(), ids=CASES)
def test_redact_finds_each_spelling_in_any_case(spell: Callable[[str], str], change: Callable[[str], str]) -> None:
    """Plain, with escapes of JSON, percent, HTML and base64, in capital and small letters."""
    quoted = change(spell(KEY))
    for text in (quoted, f"before {quoted} after"):
        assert KeyRedactor(KEY).occurs_in(text.encode())
        for found in (KeyRedactor(KEY).redact(text), KeyRedactor(KEY).redact_bytes(text.encode()).decode()):
            assert "***" in found
            assert PART not in found
    assert not KeyRedactor(KEY).occurs_in(b"a text without any")


@given(key=st.from_regex(r"\A[!-~]{8,40}\Z"), before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_redact_any_key_in_base64_is_found(key: str, before: bytes, after: bytes) -> None:
    """The base64 of a key is found wherever it stands in its text, in both alphabets."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert KeyRedactor(key).occurs_in(encode(before + key.encode() + after))


def test_redact_cut_key_at_the_end_is_found() -> None:
    """A text that was cut within the key holds no beginning of it."""
    assert KeyRedactor(KEY).redact_cut(f"bad key {KEY[:12]}") == "bad key ***"


def test_redactor_repr_hides_the_key() -> None:
    """The repr shows no spelling."""
    assert repr(KeyRedactor(KEY)) == "KeyRedactor(***)"


@pytest.mark.parametrize("key", ["task", "sk-1234", "       a"])
async def test_open_short_key_is_refused(key: str) -> None:
    """A key under 8 characters would be found within ordinary words, and is none."""
    message = f"api_key must have at least 8 characters, got {len(key.strip())};"
    with pytest.raises(ConfigurationError, match=message):
        async with WeryAI(key, base_url="https://api.example.com"):
            pass


async def test_run_result_that_contains_the_key_stays_as_it_came(tmp_path: Path) -> None:
    """Ids and URLs are used as they are, also if they contain the key; `raw` and the ledger do not."""
    key = "task_key_0123456789"
    task_id = f"{key}_1"
    url = f"https://files.example.com/{key}/1.png"
    done = {"status": 0, "data": {"task_id": task_id, "task_status": "SUCCESS", "images": [url], "echo": key}}
    answers = (RAW.accepting(task_id), http_response(done))
    async with peer(*answers) as server, ledger_of("file", tmp_path) as ledger:
        async with RAW.make_client(key, base_url=server.url, ledger=ledger, polling=QUICK) as client:
            result = await client.run(CAT)
        (entry,) = await ledger.entries()
    assert (result.task_ids, result.urls) == ((task_id,), (url,))
    assert entry.task_ids == (task_id,)
    assert result.raw[0]["echo"] == "***"
    assert entry.snapshots[0]["raw"]["echo"] == "***"


@spelled
async def test_refusal_that_quotes_the_key_does_not_tell_it(
    spell: Callable[[str], str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The error, its raw body, its excerpt, the log and the ledger are without the key."""
    caplog.set_level(logging.DEBUG, logger="aiowery")
    refusal = {"status": 1006, "message": f"bad key {spell(KEY)}", "data": {"echo": [spell(KEY)]}}
    async with peer(http_response(refusal, x_request_id=f"id {KEY}")) as server, ledger_of("file", tmp_path) as ledger:
        async with RAW.make_client(KEY, base_url=server.url, ledger=ledger) as client:
            (outcome,) = [one async for one in client.stream([CAT], batch="b")]
        (entry,) = await ledger.entries()
    error = outcome.error
    assert isinstance(error, APIError)
    texts = [str(error), repr(error.raw), error.excerpt, error.request_id or "", entry.reason, caplog.text]
    texts.append("".join(traceback.format_exception(error)))
    assert [text for text in texts if holds_key(text)] == []
    assert "***" in str(error)


@spelled
async def test_failure_that_quotes_the_key_does_not_tell_it(spell: Callable[[str], str], tmp_path: Path) -> None:
    """The reason of a failed job, its raw status and its ledger entry are without the key."""
    failed = {"status": 0, "data": {"task_id": "t1", "task_status": "FAILED", "msg": f"bad {spell(KEY)}"}}
    answers = (RAW.accepting("t1"), http_response(failed))
    async with peer(*answers) as server, ledger_of("file", tmp_path) as ledger:
        async with RAW.make_client(KEY, base_url=server.url, ledger=ledger, polling=QUICK) as client:
            with pytest.raises(JobFailed, match=r"\*\*\*") as caught:
                await client.run(CAT)
        (entry,) = await ledger.entries()
    texts = [str(caught.value), repr(caught.value.snapshots[0].raw), entry.reason, repr(entry.snapshots)]
    assert [text for text in texts if holds_key(text)] == []


@spelled
async def test_doubt_after_page_that_quotes_the_key_does_not_tell_it(spell: Callable[[str], str]) -> None:
    """Nor does the excerpt of a page, also if it ends within the key."""
    for filler in ("", "x" * 290, "x" * 2040):
        body = f"<html>{filler}{spell(KEY)}</html>"
        async with peer(http_response(body, "502 Bad Gateway")) as server:
            async with RAW.make_client(KEY, base_url=server.url) as client:
                with pytest.raises(AioweryError) as caught:
                    await client.run(CAT)
        texts = [str(caught.value), caught.value.excerpt, str(caught.value.__cause__)]
        assert [text for text in texts if holds_key(text)] == []


async def test_page_in_message_is_short_and_clean() -> None:
    """A message quotes 300 characters of a body at most, none of them a control character."""
    body = "<html>\x1b[31m\x00\x07" + "x" * 5000
    async with peer(http_response(body, "502 Bad Gateway")) as server, RAW.client(server.url) as client:
        with pytest.raises(AioweryError) as caught:
            await client.status("t1")
    message = str(caught.value)
    assert len(message) < 500
    assert message.isprintable()
