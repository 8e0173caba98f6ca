"""TLS: contexts, made once for equal settings, and what a refused certificate means for the caller."""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import re
import ssl
import threading
from pathlib import Path
from typing import Final

import httpx

from aiowery.transport._errors import CertificatesUnusable

Verify = ssl.SSLContext | str | bool
Cert = str | tuple[str, str] | tuple[str, str, str]

_making = threading.Lock()
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d{1,9}")
NO_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""The system's errors for a process, or a machine, that has no file left to open."""
# OpenSSL's verification codes.
_OUT_OF_DATE: Final = frozenset({9, 10})
_WRONG_NAME: Final = frozenset({62, 63, 64})


def _renew_lock() -> None:
    global _making  # noqa: PLW0603 - a thread that a forked process does not have may have held it
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


async def load_context(verify: Verify, cert: Cert | None) -> ssl.SSLContext:
    """Return the context for these settings, made in a thread because it takes 20 ms. Raises CertificatesUnusable."""
    if isinstance(verify, ssl.SSLContext) and cert is None:
        return verify
    return await asyncio.get_running_loop().run_in_executor(None, make_context, verify, cert)


def make_context(verify: Verify = True, cert: Cert | None = None) -> ssl.SSLContext:
    """Return the context for these settings and for SSL_CERT_FILE and SSL_CERT_DIR. Raises CertificatesUnusable.

    It blocks when the settings are new; concurrent callers wait for the one that makes it.
    """
    with _making:
        return _cached_context(verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), cert)


@functools.lru_cache(maxsize=32)
def _cached_context(verify: Verify, file: str | None, directory: str | None, cert: Cert | None) -> ssl.SSLContext:
    try:
        if verify is True and directory and not file:
            _check_directory(directory)
        context = httpx.create_ssl_context(verify=verify)
    except OSError as fault:
        if fault.errno in NO_FILES:
            raise  # the setting is not to blame
        raise CertificatesUnusable(_described(verify, file, directory, _reason(fault))) from fault
    if cert is not None:
        try:
            context.load_cert_chain(*(cert if isinstance(cert, tuple) else (cert,)))
        except OSError as fault:
            raise CertificatesUnusable(
                f"cert={cert!r} is no certificate with its key ({_reason(fault)}); nothing was sent: correct it"
            ) from fault
    if not isinstance(verify, ssl.SSLContext):
        context.set_alpn_protocols(["http/1.1"])
    return context


def _check_directory(directory: str) -> None:
    """Raise OSError unless a directory holds certificates under the names that OpenSSL needs."""
    there = [Path(part) for part in directory.split(os.pathsep) if Path(part).is_dir()]
    if not there:
        raise OSError(None, "there is no such directory")
    if not any(_HASHED.fullmatch(file.name) for part in there for file in part.iterdir()):
        raise OSError(None, "it holds no certificate under a hashed name: run openssl rehash")


def _described(verify: Verify, file: str | None, directory: str | None, reason: str) -> str:
    """Return the message for certificates that cannot be read, which names the setting that chose them."""
    remedy = "nothing was sent: correct it, or remove the variable"
    if verify is True and file:
        return f"SSL_CERT_FILE={file!r} names no file with certificates in PEM ({reason}); {remedy}"
    if verify is True and directory:
        return f"SSL_CERT_DIR={directory!r} names no directory with certificates ({reason}); {remedy}"
    return f"verify={verify!r} gives no certificates ({reason}); nothing was sent: correct it"


def _reason(fault: OSError) -> str:
    return "no certificate in it can be read" if isinstance(fault, ssl.SSLError) else fault.strerror or str(fault)


def refused_certificate(fault: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate among the causes of an exception, None if there is none."""
    while fault is not None and not isinstance(fault, ssl.SSLCertVerificationError):
        fault = fault.__cause__ or fault.__context__
    return fault


def explain_handshake(host: str, fault: ssl.SSLError) -> str:
    """Return the message for a failed handshake with this host: for a refused certificate, with what to do."""
    if not isinstance(fault, ssl.SSLCertVerificationError):
        return f"no TLS connection to {host}: {fault.reason or fault}"
    found = fault.verify_message.rstrip(".")
    if fault.verify_code in _WRONG_NAME:
        reason = "is for another name ({}): check the address, or use the name in the certificate"
    elif fault.verify_code in _OUT_OF_DATE:
        reason = "is out of date ({}): check this machine's clock; if it is right, the server's operator must renew it"
    else:
        reason = "is not trusted ({}): if it is the right server, name a file with its authority in SSL_CERT_FILE"
    return f"no TLS connection to {host}: its certificate {reason.format(found)}"
