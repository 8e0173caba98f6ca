"""The configuration of a client: checked once, when the client is made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from aiowery._base.secret import hide
from aiowery._client.arguments import checked_credits, checked_http, checked_webhooks, sandbox_speed
from aiowery._client.settings import check_settings
from aiowery._core.events import Observer
from aiowery._core.models import ModelInfo
from aiowery._core.paths import file_path
from aiowery._core.policies import Limits, PollPolicy, RetryPolicy
from aiowery._core.provider import Provider
from aiowery._core.request_types import RequestTypes
from aiowery._core.urls import Hosts, parse_hosts, refuse_path, validate_base_url
from aiowery._core.webhook_config import Webhooks
from aiowery._http.api_key import ApiKey, ApiKeySource
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:  # loaded with the first open client
    from aiowery._http.httpx_transport import HTTPChoice
    from aiowery._journal.spending import PriceTable
    from aiowery.ledger import Ledger


@attrs.frozen(kw_only=True, eq=False)
class ClientConfig:
    """The settings of a client. All durations are in seconds, all credits in the provider's unit.

    `make_config` checks them, and explains each.
    """

    api_key: ApiKeySource = attrs.field(repr=False)
    """The source of the API key, which may renew it."""
    base_url: str
    """The provider's address."""
    limits: Limits
    """The limits of concurrency and of the queue."""
    polling: PollPolicy
    """The policy of status checks."""
    retries: RetryPolicy
    """The policy of retries."""
    request_types: RequestTypes[Any]
    """The requests that a ledger of this provider may hold."""
    http_timeout: float = 30.0
    """Seconds for connecting and for each read."""
    http: HTTPChoice | None = None
    """The caller's HTTP client, or the choice of another transport than the default."""
    observer: Observer | None = None
    """The receiver of events."""
    low_credits: float | None = None
    """The balance below which `LowCredits` is emitted."""
    ledger: Ledger | str | os.PathLike[str] | None = None
    """The ledger, or the path of its file; None keeps it in memory."""
    budget: float | None = None
    """The credits that the client may spend while it is open."""
    prices: PriceTable | None = None
    """The credits per task, by model or request type, or as a function."""
    reuse: bool = False
    """True if equal requests in the ledger answer new ones."""
    price_per_credit: float | None = None
    """The price of one credit in money, for statistics."""
    other_hosts: Mapping[str, str] = attrs.field(factory=dict)
    """Base URLs beside `base_url`, by the names that the provider's requests use."""
    allow_hosts: Hosts = frozenset()
    """Hosts of private networks from which outputs may be downloaded, each with its port or None."""
    queue_file: Path | None = None
    """The file in which processes with one account keep the state of their queue."""
    webhooks: Webhooks | None = None
    """How the provider reports the end of tasks."""
    log_prompts: bool = False
    """True if labels in logs, events and errors hold the beginning of the prompt."""


@attrs.frozen(kw_only=True)
class ProviderInfo:
    """The facts about a provider, or about one edition of its API, that clients and the command line need."""

    provider: Provider
    """The translator between requests and HTTP messages."""
    key_variable: str
    """The environment variable of the API key."""
    url_variable: str
    """The environment variable of the base URL."""
    base_url: str
    """The base URL, if neither the caller nor the environment gives one."""
    path: str = ""
    """The beginning of every path that the provider appends, such as "/v1": a base URL that ends in it is refused."""
    request_types: RequestTypes[Any]
    """The classes of all requests. A ledger of this provider may hold any of them."""
    prompt_type: str
    """The `type_name` of the request that the command line makes from a prompt alone."""
    limits: Limits = attrs.field(factory=Limits)
    """The limits, if the caller gives none."""
    documented_models: Sequence[ModelInfo] = ()
    """The models that the provider documents, if it has no endpoint that lists them."""
    max_in_flight: int | None = None
    """The largest number of tasks that any account may run at the same time; None if it depends on the account."""

    def resolve_base_url(self, base_url: str | None) -> str:
        """Return the base URL: the caller's, the environment's, or the provider's own. Raises ConfigurationError."""
        name = "base_url" if base_url else self.url_variable
        url = validate_base_url(base_url or os.environ.get(self.url_variable) or self.base_url, name)
        return refuse_path(name, url, self.path) if self.path else url


