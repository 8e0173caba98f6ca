"""Options that several commands share. Their names are the fields of the requests they fill."""

from __future__ import annotations

from typing import Annotated, Any, Final

import attrs
from cyclopts import Group, Parameter, validators

from aiowery.cli._setup import Where
from aiowery.weryai import ASPECT_RATIOS, IMAGE_MODELS

NoCheck = Annotated[
    bool,
    Parameter(
        negative="", show_default=False, help="Send without asking the model registry whether the model takes it."
    ),
]
AT_LEAST_ONE: Final = validators.Number(gte=1)
_RATIOS: Final = "; ".join(f"{ratio} {use}" for ratio, use in ASPECT_RATIOS.items())
_PICTURES: Final = Group("Pictures", sort_key=1)
_RUNNING: Final = Group("Running", sort_key=2)


@Parameter(name="*", group=_PICTURES)
@attrs.frozen(kw_only=True)
class Wishes:
    """What pictures (or videos) to make, where the request itself does not say."""

    model: Annotated[str | None, Parameter(help=f"The model, such as {', '.join(IMAGE_MODELS[:4])}.")] = None
    aspect_ratio: Annotated[str | None, Parameter(help=f"The shape. {_RATIOS}.")] = None
    negative_prompt: Annotated[str | None, Parameter(help="What to keep out of the picture.")] = None
    image_number: Annotated[int | None, Parameter(help="How many pictures.", validator=AT_LEAST_ONE)] = None
    resolution: Annotated[str | None, Parameter(help="The size, such as 1k, 2k or 4k; not every model has it.")] = None

    def given(self) -> dict[str, Any]:
        """Return the fields that were asked for."""
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@Parameter(name="*", group=_RUNNING)
@attrs.frozen(kw_only=True)
class Running:
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
    verbose: Annotated[
        int,
        Parameter(
            alias="-v", count=True, negative="", show_default=False, help="Show the library's log; -vv shows all of it."
        ),
    ] = 0

    @property
    def where(self) -> Where:
        """The service or the sandbox."""
        return Where(sandbox=self.sandbox, speed=self.speed)
