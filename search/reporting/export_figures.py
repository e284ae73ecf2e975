"""The figure of exported models: what a test score costs in time and in size."""

from collections.abc import Callable, Sequence
from typing import Any

from search.pictures.style import BLUE, GREEN, ORANGE
from search.records import Exported
from search.reporting.blocks import Panel, Picture
from search.reporting.drawing import plain_log, widen
from search.reporting.labels import Box, Point, along, around, placed
from search.reporting.records import StudyRecords

COLOURS = {"ensemble": BLUE, "best_single": ORANGE, "student": GREEN}
# The same, dark enough for words.
INKS = {"ensemble": BLUE, "best_single": "#9a6a00", "student": "#00785a"}
# Up to this ratio of its ends an axis has labels between the powers of ten.
FEW_POWERS = 100.0
SIZE = (4.9, 3.2)
FONT = 8.5
# Of the letters of a label, in points at that size: a little more than they take.
LETTER, BOLD_LETTER, LINE = 5.4, 6.0, 11.0


def exports_picture(records: StudyRecords) -> Picture | None:
    """Return the test score of each exported file's model against time and size.

    None where no model that was exported has a test score.
    """
    scores = model_scores(records)
    files = [item for item in records.exports if item.model in scores]
    if not files:
        return None
    metric = records.metric
    costs: list[tuple[str, Callable[[Exported], float]]] = [
        ("milliseconds of one image", lambda item: item.latency_ms),
        ("megabytes of the file", lambda item: item.bytes / 1e6),
    ]
    score = f"test {metric}"
    panels = [
        Panel(f"{score} against {what}", drawer(files, scores, cost, (what, score)))
        for what, cost in costs
    ]
    return Picture(
        "exports",
        "What a score costs where it is used",
        f"A dot: an exported file (n = {len(files)}), named by its format. Scores are"
        " those of the trained networks; how far a file agrees with them, the table"
        " says. Times are those of its check: the median of one image, measured beside"
        " what else was running.",
        panels,
        SIZE,
        left=0.72,
    )


def model_scores(records: StudyRecords) -> dict[str, float]:
    """Return the test score of each model that can be exported, where there is one."""
    ensemble = records.ensemble
    if ensemble is None:
        return {}
    tests = {"ensemble": ensemble.test, "best_single": ensemble.best_single.test}
    if ensemble.student:
        tests["student"] = ensemble.student["test"]
    found = {model: test.get(records.metric) for model, test in tests.items()}
    return {model: score for model, score in found.items() if score is not None}


def drawer(
    files: Sequence[Exported],
    scores: dict[str, float],
    cost: Callable[[Exported], float],
    names: tuple[str, str],
) -> Callable[[Any], None]:
    """Return the drawing of one panel.

    Args:
        names: of the two axes.
    """
    models = [model for model in COLOURS if any(f.model == model for f in files)]

    def draw(axes: Any) -> None:
        for model in models:
            own = [cost(item) for item in files if item.model == model]
            height = [scores[model]] * len(own)
            axes.axhline(scores[model], color=COLOURS[model], linewidth=0.8, alpha=0.35)
            axes.plot(own, height, "o", color=COLOURS[model], markersize=5.5)
        axes.set_xscale("log")
        plain_log(axes.xaxis)
        axes.margins(x=0.16, y=0.3)
        widen(axes)
        mark_between(axes)
        axes.locator_params(axis="y", nbins=5)
        axes.set_xlabel(f"{names[0]}, logarithmic")
        axes.set_ylabel(names[1])
        label(axes, files, scores, cost, models)

    return draw


def label(
    axes: Any,
    files: Sequence[Exported],
    scores: dict[str, float],
    cost: Callable[[Exported], float],
    models: Sequence[str],
) -> None:
    """Name every model at its line and every format at its dot, none on another."""
    points = 72 / axes.figure.dpi  # of a pixel
    area = Box(*(float(edge) * points for edge in axes.get_window_extent().extents))
    marks = [(cost(item), scores[item.model]) for item in files]
    dots = [(float(x), float(y)) for x, y in axes.transData.transform(marks) * points]
    heights: dict[str, float] = {
        item.model: dot[1] for item, dot in zip(files, dots, strict=True)
    }
    names = [model.replace("_", " ") for model in models]
    options = [
        along(area, heights[model], BOLD_LETTER * len(name), LINE)
        for model, name in zip(models, names, strict=True)
    ]
    options += [
        around(dot, LETTER * len(item.format), LINE)
        for dot, item in zip(dots, files, strict=True)
    ]
    boxes = placed(options, dots, list(heights.values()), area)
    for box, name, model in zip(boxes, names, models, strict=False):
        end = (box.right, "right") if box.right == area.right else (box.left, "left")
        write(axes, box, name, INKS[model], end, fontweight="bold")
    for box, item, dot in zip(boxes[len(names) :], files, dots, strict=True):
        if abs(box.level) > 1:
            lead(axes, box, dot, COLOURS[item.model])
        middle = ((box.left + box.right) / 2, "center")
        write(axes, box, item.format, INKS[item.model], middle)


def write(
    axes: Any, box: Box, text: str, colour: str, side: tuple[float, str], **look: Any
) -> None:
    """Write a label in its place.

    Args:
        side: x, and which end of the label stands there.
    """
    x, end = side
    axes.annotate(
        text, (x, (box.bottom + box.top) / 2), xycoords="figure points", ha=end,
        va="center", color=colour, fontsize=FONT, annotation_clip=False, **look,
    )  # fmt: skip


def lead(axes: Any, box: Box, dot: Point, colour: str) -> None:
    """Draw the way from a dot to a label that is not next to it."""
    x = min(max(dot[0], box.left + 3), box.right - 3)
    y = box.bottom if box.level > 0 else box.top
    axes.annotate(
        "", (x, y), dot, xycoords="figure points", textcoords="figure points",
        arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 4,
                    "shrinkB": 0, "alpha": 0.6},
        annotation_clip=False,
    )  # fmt: skip


def mark_between(axes: Any) -> None:
    """Label a logarithmic x-axis between the powers of ten where there are few."""
    from matplotlib.ticker import LogLocator

    low, high = axes.get_xlim()
    if high < FEW_POWERS * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
