"""Options of `aiowery batch`, and what follows from them for the ledger and the client."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from aiowery.cli.file_names import LEDGER
from aiowery.cli.input.prompt_files import STDIN, Form
from aiowery.cli.input.requests import RequestDefaults
from aiowery.cli.options import ConnectionOptions, LedgerOptions
from aiowery.cli.providers import accepts
from aiowery.errors import ConfigurationError
from aiowery.ledger._path_checks import validate_path
from aiowery.webhook import Webhooks


@attrs.frozen(kw_only=True)
class BatchOptions:
    """Options of `aiowery batch`."""

    source: str
    out: Path
    defaults: RequestDefaults
    connection: ConnectionOptions
    form: Form | None = None
    limit: int | None = None
    in_flight: int | None = None
    max_doubts: int | None = None
    public_url: str | None = None
    gallery: bool = False
    strict: bool = False
    check: bool = True
    json: bool = False
    ledger_options: LedgerOptions = attrs.field(factory=LedgerOptions)

    @property
    def input_name(self) -> str:
        """Name of the input in messages."""
        return "standard input" if self.source == STDIN else self.source

    @property
    def batch_name(self) -> str:
        """Name of the batch in the ledger."""
        name = self.ledger_options.batch or ("standard input" if self.source == STDIN else Path(self.source).name)
        return name.encode("utf-8", "backslashreplace").decode()  # a file name may hold bytes that are not UTF-8

    @property
    def ledger_path(self) -> Path | None:
        """Path of the ledger, or None for a ledger in memory, which ends with the sandbox of this run.

        Raises ConfigurationError for a path that names no file.
        """
        if self.ledger_options.ledger is None and self.connection.sandbox:
            return None
        return validate_path(self.ledger_options.ledger or self.out / LEDGER)

    @property
    def client_settings(self) -> Mapping[str, Any]:
        """Client settings for the ledger, prices and webhooks."""
        return {
            "ledger": self.ledger_path,
            "prices": self.ledger_options.prices,
            "price_per_credit": self.ledger_options.price_per_credit,
            **self._webhooks,
        }

    @property
    def _webhooks(self) -> Mapping[str, Any]:
        if self.public_url is None:
            return {}
        service = self.connection.service
        if not accepts(service.client_type, "webhooks"):
            raise ConfigurationError(
                f"--public-url is for webhooks, and {service.info.provider.name} delivers none; nothing was sent:"
                " leave the option out"
            )
        if self.ledger_path is None:
            raise ConfigurationError(
                "--public-url needs the ledger that aiowery webhook uses; nothing was sent: name the same file with"
                " --ledger"
            )
        return {"webhooks": Webhooks(public_url=self.public_url)}
