"""Checks of URLs: https for secrets, and no private addresses that a server names."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from aiowery.errors import ConfigurationError


def validate_base_url(base_url: str) -> str:
    """Return the URL without a trailing slash.

    Raises ConfigurationError unless it is https, or http on loopback.
    """
    if "@" in base_url:
        raise ConfigurationError("base_url must not contain credentials; pass the key as api_key=")
    return validate_url("base_url", base_url, carries="the key")


def validate_url(name: str, url: object, *, carries: str) -> str:
    """Return a URL to which paths can be appended, without a trailing slash.

    `name` and `carries` are for the error message: the parameter, and the secret in the requests to the URL. Raises
    ConfigurationError unless the URL is https, or http on loopback, and has nothing but scheme, host and path.
    """
    if not isinstance(url, str) or "@" in url:
        raise ConfigurationError(f"{name} must be a URL without credentials, such as 'https://api.example.com'")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as fault:
        raise ConfigurationError(f"{name} must be a URL, got {url!r}: {fault}") from fault
    if not host or parts.scheme not in {"http", "https"}:
        raise ConfigurationError(f"{name} must be a URL such as 'https://api.example.com', got {url!r}")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"{name} must use https, got {url!r}: http would send {carries} unencrypted"
            " (http is accepted for loopback only)"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(f"{name} must have no query and no fragment, got {url!r}")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine."""
    address = _address(host)
    return _is_localhost_name(host) if address is None else address.is_loopback


def is_private(host: str) -> bool:
    """Return True if the host may be in a private network.

    Unusual spellings of IP addresses ("127.1", "0x7f.1") count as private.
    """
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
