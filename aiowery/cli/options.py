"""Options that several commands share. Picture options are named like the request fields that they fill."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
from cyclopts import Group, Parameter, validators

from aiowery.cli.connect import Target
from aiowery.cli.providers import Service, service_of
from aiowery.errors import ConfigurationError
from aiowery.weryai import ASPECT_RATIOS, IMAGE_MODELS

NoCheck = Annotated[
    bool,
    Parameter(negative="", show_default=False, help="Send without checking the request against the model registry."),
]
Verbose = Annotated[
    int,
    Parameter(
        alias="-v",
        count=True,
        negative="",
        show_default=False,
        help="Show the library's log, and prompts in messages about failures; -vv shows all of the log.",
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
    """Defaults for pictures and videos, for fields that a request leaves out."""

    model: Annotated[
        str | None, Parameter(help=f"The model, such as {', '.join(IMAGE_MODELS[:4])}; aiowery models shows them.")
    ] = None
    aspect_ratio: Annotated[str | None, Parameter(help=f"The shape. {_RATIOS}.")] = None
    negative_prompt: Annotated[str | None, Parameter(help="What the picture must not show.")] = None
    image_number: Annotated[int | None, Parameter(help="Number of pictures.", validator=AT_LEAST_ONE)] = None
    resolution: Annotated[str | None, Parameter(help="The size, such as 1k, 2k or 4k; not every model has it.")] = None
    width: Annotated[int | None, Parameter(help="In pixels (BetterWaifu).", validator=AT_LEAST_ONE)] = None
    height: Annotated[int | None, Parameter(help="In pixels (BetterWaifu).", validator=AT_LEAST_ONE)] = None
    steps: Annotated[int | None, Parameter(help="Number of sampling steps (BetterWaifu).", validator=AT_LEAST_ONE)] = (
        None
    )
    cfg_scale: Annotated[float | None, Parameter(help="How closely to follow the prompt (BetterWaifu).")] = None
    sampler: Annotated[str | None, Parameter(help="Such as dpm-2m-karras, or euler_a in jobs (BetterWaifu).")] = None
    seed: Annotated[
        int | None, Parameter(help="The same number makes the same picture (BetterWaifu).", allow_leading_hyphen=True)
    ] = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were set."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@Parameter(name="*", group=_MONEY)
@attrs.frozen(kw_only=True)
class LedgerOptions:
    """Options for the ledger and the costs of a batch."""

    ledger: Annotated[
        Path | None,
        Parameter(
            help="The file that records what was sent, so that the same command resumes the batch (default: .aiowery.db"
            " in --out; none with --sandbox, because a sandbox ends with the run)."
        ),
    ] = None
    batch: Annotated[
        str | None,
        Parameter(
            name="--batch",
            help="The name in the ledger (default: the name of the input). A new name sends all requests again.",
        ),
    ] = None
    budget: Annotated[
        float | None,
        Parameter(help="Maximum number of credits for all runs of this batch.", validator=_NOT_NEGATIVE),
    ] = None
    price: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            show_default=False,
            help="MODEL=CREDITS or TYPE=CREDITS, the price of one output; may be repeated.",
        ),
    ] = None
    price_per_credit: Annotated[
        float | None,
        Parameter(help="The price of one credit in money, to show costs in money too.", validator=_NOT_NEGATIVE),
    ] = None
    reuse: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Reuse the outputs of an equal request in the ledger instead of paying again.",
        ),
    ] = False
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help="Show items, estimate and balance; send nothing.")
    ] = False
    yes: Annotated[
        bool, Parameter(negative="", show_default=False, help="Send without asking if a price is unknown.")
    ] = False

    @property
    def prices(self) -> Mapping[str, float] | None:
        """Prices by model or type. Raises ConfigurationError for an invalid price."""
        return None if self.price is None else dict(map(_parse_price, self.price))


def _parse_price(text: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        credits_ = float(number)
    except ValueError:
        credits_ = -1.0
    if not (name and equals and 0 <= credits_ < float("inf")):
        raise ConfigurationError(
            f"--price must be MODEL=CREDITS, got {text!r}; nothing was sent: write for example"
            " --price WERYAI_IMAGE_2_0=1"
        )
    return name, credits_


@Parameter(name="*", group=_RUNNING)
@attrs.frozen(kw_only=True)
class ConnectionOptions:
    """Options for the provider or sandbox of a command, and for its log."""

    sandbox: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Use a sandbox started for this run: no key, no network, no cost."
        ),
    ] = False
    speed: Annotated[
        float | None, Parameter(help="With --sandbox: divide all durations of the run by this number.")
    ] = None
    allow_host: Annotated[
        list[str] | None,
        Parameter(
            negative="",
            show_default=False,
            help="HOST[:PORT] in a private network from which outputs may be downloaded; may be repeated.",
        ),
    ] = None
    verbose: Verbose = 0

    @property
    def service(self) -> Service:
        """Provider of the command."""
        return Service()

    @property
    def target(self) -> Target:
        """Target of the requests: the provider or the sandbox."""
        return Target(
            sandbox=self.sandbox,
            speed=self.speed,
            service=self.service,
            allow_hosts=tuple(self.allow_host or ()),
            log_prompts=bool(self.verbose),
        )


@Parameter(name="*", group=_RUNNING)
@attrs.frozen(kw_only=True)
class ProviderOptions(ConnectionOptions):
    """Connection options of commands that work with several providers."""

    provider: Annotated[
        str | None,
        Parameter(
            help="The provider: weryai, betterwaifu, or one that another package installs (default: the one of the"
            " request type, else weryai)."
        ),
    ] = None
    edition: Annotated[
        str | None,
        Parameter(help="The edition of its API: for BetterWaifu v1-images (default) or jobs, which share no models."),
    ] = None
    queue_file: Annotated[
        Path | None,
        Parameter(help="A file that coordinates the runs of one account: one task at a time, with a pause after each."),
    ] = None
    type_name: Annotated[str | None, Parameter(parse=False)] = None

    @property
    def service(self) -> Service:
        """Provider of the command. Raises ConfigurationError if the options are contradictory."""
        return service_of(self.provider, self.edition, self.queue_file, self.type_name)

    def for_type(self, type_name: str) -> ProviderOptions:
        """Return these options for a request type. Raises ConfigurationError if another provider serves it."""
        service_of(self.provider, self.edition, self.queue_file, type_name)
        return attrs.evolve(self, type_name=type_name)
