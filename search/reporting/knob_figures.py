"""The figures of knobs: score against each, importance, the most telling together."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from search.pictures.style import BLUE, INK
from search.records import Trial
from search.reporting.blocks import Panel, Picture
from search.reporting.charts import parallel_chart
from search.reporting.drawing import plain_log, score_colours, short
from search.reporting.figures import add_score_bar, scores_scale
from search.reporting.knobs import Knob, knob_height, named_heights, varied_knobs
from search.reporting.records import StudyRecords
from search.reporting.statistics import (
    FOLDS,
    REPEATS,
    Importance,
)
from search.wording import counted

KNOB_SIZE = (3.3, 2.5)
MOST_CATEGORIES = 8
MOST_IMPORTANCES = 15
MOST_AXES = 7
FEWEST_FOR_A_BOX = 5


def knobs_picture(records: StudyRecords) -> Picture | None:
    """Return score against each knob, or None where no knob differs."""
    knobs = varied_knobs(records.best)
    if len(records.best) < 2 or not knobs:
        return None
    panels = [
        Panel(
            f"{records.objective} against {short(knob.name, 60)}",
            knob_drawer(knob, records),
        )
        for knob in knobs
    ]
    epochs = [trial.epochs for trial in records.best]
    shade = (
        f"standing out more the more epochs it had ({min(epochs)} to {max(epochs)})"
        if min(epochs) < max(epochs)
        else f"each after {counted(epochs[0], 'epoch')}"
    )
    return Picture(
        "knobs",
        "Score against each knob",
        f"A dot: the score of a trial, {shade}. A bar: the median; a box: the middle"
        f" half, from {FEWEST_FOR_A_BOX} trials on. n: trials in which the knob was"
        " active. Other knobs differ too: this is no controlled comparison.",
        panels,
        KNOB_SIZE,
        columns=3,
        top=0.3,
        bottom=0.55 if any(is_crowded(knob) for knob in knobs) else 0.28,
    )


def knob_drawer(knob: Knob, records: StudyRecords) -> Callable[[Any], None]:
    """Return the drawing of score against one knob."""
    trials = [trial for trial in records.best[::-1] if knob.name in trial.values]

    def draw(axes: Any) -> None:
        positions = np.array(
            [knob.position(trial.values[knob.name]) for trial in trials]
        )
        scores = np.array([trial.score for trial in trials], float)
        if knob.kind == "steps":
            draw_steps(axes, knob, positions, scores)
            # Dots beside each other, always at the same place: golden ratio.
            positions = positions + (np.arange(len(trials)) * 0.618 % 1 - 0.5) * 0.36
        axes.scatter(
            positions, scores, c=epoch_colours(trials, records), s=13, linewidths=0,
            alpha=0.9, zorder=3,
        )  # fmt: skip
        if knob.kind == "log":
            axes.set_xscale("log")
            plain_log(axes.xaxis)
        axes.set_title(f"{short(knob.name, 30)} · n = {len(trials)}")
        axes.set_ylabel(records.objective)

    return draw


def epoch_colours(trials: Sequence[Trial], records: StudyRecords) -> Any:
    """Return a colour a trial: the more epochs, the darker."""
    epochs = np.log([max(1, trial.epochs) for trial in records.best])
    span = float(epochs.max() - epochs.min())
    own = np.log([max(1, trial.epochs) for trial in trials])
    share = (own - epochs.min()) / span if span else np.full(len(own), 0.7)
    return score_colours()(np.asarray(share))


def draw_steps(axes: Any, knob: Knob, positions: Any, scores: Any) -> None:
    """Draw the middle half and the median of each value, and name the values."""
    for place in range(len(knob.values)):
        own = scores[positions == place]
        if len(own) >= FEWEST_FOR_A_BOX:
            low, high = np.quantile(own, (0.25, 0.75))
            axes.bar(place, high - low, 0.6, low, color="#eceff2", zorder=1)
        if len(own):
            axes.hlines(np.median(own), place - 0.3, place + 0.3, color=INK, zorder=4)
    places = range(0, len(knob.values), -(-len(knob.values) // MOST_CATEGORIES))
    turned = is_crowded(knob)
    axes.set_xticks(
        places,
        [short(knob.values[place], 10 if turned else 12) for place in places],
        rotation=30 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor",
    )
    axes.set_xlim(-0.6, len(knob.values) - 0.4)
    axes.grid(visible=False, axis="x")


def is_crowded(knob: Knob) -> bool:
    """Return whether the names of a knob's values must be turned to fit."""
    names = [short(value, 12) for value in knob.values[:MOST_CATEGORIES]]
    return knob.kind == "steps" and sum(len(name) + 2 for name in names) > 40


