"""The proxy that the environment names for a request: one reading, for every transport of the package."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import httpx

from aiowery._core.fields import short_repr
from aiowery._core.urls import is_host, is_loopback, is_plain_authority, parse_address, split_port
from aiowery.errors import ConfigurationError

_SCHEMES: Final = frozenset({"http", "https", "socks5", "socks5h"})
_PORTS: Final = {"http": 80, "https": 443}
_SEPARATORS: Final = re.compile(r"[\s,]+")
_CGI: Final = "REQUEST_METHOD"


class EnvironmentProxy(NamedTuple):
    """A proxy, and the environment variable that names it. The representation of the URL hides its password."""

    variable: str
    url: httpx.URL


def environment_proxy(base: str, environment: Mapping[str, str]) -> EnvironmentProxy | None:
    """Return the proxy for requests to a URL; None for none, for loopback, and for what NO_PROXY names.

    `https_proxy` or `http_proxy` by the URL's scheme, else `all_proxy`; in small letters first, then in capitals.
    NO_PROXY lists names (with the names below them), IP addresses, networks (10.0.0.0/8) and *, by commas or blanks;
    `:port` behind a name or an address means this port alone. Raises ConfigurationError for a proxy that is no URL.
    """
    try:
        url = httpx.URL(base)
    except (httpx.InvalidURL, UnicodeError):
        return None  # the transport raises the error
    host = url.raw_host.decode("ascii")
    hosts = {host}
    with contextlib.suppress(UnicodeError):  # invalid Punycode has no other spelling
        hosts.add(url.host)
    if is_loopback(host) or _is_exempt(frozenset(hosts), url.port or _PORTS.get(url.scheme), environment):
        return None
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        variable, value = _variable(name, environment)
        if value:
            return EnvironmentProxy(variable, _proxy_url(variable, value))
    return None


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the spelling of a variable that counts, and its value; an empty text if it is not set."""
    capitals = name.upper()
    # A CGI program gets the header "Proxy" of a request as HTTP_PROXY.
    is_forged = capitals == "HTTP_PROXY" and _CGI in environment
    spelling = name if name in environment or is_forged else capitals
    return spelling, environment.get(spelling, "").strip()


def _proxy_url(variable: str, value: str) -> httpx.URL:
    """Return the URL of a proxy, by default http. The error shows what follows the credentials only."""
    text = value if "://" in value else f"http://{value}"
    try:
        url = httpx.URL(text)
        is_valid = url.scheme in _SCHEMES and is_plain_authority(text) and is_host(url.raw_host.decode("ascii"))
    except (httpx.InvalidURL, UnicodeError):
        is_valid = False
    if not is_valid:
        shown = short_repr(value.rpartition("@")[2])
        raise ConfigurationError(
            f"{variable} must be the URL of a proxy, such as 'http://proxy.example:3128' (http, https, socks5 or"
            f" socks5h), got {shown}; nothing was sent: correct it, or name the host in NO_PROXY"
        )
    return url


def _is_exempt(hosts: frozenset[str], port: int | None, environment: Mapping[str, str]) -> bool:
    _, listed = _variable("no_proxy", environment)
    return any(_matches(entry, hosts, port) for entry in _SEPARATORS.split(listed))


def _matches(entry: str, hosts: frozenset[str], port: int | None) -> bool:
    """Return True if an entry of NO_PROXY names one of these spellings of a host."""
    if entry == "*":
        return True
    named, its_port = split_port(entry)
    if its_port is not None and its_port != str(port):
        return False
    addresses = [address for address in map(parse_address, hosts) if address is not None]
    if addresses:
        network = _network(named)
        return network is not None and any(address in network for address in addresses)
    name = named.removeprefix("*").strip(".").lower()
    return bool(name) and any(f".{host.rstrip('.').lower()}".endswith(f".{name}") for host in hosts)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
