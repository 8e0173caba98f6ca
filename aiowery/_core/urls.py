"""Checks of URLs: https for secrets, hosts in plain spelling, and no private addresses that a server names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Final
from urllib.parse import urlsplit

from aiowery._core.fields import short_repr
from aiowery.errors import ConfigurationError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Hosts = frozenset[tuple[str, int | None]]
"""Hosts, each with its port, or None for any port."""

_EXAMPLE: Final = "a URL such as 'https://api.example.com'"
_CHARACTERS: Final = re.compile(r"[!-\[\]-~]*")
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_MAX_NAME: Final = 253
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_MAX_PORT: Final = 65_535
_PORT_DIGITS: Final = len(str(_MAX_PORT))
_IPV4_MASK: Final = 2**32 - 1
# Networks whose addresses contain an IPv4 address, and the bits to the right of it.
_CONTAINING_IPV4: Final = (
    (ipaddress.IPv6Network("::/96"), 0),  # "compatible" addresses
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
)
# Local NAT64, 6to4 (which is switched off everywhere), documentation, segment routing: `is_global` differs between
# versions of Python.
_NOT_PUBLIC: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "2002::/16", "3fff::/20", "5f00::/16")))


def validate_base_url(base_url: str, name: str = "base_url") -> str:
    """Return the URL without a trailing slash. Raises ConfigurationError unless it is https, or http on loopback."""
    return validate_url(name, base_url, carries="the key")


def validate_url(name: str, url: object, *, carries: str) -> str:
    """Return a URL to which paths can be appended, without a trailing slash.

    `name` and `carries` are for the error message: the parameter, and the secret in the requests to the URL. Raises
    ConfigurationError unless the URL is https, or http on loopback, and has nothing but scheme, host and path.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"{name} must be {_EXAMPLE}, got {short_repr(url)}")
    if "@" in url:  # the value is not shown: it may be a password
        raise ConfigurationError(
            f"{name} must be a URL without credentials, such as 'https://api.example.com': remove what is before @"
            " (the key is passed as api_key=)"
        )
    shown = short_repr(url)
    if not _CHARACTERS.fullmatch(url):
        raise ConfigurationError(
            f"{name} must hold no blank, no control character, no backslash and no letter beyond ASCII, got {shown}:"
            " remove it, or write a name with such letters in Punycode (xn--...)"
        )
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{name} must have no query and no fragment, got {shown}: remove it")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as fault:
        raise ConfigurationError(f"{name} must be {_EXAMPLE}, got {shown}: {fault}") from fault
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{name} must be {_EXAMPLE}, got {shown}: it does not begin with https://")
    if not (is_plain_authority(url) and is_host(f"[{host}]" if "[" in parts.netloc else host)):
        raise ConfigurationError(f"{name} must be {_EXAMPLE}, got {shown}: it has no valid host, or no valid port")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{name} must use https, got {shown}: http would send {carries} unencrypted"
            " (http is accepted for loopback only)"
        )
    return url.rstrip("/")


def refuse_path(name: str, url: str, path: str) -> str:
    """Return the URL. Raises ConfigurationError if it ends with a beginning of the path that is appended to it."""
    for end in accumulate(path.strip("/").split("/"), "{}/{}".format):
        if url.lower().endswith(f"/{end}"):
            raise ConfigurationError(
                f"{name} must not end in /{end}, got {url!r}: the client appends this path itself; give"
                f" {url[: -len(end) - 1]!r}"
            )
    return url


def parse_hosts(name: str, hosts: object) -> Hosts:
    """Return hosts that a caller gives, each with its port or None for any. Raises ConfigurationError."""
    if isinstance(hosts, (str, bytes)) or not isinstance(hosts, Iterable):
        raise ConfigurationError(f"{name} must be a list of hosts such as ['10.0.0.7:8443'], got {short_repr(hosts)}")
    return frozenset(_parse_host(name, host) for host in hosts)


def _parse_host(name: str, given: object) -> tuple[str, int | None]:
    host, port = split_port(given) if isinstance(given, str) else ("", None)
    if not is_host(host) or not (port is None or is_port(port)):
        raise ConfigurationError(
            f"{name} must hold hosts such as '10.0.0.7' or 'files.internal:8443', got {short_repr(given)}"
        )
    return normalized_host(host), None if port is None else int(port)


def normalized_host(host: str) -> str:
    """Return the spelling of a host by which two are compared."""
    address = parse_address(host)
    return host.lower().removesuffix(".") if address is None else str(address)


def split_port(text: str) -> tuple[str, str | None]:
    """Return a host and its port, None if it has none; the colons of an IPv6 address are no port's."""
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or None
    host, colon, port = text.partition(":")
    return (host, port) if colon and ":" not in port else (text, None)


def is_port(text: str) -> bool:
    """Return True for a number from 1 to 65,535 in digits, without sign, blank or underscore."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _PORT_DIGITS
    return is_number and 0 < int(text) <= _MAX_PORT


def is_plain_authority(url: str) -> bool:
    """Return True if every library finds the same host and port in a URL, or it has no port.

    They differ about "[::1]80", "x[::1]", "[fe80::1%1]", and about ports that are not written in ASCII digits alone.
    """
    place = _AUTHORITY_END.split(url.partition("//")[2], maxsplit=1)[0].rpartition("@")[2]
    if place.startswith("["):
        host, _, rest = place[1:].partition("]")
    else:
        host, colon, number = place.partition(":")
        rest = colon + number
    return not set("[]%") & set(host) and (rest in {"", ":"} or (rest[0] == ":" and is_port(rest[1:])))


def is_host(host: str) -> bool:
    """Return True for the name of a server, and for an IP address in its usual spelling.

    Others ("127.1", "0x7f.1", "a..b", "%31") mean something else to each library.
    """
    if parse_address(host) is not None:
        return True
    name = host.removesuffix(".")
    labels = name.split(".")
    is_plain = all(_LABEL.fullmatch(label) and label == label.strip("-") for label in labels)
    return is_plain and len(name) <= _MAX_NAME and not _ends_in_number(name)


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine."""
    address = parse_address(host)
    return _is_localhost_name(host) if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Return True if the host may be in a private network.

    An IPv6 address that contains an IPv4 address is judged by that. Unusual spellings of IP addresses ("127.1",
    "0x7f.1") count as private.
    """
    address = parse_address(host)
    if address is None:
        return _is_localhost_name(host) or _ends_in_number(host)
    contained = (int(address) >> bits for network, bits in _CONTAINING_IPV4 if address in network)
    return _is_local(address) or any(_is_local(ipaddress.IPv4Address(number & _IPV4_MASK)) for number in contained)


def parse_address(host: str) -> IPAddress | None:
    """Return the IP address that a host is, an IPv4 address for one that is mapped to IPv6; None for a name."""
    try:
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_local(address: IPAddress) -> bool:
    is_site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    is_listed = any(address in network for network in _NOT_PUBLIC)
    return not address.is_global or address.is_multicast or is_site_local or is_listed


def _is_localhost_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _ends_in_number(host: str) -> bool:
    """Return True if the last label of a name begins with a digit, as those of IP addresses do."""
    return host.rstrip(".").rpartition(".")[2][:1].isdigit()
