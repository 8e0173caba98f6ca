"""Certificates for measurements over TLS: for 127.0.0.1, issued by an authority of their own."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import attrs
import trustme


@attrs.frozen
class Certificates:
    """The files of the authority and of the server's certificate with its key, in PEM; None for plain connections."""

    authority: Path | None = None
    server: Path | None = None

    @property
    def client_context(self) -> ssl.SSLContext | None:
        """A context that trusts the authority; None for plain connections."""
        return None if self.authority is None else ssl.create_default_context(cafile=self.authority)

    @property
    def verify(self) -> ssl.SSLContext | Literal[True]:
        """The argument with which an HTTP library trusts the authority."""
        return self.client_context or True

    def trust(self) -> None:
        """Let this process trust the authority, wherever it reads SSL_CERT_FILE."""
        if self.authority is not None:
            os.environ["SSL_CERT_FILE"] = str(self.authority)


PLAIN: Final = Certificates()


@contextmanager
def certificates(*, tls: bool) -> Iterator[Certificates]:
    """Issue a certificate, whose files exist until the context ends; without TLS return `PLAIN`."""
    if not tls:
        yield PLAIN
        return
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "authority.pem", Path(folder) / "server.pem"
        authority.cert_pem.write_to_path(files[0])
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files[1])
        yield Certificates(*files)
