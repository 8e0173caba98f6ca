"""URLs that a caller gives, and hosts that a server names."""

from __future__ import annotations

import contextlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery import BetterWaifu, WeryAI
from aiowery._core.urls import is_host, is_loopback, is_private, parse_hosts, validate_url
from aiowery.errors import ConfigurationError
from aiowery.webhook import Webhooks

KEY = "sk-made-up-key-0123456789"
CHARACTERS = "must hold no blank, no control character, no backslash"
SHAPE = "must be a URL such as 'https://api.example.com'"
REFUSED = [
    ("https://api.example.com\r\nx: y", CHARACTERS),
    ("https://api.example.com\n", CHARACTERS),
    ("https://api.exam\tple.com", CHARACTERS),
    (" https://api.example.com", CHARACTERS),
    ("https://api.example.com/a b", CHARACTERS),
    ("https://api.example.com\x00", CHARACTERS),
    ("https://api.example.com\x7f", CHARACTERS),
    ("https://api.example.com\x1b[2J", CHARACTERS),
    ("https://api.example.com\\x", CHARACTERS),
    ("https://bücher.example", "Punycode"),
    ("https://api.example.com\u200b", CHARACTERS),
    ("https://api.example.com/ü", CHARACTERS),
    ("https://api.example.com?", "no query and no fragment"),
    ("https://api.example.com#", "no query and no fragment"),
    ("https://api.example.com?key=1", "no query and no fragment"),
    ("https://api.example.com/#/v1", "no query and no fragment"),
    ("api.example.com", SHAPE),
    ("//api.example.com", SHAPE),
    ("localhost:8765", SHAPE),
    ("ftp://api.example.com", SHAPE),
    ("https:/api.example.com", SHAPE),
    ("https://", SHAPE),
    ("https://a..b", SHAPE),
    ("https://.example.com", SHAPE),
    ("https://-a.example", SHAPE),
    ("https://%61pi.example.com", SHAPE),
    ("https://api,example.com", SHAPE),
    ("https://" + "a" * 64 + ".example", SHAPE),
    ("https://" + "a." * 130 + "example", SHAPE),
    ("https://127.1", SHAPE),
    ("https://0x7f.0.0.1", SHAPE),
    ("https://[::1", SHAPE),
    ("https://[v1.fe]", SHAPE),
    ("https://api.example.com:port", SHAPE),
    ("https://api.example.com:99999", SHAPE),
    ("https://api.example.com:0", SHAPE),
    ("http://api.example.com", "must use https"),
    ("http://10.0.0.7", "must use https"),
]


@pytest.mark.parametrize(("url", "message"), REFUSED)
def test_base_url_that_cannot_be_used_is_refused_where_it_is_given(url: str, message: str) -> None:
    """The message names the field and shows the value, on one printable line."""
    with pytest.raises(ConfigurationError, match=rf"^base_url {message}|^base_url .*{message}") as caught:
        WeryAI(KEY, base_url=url)
    assert repr(url)[:290] in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("url", ["https://user:secret@api.example.com", "https://secret@api.example.com/x"])
def test_base_url_with_credentials_is_refused_without_quoting_them(url: str) -> None:
    """A password in the URL does not get into the message."""
    with pytest.raises(ConfigurationError, match=r"base_url must be a URL without credentials.*api_key=") as caught:
        WeryAI(KEY, base_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://gw.example/weryai",
        "https://gw.example:8443/a/b_c~d/",
        "https://xn--bcher-kva.example",
        "https://a_b.internal.example.",
        "https://10.0.0.7:8443",
        "https://[2001:db8::1]",
        "http://localhost:8765/",
        "http://127.0.0.1:1",
        "http://[::1]:9",
    ],
)
def test_base_url_of_a_gateway_or_on_loopback_is_accepted(url: str) -> None:
    """A path is kept, and only a slash at the end is dropped."""
    assert WeryAI(KEY, base_url=url).base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("make", "url", "end", "remedy"),
    [
        (WeryAI, "https://api.weryai.com/v1", "/v1", "https://api.weryai.com"),
        (WeryAI, "https://gw.example/weryai/V1/", "/v1", "https://gw.example/weryai"),
        (BetterWaifu, "https://api.betterwaifu.com/v1", "/v1", "https://api.betterwaifu.com"),
    ],
)
def test_base_url_with_the_api_path_is_refused_with_the_right_one(make: Any, url: str, end: str, remedy: str) -> None:
    """The path is said to be wrong before a request fails with "not found"; another word with these letters is fine."""
    with pytest.raises(ConfigurationError, match=f"base_url must not end in {end}") as caught:
        make(KEY, base_url=url)
    assert str(caught.value).endswith(f"give '{remedy}'")
    assert make(KEY, base_url=remedy + "/av1").base_url == remedy + "/av1"


def test_base_url_of_the_jobs_edition_keeps_its_path() -> None:
    """That edition's own address ends in /api/v1."""
    url = "https://gw.example/api/v1"
    assert BetterWaifu(KEY, edition="jobs", base_url=url).base_url == url


