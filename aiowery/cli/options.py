"""Options that several commands share. Their names are the fields of the requests they fill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
from cyclopts import Group, Parameter, validators

from aiowery.betterwaifu import Edition
from aiowery.cli.connect import Target
from aiowery.cli.providers import WERYAI, Name, Service, service_of
from aiowery.errors import ConfigurationError
from aiowery.weryai import ASPECT_RATIOS, IMAGE_MODELS

NoCheck = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Send without asking the model registry whether the model takes it."
    ),
]
Verbose = Annotated[
    int,
    Parameter(
        alias="-v", count=True, negative="", show_default=False, help="Show the library's log; -vv shows all of it."
    ),
]
AT_LEAST_ONE: Final = validators.Number(gte=1)
_RATIOS: Final = "; ".join(f"{ratio} {use}" for ratio, use in ASPECT_RATIOS.items())
_PICTURES: Final = Group("Pictures", sort_key=1)
_MONEY: Final = Group("Money", sort_key=2)
_RUNNING: Final = Group("Running", sort_key=3)
_NOT_NEGATIVE: Final = validators.Number(gte=0)


@Parameter(name="*", group=_PICTURES)
@attrs.frozen(kw_only=True)
class PictureOptions:
    """What pictures (or videos) to make, where the request itself does not say."""

    model: Annotated[
        str | None, Parameter(help=f"The model, such as {', '.join(IMAGE_MODELS[:4])}; aiowery models shows them.")
    ] = None
    aspect_ratio: Annotated[str | None, Parameter(help=f"The shape. {_RATIOS}.")] = None
    negative_prompt: Annotated[str | None, Parameter(help="What to keep out of the picture.")] = None
    image_number: Annotated[int | None, Parameter(help="How many pictures.", validator=AT_LEAST_ONE)] = None
    resolution: Annotated[str | None, Parameter(help="The size, such as 1k, 2k or 4k; not every model has it.")] = None
    width: Annotated[int | None, Parameter(help="Pixels (BetterWaifu).", validator=AT_LEAST_ONE)] = None
    height: Annotated[int | None, Parameter(help="Pixels (BetterWaifu).", validator=AT_LEAST_ONE)] = None
    steps: Annotated[int | None, Parameter(help="How long to work on it (BetterWaifu).", validator=AT_LEAST_ONE)] = None
    cfg_scale: Annotated[float | None, Parameter(help="How closely to follow the prompt (BetterWaifu).")] = None
    sampler: Annotated[str | None, Parameter(help="Such as dpm-2m-karras, or euler_a in jobs (BetterWaifu).")] = None
    seed: Annotated[
        int | None, Parameter(help="The same number makes the same picture (BetterWaifu).", allow_leading_hyphen=True)
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were asked for."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@Parameter(name="*", group=_MONEY)
@attrs.frozen(kw_only=True)
class LedgerOptions:
    """What a batch remembers and what it may spend."""

    ledger: Annotated[
        Path | None,
        Parameter(
            help="The file that remembers what was sent, so that the same command again resumes; .aiowery.db in --out"
            " unless said (with --sandbox, which ends with the run, none)."
        ),
    ] = None
    batch: Annotated[
        str | None,
        Parameter(name="--batch", help="The name in the ledger, unless said the input's; a new one sends all anew."),
    ] = None
    budget: Annotated[
        float | None,
        Parameter(help="Credits that this batch may use in all its runs.", validator=_NOT_NEGATIVE),
    ] = None
    price: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            show_default=False,
            help="MODEL=CREDITS or TYPE=CREDITS, what one output costs; again for the next.",
        ),
    ] = None
    price_per_credit: Annotated[
        float | None, Parameter(help="What you paid for one credit, to be told money too.", validator=_NOT_NEGATIVE)
    ] = None
    reuse: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Take what the ledger has of an equal request instead of paying again.",
        ),
    ] = False
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Show items, estimate and balance; send nothing.")
    ] = False
    yes: Annotated[bool, Parameter(negative="", show_default=False, help="Do not ask when the price is unknown.")] = (
        False
    )

    @property
    def prices(self) -> Mapping[str, float] | None:
        """The table of prices; ConfigurationError for what is none."""
        return None if self.price is None else dict(map(_price, self.price))


def _price(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        credits_ = float(number)
    except ValueError:
        credits_ = -1.0
    if not (name and equals and 0 <= credits_ < float("inf")):
        raise ConfigurationError(f"--price {text}: MODEL=CREDITS is needed, such as --price WERYAI_IMAGE_2_0=1")
    return name, credits_


@Parameter(name="*", group=_RUNNING)
@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """Where a command's requests go, and how much it tells."""

    sandbox: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Use a sandbox started for this run: no key, no network, no cost."
        ),
    ] = False
    speed: Annotated[
        float | None, Parameter(help="With --sandbox: divide every duration of the run by this number.")
    ] = None
    verbose: Verbose = 0

    @property
    def service(self) -> Service:
        """Whose service it is."""
        return WERYAI

    @property
    def where(self) -> Target:
        """The service or the sandbox."""
        return Target(sandbox=self.sandbox, speed=self.speed, service=self.service)


@Parameter(name="*", group=_RUNNING)
@attrs.frozen(kw_only=True)
class ProviderOptions(ConnectionOptions):
    """The same, for commands that several services understand."""

    provider: Annotated[
        Name | None, Parameter(help="Whose service; what is asked for tells it otherwise, else weryai.")
    ] = None
    edition: Annotated[
        Edition | None, Parameter(help="BetterWaifu's edition, v1-images unless said; they share no models.")
    ] = None
    queue_file: Annotated[
        Path | None,
        Parameter(
            help="BetterWaifu: a file in which runs with one account keep whose turn it is, and the rest between two."
        ),
    ] = None
    type_name: Annotated[str | None, Parameter(parse=False)] = None

    @property
    def service(self) -> Service:
        """Whose service it is; ConfigurationError where the options contradict each other."""
        return service_of(self.provider, self.edition, self.queue_file, self.type_name)

    def for_type(self, type_name: str) -> ProviderOptions:
        """Return the same for this type of request; ConfigurationError where another service makes it."""
        service_of(self.provider, self.edition, self.queue_file, type_name)
        return attrs.evolve(self, type_name=type_name)
