"""Which addresses we talk to: the provider's over https, and no server's idea of our own network."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiowery.errors import ConfigurationError


def validate_base_url(base_url: str) -> str:
    """Return the url without a trailing slash; ConfigurationError unless it is https, or http on loopback."""
    if "@" in base_url:
        raise ConfigurationError("base_url: credentials do not belong there; give the key as api_key=")
    return validate_url("base_url", base_url, carries="the key")


def validate_url(name: str, address: object, *, carries: str) -> str:
    """Return an address under which paths may lie, without a trailing slash; what it `carries` is secret.

    ConfigurationError unless it is https, or http on loopback, and nothing but scheme, host and path.
    """
    if not isinstance(address, str) or "@" in address:
        raise ConfigurationError(f"{name} is not a url without credentials, such as 'https://api.example.com'")
    try:
        url = urlsplit(address)
        host, _ = url.hostname or "", url.port
    except ValueError as fault:
        raise ConfigurationError(f"{name} {address!r} is not a url: {fault}") from fault
    if not host or url.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{name} {address!r}: a url such as 'https://api.example.com' is needed")
    if url.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{name} {address!r}: plain http would send {carries} in the clear; use https"
            " (http is accepted for loopback only)"
        )
    if url.query or url.fragment:
        raise ConfigurationError(f"{name} {address!r}: query and fragment do not belong there")
    return address.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether this is our own machine."""
    address = _address(host)
    return _is_localhost_name(host) if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Whether this lies in our own network. Odd spellings of addresses ("127.1", "0x7f.1") count as such."""
    address = _address(host)
    if address is None:
        return _is_localhost_name(host) or host.rstrip(".").rpartition(".")[2][:1].isdigit()
    return not address.is_global


def _is_localhost_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