def importance_picture(found: Importance, records: StudyRecords) -> Picture:
    """Return how much each knob tells of the score, with its spread."""
    knobs = found.knobs[:MOST_IMPORTANCES][::-1]

    def draw(axes: Any) -> None:
        places = range(len(knobs))
        axes.axvline(0, color="#8a9099", linewidth=1)
        axes.hlines(places, [k.low for k in knobs], [k.high for k in knobs], color=BLUE)
        axes.plot([k.mean for k in knobs], places, "o", color=BLUE, markersize=5.5)
        axes.set_yticks(places, [short(k.name, 26) for k in knobs])
        axes.grid(visible=False, axis="y")
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(f"error added to the predicted {records.objective}")

    when = (
        ""
        if found.epochs is None
        else f" after {counted(found.epochs, 'epoch')} (the lowest rung)"
    )
    left = len(found.knobs) - len(knobs)
    verb = "is" if left == 1 else "are"
    rest = f" {counted(left, 'knob')} below these {verb} left out." if left > 0 else ""
    return Picture(
        "knob_importance",
        "How much each knob tells of the score",
        "Permutation importance: mean absolute error that a random forest adds when"
        " one knob is shuffled among trials it has not seen; line: middle 80 % of"
        f" {FOLDS * REPEATS} folds. Scores{when} of n = {found.trials} trials; the"
        f" forest explains {found.explained:.0%} of the variance of unseen scores."
        f" Knobs that depend on each other share their importance.{rest}",
        [Panel("importance of each knob", draw)],
        (4.8, 0.7 + 0.26 * len(knobs)),
        left=1.75,
    )


def parallel_picture(found: Importance, records: StudyRecords) -> Picture | None:
    """Return the most important knobs side by side, a line a trial."""
    by_name = {knob.name: knob for knob in varied_knobs(records.best)}
    names = [k.name for k in found.knobs if k.mean > 0][:MOST_AXES]
    if len(names) < 2:
        return None
    knobs = [by_name[name] for name in names]

    def draw(axes: Any) -> None:
        from matplotlib.collections import LineCollection

        colour = scores_scale(records)
        lines = [
            [*enumerate(knob_height(knob, t, n) for knob in knobs)]
            for n, t in enumerate(records.best[::-1])
        ]
        colours = [colour.to_rgba(trial.score) for trial in records.best[::-1]]
        axes.add_collection(
            LineCollection(lines, colors=colours, linewidths=1.0, alpha=0.75)
        )
        axes.set(xlim=(-0.1, len(knobs) - 0.6), ylim=(-0.32, 1.08), yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xticks(range(len(knobs)), [short(k.name, 20) for k in knobs])
        for place, knob in enumerate(knobs):
            has_off = any(knob.name not in t.values for t in records.best)
            label_axis(axes, place, knob, has_off)
        add_score_bar(axes, colour, records)

    return Picture(
        "parallel_coordinates",
        "The most telling knobs together",
        f"A line: a trial (n = {len(records.best)}), the better its final"
        " score, the more it stands out; “off”: the knob was not active in it.",
        [Panel("knob values of every trial", draw)],
        (10.0, 3.6),
        left=0.5,
        bottom=0.3,
        chart=parallel_chart(knobs, records),
    )


def label_axis(axes: Any, place: int, knob: Knob, has_off: bool) -> None:
    """Draw one axis of the parallel coordinates with its values."""
    axes.vlines(place, 0, 1, color="#8a9099", linewidth=1, zorder=3)
    named = named_heights(knob, has_off)
    for share, value in named:
        axes.annotate(
            short(value, 12), (place, share), (5, 0), textcoords="offset points",
            va="center", fontsize=8, color=INK, zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
        )  # fmt: skip
