"""BetterWaifu's client: the verbs that all providers share, and BetterWaifu's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args

from aiowery._base.secret import hide
from aiowery._client.arguments import check_request, check_type
from aiowery._client.client import Client
from aiowery._client.config import ProviderInfo, make_config
from aiowery._core.events import Observer
from aiowery._core.models import CheckIssue
from aiowery._core.policies import Limits, PollPolicy, RetryPolicy
from aiowery._core.request import Request
from aiowery._http.api_key import ApiKey
from aiowery.betterwaifu import _model_listing
from aiowery.betterwaifu._model_listing import Account, ModelVersion
from aiowery.betterwaifu._provider import ACCOUNT, LIST_MODELS, BetterWaifuProvider
from aiowery.betterwaifu._request_types import CATALOGUE
from aiowery.betterwaifu.requests._choices import MODELS, Edition
from aiowery.errors import ConfigurationError

if TYPE_CHECKING:
    from aiowery._http.httpx_transport import HTTPChoice
    from aiowery._journal.spending import PriceTable
    from aiowery.ledger import Ledger

_URLS: Final[dict[Edition, str]] = {
    "v1-images": "https://api.betterwaifu.com",
    "jobs": "https://betterwaifu.com/api/v1",
}
LIMITS: Final[dict[Edition, Limits]] = {
    "v1-images": Limits(
        in_flight=1, submissions=1, polls=1, uploads=1, direct_calls=1, max_queue=100, expected_duration=30.0
    ),
    "jobs": Limits(
        in_flight=1,
        submissions=1,
        polls=4,
        uploads=1,
        direct_calls=1,
        max_queue=100,
        expected_duration=30.0,
        cool_down=60.5,
    ),
}
"""Limits of each edition: one picture at a time, and in jobs a minute of rest after each.

Half a second is added for clocks that differ. At most 100 submissions may wait in the queue, which takes hours."""


_DOCUMENTED_MODELS: Final[dict[Edition, tuple[ModelVersion, ...]]] = {
    "v1-images": tuple(ModelVersion(key=slug, model_name=slug, description=use) for slug, use in MODELS.items()),
    "jobs": (),
}
INFO: Final[dict[str, ProviderInfo]] = {
    edition: ProviderInfo(
        provider=BetterWaifuProvider(edition),
        key_variable="BETTERWAIFU_API_KEY",
        url_variable="BETTERWAIFU_BASE_URL",
        base_url=url,
        path="/v1" if edition == "v1-images" else "",
        request_types=CATALOGUE,
        prompt_type="generate-image",
        limits=LIMITS[edition],
        max_in_flight=1,
        documented_models=_DOCUMENTED_MODELS[edition],
    )
    for edition, url in _URLS.items()
}


class BetterWaifu(Client):
    """An asyncio client for BetterWaifu, whose accounts make one picture at a time.

    `edition` selects one of two documented APIs, which share neither host nor model names; the client never switches
    by itself. "v1-images" answers each POST with the picture. "jobs" queues the request, is polled, and requires a
    minute of rest between two. Submissions wait in a queue: `statistics().queue` reports when a new one would start,
    and `start_within=` refuses one that would start too late.

    The key comes from `api_key` or the environment variable BETTERWAIFU_API_KEY, the host from `base_url`,
    BETTERWAIFU_BASE_URL, or the edition's own. `queue_file`: a file through which processes that share one account,
    and successive runs, take turns.
    """

    editions: ClassVar[Mapping[str, ProviderInfo]] = INFO
    """The two editions; "v1-images" is the default."""

    def __init__(
        self,
        api_key: ApiKey | None = None,
        *,
        edition: Edition = "v1-images",
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
        allow_hosts: Iterable[str] = (),
        queue_file: str | os.PathLike[str] | None = None,
        log_prompts: bool = False,
    ) -> None:
        api_key = hide(api_key)
        if edition not in get_args(Edition):
            raise ConfigurationError(f"edition is {edition!r}; {' or '.join(map(repr, get_args(Edition)))} is needed")
        self.edition: Edition = edition
        config = make_config(
            INFO[edition],
            api_key,
            base_url=base_url,
            limits=limits,
            polling=polling,
            retries=retries,
            http_timeout=http_timeout,
            http=http,
            observer=observer,
            low_credits=low_credits,
            ledger=ledger,
            budget=budget,
            prices=prices,
            reuse=reuse,
            price_per_credit=price_per_credit,
            allow_hosts=allow_hosts,
            queue_file=queue_file,
            log_prompts=log_prompts,
        )
        super().__init__(INFO[edition].provider, config)

    async def account(self) -> Account:
        """Return the account of the key, its credits and its subscription (jobs edition).

        Emits `LowCredits` if the credits are below `low_credits`. Raises ConfigurationError in the v1-images edition.
        """
        if self.edition != "jobs":
            raise ConfigurationError(
                f"account(): edition={self.edition!r} has no account endpoint; use edition='jobs'; nothing was sent"
            )
        account = await self.read(ACCOUNT, _model_listing.decode_account)
        self._report_balance(account.credits)
        return account

    async def balance(self) -> float | None:
        """Return the account's credits (jobs edition); None in v1-images, which does not report them.

        Emits `LowCredits` if they are below `low_credits`.
        """
        return (await self.account()).credits if self.edition == "jobs" else None

    async def models(self, kind: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the available models, all of the kind "image".

        In v1-images these are the documented ones (`MODELS`), and nothing is sent.
        """
        check_type("models(): kind", kind, (str, type(None)), "'image', or None")
        if kind is not None and kind != "image":
            return ()
        if self.edition == "jobs":
            return await self.read(LIST_MODELS, _model_listing.decode_models)
        return _DOCUMENTED_MODELS[self.edition]

    async def check(self, request: Request[Any]) -> tuple[CheckIssue, ...]:
        """Return an issue if the model is left out in the jobs edition, which has no default; nothing is enforced."""
        check_request("check", request)
        if self.edition != "jobs" or request.model_name is not None:
            return ()
        message = "it cannot be empty with edition='jobs'; client.models() lists the numbers"
        return (CheckIssue(field="model", value=None, message=message),)

    async def find_model(self, model_name: str, name: str | None = None) -> ModelVersion:
        """Return the model with exactly this name, and with this version if it has several.

        Raises ConfigurationError if there is none, or more than one.
        """
        check_type("find_model(): model_name", model_name, str, "the name of a model; client.models() lists them")
        check_type("find_model(): name", name, (str, type(None)), "the name of a version, or None")
        return _model_listing.find_model(await self.models(), model_name, name)
