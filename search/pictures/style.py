"""How figures look: colours, lines and letters, for matplotlib and Pillow alike."""

from typing import Any

# Okabe & Ito 2008, and greys.
BLUE, ORANGE, VERMILLION = "#0072B2", "#E69F00", "#D55E00"
GREEN = "#009E73"
INK, SOFT, LINE = "#24292f", "#6a737d", "#e4e7eb"
PNG_DOTS = 140

STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b4bac2",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    # Knob names and values are plain text, never formulas.
    "text.parse_math": False,
    "text.usetex": False,
    "svg.fonttype": "none",
}


def style(salt: str) -> Any:
    """Return the style as a context; with a fixed salt SVG ids stay the same."""
    from matplotlib import rc_context

    return rc_context({**STYLE, "svg.hashsalt": salt})