def make_config(
    info: ProviderInfo,
    api_key: ApiKey | None = None,
    *,
    base_url: str | None = None,
    limits: Limits | None = None,
    polling: PollPolicy | None = None,
    retries: RetryPolicy | None = None,
    http_timeout: float = 30.0,
    http: HTTPChoice | None = None,
    observer: Observer | None = None,
    low_credits: float | None = None,
    ledger: Ledger | str | os.PathLike[str] | None = None,
    budget: float | None = None,
    prices: PriceTable | None = None,
    reuse: bool = False,
    price_per_credit: float | None = None,
    other_hosts: Mapping[str, str] | None = None,
    allow_hosts: Iterable[str] = (),
    queue_file: str | os.PathLike[str] | None = None,
    webhooks: Webhooks | None = None,
    log_prompts: bool = False,
) -> ClientConfig:
    """Return the checked configuration of a client. Raises ConfigurationError for an argument that is not valid.

    - `api_key`: a string, or a callable (plain or async) that returns one and is called again when the provider rejects
      the key; the environment's by default.
    - `base_url`: https, or http on loopback; the environment's or the provider's own by default.
    - `limits`, `polling`, `retries`: the policies. While `base_url` is on loopback, their defaults keep the time of a
      sandbox whose speed AIOWERY_SANDBOX_SPEED names.
    - `http_timeout`: seconds for connecting and for each read; a whole response may take 10 s more.
    - `http`: None for connections of the client's own, "httpx" for those of httpx (AIOWERY_HTTP=httpx does the same),
      or your own `httpx.AsyncClient` or `httpx2.AsyncClient`, which stays yours to close and should allow
      `limits.connections` connections.
    - `observer`: a callable that receives small frozen events. `low_credits`: a balance below it emits `LowCredits`.
    - `ledger`: stores each paid request before it is sent. The path of a file (made if missing) survives crashes
      and may be shared by processes; a `Ledger` of your own is opened and closed by you; None keeps it in memory.
    - `budget`: credits that the client may spend while it is open; one request more raises BudgetExceeded, unsent.
    - `prices`: credits per task by model or request type, or a function of the request, for budgets; by default the
      charge of the latest request with the same model and settings.
    - `reuse`: answer a request from an equal one in the ledger that is done or under way, instead of paying again.
    - `price_per_credit`: what you paid for one credit, so that statistics show money too.
    - `allow_hosts`: hosts in private networks, such as "10.0.0.7" or "files.internal:8443", from which outputs may be
      downloaded too, as from the host and port of `base_url`.
    - `other_hosts`: further base URLs by the names that the provider's requests use. `queue_file`: a file in which
      processes with one account keep the state of their queue. `webhooks`: let the provider report the end of tasks.
    - `log_prompts`: let labels in logs, events and errors hold the beginning of the prompt, which is personal data. By
      default they name the type, the model, and the caller's number or name.
    """
    api_key = hide(api_key or os.environ.get(info.key_variable))  # before anything raises with it in a variable
    if not api_key:
        raise ConfigurationError(f"no API key: set the environment variable {info.key_variable}, or pass api_key=...")
    check_settings(
        limits=limits,
        polling=polling,
        retries=retries,
        http_timeout=http_timeout,
        observer=observer,
        low_credits=low_credits,
        ledger=ledger,
        prices=prices,
        other_hosts=other_hosts,
        queue_file=queue_file,
    )
    if ledger is not None:
        info.request_types.load()  # the ledger may hold any of them
    resolved = info.resolve_base_url(base_url)
    speed = sandbox_speed(resolved)
    return ClientConfig(
        api_key=ApiKeySource(api_key),
        base_url=resolved,
        limits=limits or info.limits.faster(speed),
        polling=polling or PollPolicy().faster(speed),
        retries=retries or RetryPolicy().faster(speed),
        request_types=info.request_types,
        http_timeout=http_timeout,
        http=checked_http(http),
        observer=observer,
        low_credits=low_credits,
        ledger=ledger,
        budget=checked_credits("budget", budget),
        prices=prices,
        reuse=reuse,
        price_per_credit=checked_credits("price_per_credit", price_per_credit),
        other_hosts=other_hosts or {},
        allow_hosts=parse_hosts("allow_hosts", allow_hosts),
        queue_file=None if queue_file is None else file_path("queue_file", queue_file, "queue.json"),
        webhooks=checked_webhooks(webhooks, ledger),
        log_prompts=log_prompts,
    )
