"""Turn panels into SVG for the page and PNG for Markdown, in one calm style.

Figures are made by matplotlib's object interface: no global state, no display.
"""

import html
import io
import math
import re
from collections.abc import Sequence
from typing import Any

from search.pictures.style import PNG_DOTS, style
from search.reporting.blocks import Panel, Picture

LARGE = 1e4
LEAST_SPAN = 20.0  # of a logarithmic axis
# Room on the right of the axes, in inches.
RIGHT = 0.12


def svg_of(panel: Panel, picture: Picture, key: str) -> str:
    """Return one panel as SVG to be put into a page.

    Args:
        key: unlike that of any other panel of the page; its ids begin with it.
    """
    file = io.StringIO()
    with style(key):
        figure = drawn([panel], picture, 1)
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    return inline(file.getvalue(), key, panel.label)


def png_of(picture: Picture) -> bytes:
    """Return all panels of a figure as one PNG on white."""
    file = io.BytesIO()
    with style(picture.name):
        figure = drawn(picture.panels, picture, picture.columns)
        figure.savefig(file, format="png", dpi=PNG_DOTS, facecolor="white")
    return file.getvalue()


def drawn(panels: Sequence[Panel], picture: Picture, columns: int) -> Any:
    """Return panels as one figure.

    Margins are fixed: matplotlib's own layouts draw everything twice.
    """
    from matplotlib.figure import Figure

    (width, height), across = picture.size, min(columns, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(width * across, height * down))
    inner = (width - picture.left - RIGHT, height - picture.top - picture.bottom)
    for place, panel in enumerate(panels):
        x = place % across * width + picture.left
        y = (down - 1 - place // across) * height + picture.bottom
        size = (inner[0] / width / across, inner[1] / height / down)
        axes = figure.add_axes((x / width / across, y / height / down, *size))
        panel.draw(axes)
    return figure


def inline(svg: str, key: str, label: str) -> str:
    """Return an SVG document as an element of a page: named, small, ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?|version|width|height)="[^"]*"', "", svg, count=5)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    svg = re.sub(r' d="[^"]*"', short_numbers, svg)
    named = f'<svg role="img" aria-label="{html.escape(label)}"'
    return svg.replace("<svg", named, 1).strip()


def short_numbers(path: re.Match[str]) -> str:
    """Return a path with hundredths of a point, and no line breaks."""
    return re.sub(r"\s+", " ", re.sub(r"(\.\d\d)\d+", r"\1", path[0]))


def score_colours() -> Any:
    """Return viridis, the better the darker, without its yellow."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shades = [0.82 - 0.77 * shade / 255 for shade in range(256)]
    return ListedColormap(colormaps["viridis"](shades))


def hex_colours(
    scores: Sequence[float], known: Sequence[float], *, is_max: bool
) -> list[str]:
    """Return `#rrggbb` of each score on the scale of all known ones."""
    from matplotlib.colors import to_hex

    scale = score_scale(known, is_max=is_max)
    return [to_hex(scale.to_rgba(score)) for score in scores]


def score_scale(known: Sequence[float], *, is_max: bool) -> Any:
    """Return the mapping of scores to colours: better is darker."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from numpy import quantile

    colours = score_colours() if is_max else score_colours().reversed()
    # The worst tenth shares a colour, so that one wreck does not take the range.
    low, high = quantile(known, (0.1, 1) if is_max else (0, 0.9))
    return ScalarMappable(Normalize(low, high, clip=True), colours)


def plain_log(axis: Any, ticks: list[float] | None = None) -> None:
    """Label a logarithmic axis with plain numbers, large ones as `10 M`."""
    from matplotlib.ticker import (
        EngFormatter,
        FixedLocator,
        FuncFormatter,
        NullFormatter,
        NullLocator,
    )

    large = EngFormatter(sep=" ")

    def label(value: float, place: int | None) -> str:
        return f"{value:g}" if value < LARGE else str(large(value, place))

    axis.set_major_formatter(FuncFormatter(label))
    axis.set_minor_formatter(NullFormatter())
    if ticks is not None:
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())


def whole_numbers(axis: Any) -> None:
    """Label an axis that counts, epochs say, with whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True))


def legend_above(axes: Any) -> None:
    """Put the legend above the axes, where it lies on nothing that is drawn."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0, handlelength=1.2
    )


def widen(axes: Any) -> None:
    """Let a logarithmic x-axis span more than a decade, with labels within it."""
    from matplotlib.ticker import LogLocator

    low, high = axes.get_xlim()
    if high < LEAST_SPAN * low:
        middle = math.sqrt(low * high)
        edge = math.sqrt(LEAST_SPAN)
        axes.set_xlim(middle / edge, middle * edge)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def short(text: object, most: int = 14) -> str:
    """Return a label that fits an axis."""
    plain = f"{text:.3g}" if isinstance(text, float) else str(text)
    plain = "".join(sign if sign.isprintable() else "·" for sign in plain)
    return plain if len(plain) <= most else plain[: most - 1] + "…"
