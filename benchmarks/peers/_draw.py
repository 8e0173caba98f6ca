"""Draw the charts as SVG: horizontal bars, for light and for dark pages; equal results give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs

from benchmarks.peers._charts import Chart, Panel, charts
from benchmarks.peers._results import Results

PICTURES: Final = Path(__file__).parents[2] / "docs" / "benchmarks"
_ROW: Final = 0.27
_HEAD: Final = 0.72
_WIDTH: Final = 8.4
_AXIS_RATIO: Final = 1.45
"""Length of an axis divided by the longest bar, so that the text beside the bar has room."""


@attrs.frozen
class Theme:
    """The colours for light or for dark pages."""

    name: str
    text: str
    accent: str
    others: str


THEMES: Final = (
    Theme("light", "#1f2328", "#0969da", "#c4cbd3"),
    Theme("dark", "#e6edf3", "#4493f8", "#4d5661"),
)


def draw(results: Results) -> None:
    """Write all charts as pictures."""
    import matplotlib as mpl  # noqa: PLC0415 - an optional package that only drawing needs

    mpl.use("svg")
    PICTURES.mkdir(exist_ok=True)
    for chart in charts(results):
        for theme in THEMES:
            with mpl.rc_context(_settings(theme)):
                _picture(chart, theme)


def file_of(chart: Chart, theme: Theme) -> str:
    """Return the file name of a picture."""
    return f"{chart.name}-{theme.name}.svg"


def _settings(theme: Theme) -> dict[str, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "aiowery",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
        "font.size": 9,
        "text.color": theme.text,
        "axes.labelcolor": theme.text,
        "xtick.color": theme.text,
        "ytick.color": theme.text,
    }


def _picture(chart: Chart, theme: Theme) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 - an optional package that only drawing needs

    height = _HEAD + _ROW * len(chart.panels[0].bars)
    figure, axes = plt.subplots(1, len(chart.panels), figsize=(_WIDTH, height), squeeze=False, sharey=True)
    figure.suptitle(chart.title, x=0.01, y=1 - 0.1 / height, ha="left", va="top", fontsize=11, fontweight="bold")
    for axis, panel in zip(axes[0], chart.panels, strict=True):
        _panel(axis, panel, theme)
    for label, bar in zip(axes[0][0].get_yticklabels(), chart.panels[0].bars, strict=True):
        label.set_fontweight("bold" if bar.is_aiowery else "normal")
    figure.subplots_adjust(left=0.2, right=0.99, top=1 - 0.6 / height, bottom=0.06 / height, wspace=0.05)
    # A date or a version would change the file although the results are the same.
    metadata = {"Date": None, "Creator": None, "Title": chart.alt_text}
    figure.savefig(PICTURES / file_of(chart, theme), transparent=True, metadata=metadata)
    plt.close(figure)


def _panel(axis: Any, panel: Panel, theme: Theme) -> None:
    rows = range(len(panel.bars))
    longest = max((bar.value or 0 for bar in panel.bars), default=0) or 1
    shortest = min((bar.value for bar in panel.bars if bar.value), default=1)
    if panel.log:
        left = shortest / 2
        axis.set_xscale("log")
        axis.set_xlim(left, left * (longest / left) ** _AXIS_RATIO)
    else:
        left = 0.0
        axis.set_xlim(0, longest * _AXIS_RATIO)
    widths = [max(0.0, (bar.value or 0) - left) for bar in panel.bars]
    colours = [theme.accent if bar.is_aiowery else theme.others for bar in panel.bars]
    axis.barh(rows, widths, left=left, color=colours, height=0.72)
    for row, (bar, width) in enumerate(zip(panel.bars, widths, strict=True)):
        style: dict[str, Any] = {"fontweight": "bold"} if bar.is_aiowery else {}
        if bar.value is None:
            style["style"] = "italic"
        axis.annotate(bar.text, (left + width, row), (4, 0), textcoords="offset points", va="center", **style)
    axis.set_title(panel.title, loc="left", fontsize=9)
    axis.set_yticks(rows, [bar.peer for bar in panel.bars])
    axis.set_ylim(len(panel.bars) - 0.4, -0.6)
    axis.tick_params(length=0)
    axis.xaxis.set_visible(False)
    axis.minorticks_off()
    for side in ("top", "right", "bottom", "left"):
        axis.spines[side].set_visible(False)