def test_url_of_the_environment_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable that has to be corrected."""
    monkeypatch.setenv("WERYAI_BASE_URL", "https://api.weryai.com/v1")
    with pytest.raises(ConfigurationError, match=r"^WERYAI_BASE_URL must not end in /v1"):
        WeryAI(KEY)
    monkeypatch.setenv("WERYAI_BASE_URL", "api.weryai.com")
    with pytest.raises(ConfigurationError, match=r"^WERYAI_BASE_URL must be a URL"):
        WeryAI(KEY)
    monkeypatch.delenv("WERYAI_BASE_URL")
    monkeypatch.setenv("WERYAI_MODELS_BASE_URL", "https://models.example/growthai/")
    with pytest.raises(ConfigurationError, match=r"^WERYAI_MODELS_BASE_URL must not end in /growthai"):
        WeryAI(KEY)
    with pytest.raises(ConfigurationError, match=r"^models_base_url must use https"):
        WeryAI(KEY, models_base_url="http://models.example")


def test_public_url_of_webhooks_is_checked_alike() -> None:
    """The other URL that a caller gives follows the same rules."""
    with pytest.raises(ConfigurationError, match=f"^public_url {CHARACTERS}"):
        Webhooks(public_url="https://hooks.example/x\n")
    with pytest.raises(ConfigurationError, match=f"^public_url {SHAPE}.*, got 5"):
        Webhooks(public_url=5)  # type: ignore[arg-type]


@given(st.text(alphabet=st.sampled_from("a0.:/[]@?#%\\\t\n -_é\u200b"), max_size=20))
def test_any_text_is_a_url_with_a_host_or_a_configuration_error(text: str) -> None:
    """No text gets through whose host is odd, and none raises another error."""
    with contextlib.suppress(ConfigurationError):
        url = validate_url("base_url", f"https://{text}", carries="the key")
        assert url.isascii()
        assert url.isprintable()
        assert is_host(httpx.URL(url).host)


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - not bound to
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "[::1]",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "::10.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::8.8.8.8",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "localhost",
    "LOCALHOST.",
    "files.localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0177.0.0.1",
]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "files.example", "10.example", "a.1b.c"]


@pytest.mark.parametrize("host", PRIVATE)
def test_is_private_address_of_a_local_network_in_any_form(host: str) -> None:
    """Mapped, compatible and NAT64 addresses are judged by the IPv4 address in them; 6to4 is never public."""
    assert is_private(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_is_private_public_address_or_name_is_not(host: str) -> None:
    """A name is judged by its addresses, once they are known."""
    assert not is_private(host)


def test_is_loopback_trusts_plain_spellings_only() -> None:
    """Loopback is trusted with the key over plain HTTP, so addresses that merely contain it are not loopback."""
    assert all(map(is_loopback, ["127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "a.localhost."]))
    assert not any(map(is_loopback, ["::127.0.0.1", "64:ff9b::7f00:1", "127.1", "localhost.example", "10.0.0.1", ""]))


@pytest.mark.parametrize("host", ["169.254.169.%32%35%34", "a b", "a\\b", "a@b", "", ".", "a..b", "1.2.3", "ü", "a,b"])
def test_is_host_odd_spelling_is_refused(host: str) -> None:
    """What each library may read as another host is no host."""
    assert not is_host(host)


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("10.0.0.7", "10.0.0.7", None),
        ("10.0.0.7:8443", "10.0.0.7", 8443),
        ("Files.Internal.", "files.internal", None),
        ("files.internal:1", "files.internal", 1),
        ("localhost:65535", "localhost", 65535),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[0:0::1]:80", "::1", 80),
        ("::ffff:10.0.0.7", "10.0.0.7", None),
        ("[::ffff:a00:7]:9", "10.0.0.7", 9),
    ],
)
def test_parse_hosts_reads_host_and_port(given: str, host: str, port: int | None) -> None:
    """A host is compared in one spelling; without a port it stands for all ports."""
    assert parse_hosts("allow_hosts", [given]) == {(host, port)}


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:-1",
            "a:x",
            "a:\u0661",
            "a b",
            "a..b",
            "127.1",
            "0x7f.1",
            "*",
            "*.internal",
        ),
        *(
            "http://10.0.0.7",
            "10.0.0.7/8",
            "10.0.0.7:80/x",
            "u:p@10.0.0.7",
            "[::1",
            "[::1]x",
            "ü.internal",
            "10.0.0.%37",
        ),
        *(b"10.0.0.7", 10, None, ("10.0.0.7", 80)),
    ],
)
@pytest.mark.parametrize("make", [WeryAI, BetterWaifu])
def test_allow_hosts_that_cannot_be_used_is_refused_where_it_is_given(make: Any, host: Any) -> None:
    """The message names the option and the value, and shows how a host is written."""
    with pytest.raises(ConfigurationError, match=r"^allow_hosts must hold hosts such as '10\.0\.0\.7' or ") as caught:
        make(KEY, allow_hosts=["files.internal", host])
    assert str(caught.value).endswith(f"got {host!r}")


@pytest.mark.parametrize("hosts", ["10.0.0.7", b"10.0.0.7", 10, None])
def test_allow_hosts_that_is_no_list_is_refused(hosts: Any) -> None:
    """One text is no list of hosts: its characters would be taken for hosts."""
    with pytest.raises(
        ConfigurationError, match=r"^allow_hosts must be a list of hosts such as \['10\.0\.0\.7:8443'\], got"
    ):
        WeryAI(KEY, allow_hosts=hosts)


@given(st.lists(st.text(alphabet=st.sampled_from("a0.:/[]@%\\-_é"), max_size=12), max_size=3))
def test_parse_hosts_any_texts_are_hosts_or_a_configuration_error(hosts: list[str]) -> None:
    """No text gets through whose host is odd, and none raises another error."""
    with contextlib.suppress(ConfigurationError):
        for host, port in parse_hosts("allow_hosts", hosts):
            assert is_host(host)
            assert port is None or 0 < port < 65_536
