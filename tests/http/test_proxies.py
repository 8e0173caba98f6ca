"""The environment's proxies are read by one rule, whichever transport sends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowery._http.proxies import environment_proxy
from aiowery.errors import ConfigurationError

P = "http://p.example:3128"
HOST = "https://api.example.com"

CHOICES: list[tuple[str, dict[str, str], str | None]] = [
    (HOST, {}, None),
    (HOST, {"https_proxy": P}, P),
    (HOST, {"HTTPS_PROXY": P}, P),
    (HOST, {"http_proxy": P}, None),
    ("http://api.example.com", {"http_proxy": P}, P),
    (HOST, {"all_proxy": P}, P),
    (HOST, {"ALL_PROXY": P}, P),
    (HOST, {"https_proxy": P, "HTTPS_PROXY": "http://other:1", "ALL_PROXY": "http://other:1"}, P),
    (HOST, {"https_proxy": "", "HTTPS_PROXY": "http://other:1"}, None),
    (HOST, {"https_proxy": "", "ALL_PROXY": P}, P),
    (HOST, {"https_proxy": "p.example:3128"}, P),
    (HOST, {"https_proxy": " http://p.example:3128 "}, P),
    (HOST, {"https_proxy": "https://p.example"}, "https://p.example"),
    (HOST, {"https_proxy": "socks5h://p.example:1080"}, "socks5h://p.example:1080"),
    (HOST, {"https_proxy": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
    (HOST, {"https_proxy": "http://u%40v:a%3Ab@p.example:3128"}, "http://u%40v:a%3Ab@p.example:3128"),
    # A CGI program gets the header "Proxy" of a request as HTTP_PROXY.
    ("http://api.example.com", {"HTTP_PROXY": P}, P),
    ("http://api.example.com", {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
    ("http://api.example.com", {"HTTP_PROXY": P, "http_proxy": P, "REQUEST_METHOD": "GET"}, P),
    (HOST, {"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, P),
    # Loopback never goes through a proxy.
    ("http://127.0.0.1:80", {"http_proxy": P, "all_proxy": P}, None),
    ("http://127.9.9.9", {"http_proxy": P}, None),
    ("http://localhost:80", {"all_proxy": P}, None),
    ("http://files.localhost", {"all_proxy": P}, None),
    ("http://[::1]:80", {"all_proxy": P}, None),
    ("https://[::ffff:127.0.0.1]", {"all_proxy": P}, None),
]

EXEMPTIONS: list[tuple[str, str, bool]] = [
    ("*", HOST, True),
    ("a.example, *", HOST, True),
    ("", HOST, False),
    (",", HOST, False),
    (".", HOST, False),
    (":443", HOST, False),
    ("example.com", HOST, True),
    (".example.com", HOST, True),
    ("*.example.com", HOST, True),
    ("EXAMPLE.com", "https://API.Example.COM", True),
    ("example.com.", HOST, True),
    ("example.com", "https://api.example.com.", True),
    ("example.com", "https://example.com", True),
    ("ample.com", HOST, False),
    ("api.example.com.evil", HOST, False),
    ("a.example b.example\tapi.example.com", HOST, True),
    ("example.com:443", HOST, True),
    ("example.com:8443", HOST, False),
    ("example.com:8443", HOST + ":8443", True),
    ("example.com:80", "http://api.example.com", True),
    ("example.com:port", HOST, False),
    ("10.0.0.7", "https://10.0.0.7", True),
    ("10.0.0.7", "https://110.0.0.7", False),
    ("0.0.7", "https://10.0.0.7", False),
    ("10.0.0.7:8443", "https://10.0.0.7:8443", True),
    ("10.0.0.7:8443", "https://10.0.0.7", False),
    ("10.0.0.0/8", "https://10.200.3.4:9", True),
    ("10.0.0.1/8", "https://10.200.3.4", True),
    ("10.0.0.0/8", "https://11.0.0.1", False),
    ("10.0.0.0/8", "https://10.example", False),
    ("10.0.0.0/99", "https://10.0.0.1", False),
    ("2001:db8::1", "https://[2001:db8::1]", True),
    ("[2001:db8::1]", "https://[2001:DB8:0::1]:9", True),
    ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
    ("[2001:db8::1]:444", "https://[2001:db8::1]", False),
    ("2001:db8::/32", "https://[2001:db8:7::1]", True),
    ("10.0.0.0/8", "https://[::ffff:10.1.1.1]", True),
    ("xn--bcher-kva.example", "https://bücher.example", True),
    ("bücher.example", "https://xn--bcher-kva.example", True),
]

WRONG = [
    "ftp://p.example",
    "http://",
    "http://p example",
    "http://p:port",
    "http://p:99999",
    "p\nq",
    "http://%31",
    "://",
]


@pytest.mark.parametrize(("base", "variables", "proxy"), CHOICES)
def test_environment_proxy_is_chosen_by_scheme_and_spelling(
    base: str, variables: dict[str, str], proxy: str | None
) -> None:
    """Small letters come first, ALL_PROXY last, and a name without a scheme means http."""
    found = environment_proxy(base, variables)
    assert (None if found is None else str(found.url)) == proxy


@pytest.mark.parametrize(("no_proxy", "base", "is_exempt"), EXEMPTIONS)
@pytest.mark.parametrize("spelling", ["no_proxy", "NO_PROXY"])
def test_environment_proxy_leaves_out_what_no_proxy_names(
    no_proxy: str, base: str, *, is_exempt: bool, spelling: str
) -> None:
    """Names with those below them, addresses, networks, ports, and *."""
    assert (environment_proxy(base, {"all_proxy": P, spelling: no_proxy}) is None) is is_exempt


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("value", WRONG)
def test_environment_proxy_that_is_no_url_names_the_variable(variable: str, value: str) -> None:
    """The error names the variable that has to be corrected, and what it may be."""
    with pytest.raises(ConfigurationError, match=f"^{variable} must be the URL of a proxy") as caught:
        environment_proxy(HOST, {variable: value})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("host", ["p:port", "p.example:99999", "p example"])
@pytest.mark.parametrize("password", ["sesame", "se#sa/me", "se@sa:me", "s e\nsame"])
@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_environment_proxy_error_quotes_no_password(scheme: str, password: str, host: str) -> None:
    """Whatever is wrong with the URL, the error holds neither the user nor a part of the password."""
    with pytest.raises(ConfigurationError) as caught:
        environment_proxy(HOST, {"https_proxy": f"{scheme}://alice:{password}@{host}"})
    told = str(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert "same" not in told
    assert "alice" not in told
    assert "sesa" not in told


def test_environment_proxy_repr_hides_the_password() -> None:
    """A traceback that prints local values shows no password."""
    found = environment_proxy(HOST, {"https_proxy": "http://alice:sesame@p.example:1"})
    assert found is not None
    assert found.url.password == "sesame"
    assert "sesame" not in repr(found)


TEXT: Any = st.text(alphabet=st.sampled_from("ap1.:/[]@%*,- \tü\n"), max_size=12)


@given(proxy=TEXT, no_proxy=TEXT, host=TEXT)
def test_environment_proxy_any_text_gives_a_proxy_or_a_configuration_error(
    proxy: str, no_proxy: str, host: str
) -> None:
    """No text of the environment, and no URL, raises another error."""
    try:
        found = environment_proxy(f"https://{host}", {"https_proxy": proxy, "no_proxy": no_proxy})
    except ConfigurationError:
        return
    assert found is None or found.variable == "https_proxy"
