"""The figures one can point at: options of Apache ECharts, as plain JSON.

They stand in the place of the drawn figures where JavaScript runs and show the same
records. Texts are drawn, never read as HTML; colours are those of the drawn figures.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from search.pictures.style import BLUE, INK, LINE, ORANGE, SOFT, VERMILLION
from search.records import Trial
from search.reporting.drawing import hex_colours, short
from search.reporting.knobs import Knob, knob_height, named_heights
from search.reporting.records import StudyRecords
from search.reporting.statistics import best_so_far
from search.scoring.pareto import value_of
from search.wording import duration, shown, values_text

GREY = "#9aa2ab"
# The fonts of the page: boxes around words are measured with them.
FONTS = "system-ui,-apple-system,Segoe UI,Roboto,Helvetica Neue,Arial,sans-serif"
# Beyond so many points, curves are lines without points to hover over.
MOST_POINTS = 6000
WORDS_IN_A_LINE = 64
Option = dict[str, Any]


def base(**more: Any) -> Option:
    """Return what all charts share."""
    return {
        "animation": False,
        "textStyle": {"fontFamily": FONTS, "color": INK},
        "aria": {"enabled": True},
        "tooltip": {
            "renderMode": "richText", "confine": True, "formatter": "{b}",
            "textStyle": {"color": INK, "fontSize": 12, "lineHeight": 17,
                          "fontFamily": FONTS},
            "backgroundColor": "#ffffff", "borderColor": LINE, "padding": [7, 10],
        },
        "grid": {"left": 58, "right": 24, "top": 26, "bottom": 48},
        **more,
    }  # fmt: skip


def axis(name: str, *, vertical: bool = False, **more: Any) -> Option:
    """Return a value axis in the style of the drawn figures."""
    return {
        "type": "value", "name": name, "scale": True,
        "nameLocation": "end" if vertical else "middle",
        "nameGap": 12 if vertical else 30,
        "nameTextStyle": {"color": INK, "align": "left" if vertical else "center",
                          "padding": [0, 0, 0, -44] if vertical else 0},
        "axisLabel": {"color": SOFT, "hideOverlap": True},
        "splitLine": {"lineStyle": {"color": LINE}},
        "axisLine": {"show": not vertical, "lineStyle": {"color": "#b4bac2"}},
        "axisTick": {"show": False},
        **more,
    }  # fmt: skip


def trial_words(trial: Trial, objective: str, first: Trial | None = None) -> str:
    """Return what one sees when pointing at a trial."""
    lines = [
        f"trial {trial.trial_id} · {objective} {shown(trial.score)}",
        f"epoch {trial.best_epoch or '–'} of {trial.epochs},"
        f" {duration(trial.seconds)}, {trial.parameters or 0:,} parameters",
    ]
    own = trial.values
    if first is not None and first is not trial:
        own = {k: v for k, v in own.items() if first.values.get(k) != v}
    words = "".join(c if c.isprintable() else " " for c in values_text(own))
    return "\n".join([*lines, *wrapped(words)])


def wrapped(text: str) -> list[str]:
    """Return text in lines that fit a tooltip, six at most."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= WORDS_IN_A_LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()[:WORDS_IN_A_LINE]
    return [*lines[:6], *(["…"] if len(lines) > 6 else [])]


def best_so_far_chart(records: StudyRecords) -> Option:
    """Return the best objective against epochs spent; a dot a trial."""
    dots: list[Option] = []
    crosses: list[Option] = []
    spent = 0
    first = records.trials[0]
    failed = {trial.trial_id for trial in records.failures}
    for trial in records.trials:
        words = trial_words(trial, records.objective, first)
        if trial.trial_id in failed:
            message = "\n".join(wrapped(f"{trial.failure}: {trial.message}"))
            place = spent + trial.epochs
            crosses.append({"value": [place, None], "name": f"{words}\n{message}"})
        elif trial.score is not None:
            place = spent + (trial.best_epoch or 0)
            dots.append({"value": [place, trial.score], "name": words})
        spent += trial.epochs
    steps = best_so_far(records)
    worst = min if records.direction == "max" else max
    edge = worst(dot["value"][1] for dot in dots)
    for cross in crosses:
        cross["value"][1] = edge
    line = [
        {"value": step, "name": f"{records.objective} {shown(step[1])}"}
        for step in steps
    ]
    return base(
        xAxis=axis("epochs spent by all trials", min=0, minInterval=1),
        yAxis=axis(records.objective, vertical=True),
        series=[
            {"type": "scatter", "name": "trials", "data": dots, "symbolSize": 7,
             "itemStyle": {"color": GREY}},
            {"type": "scatter", "name": "failed", "data": crosses, "symbolSize": 8,
             "symbol": "path://M0,0L8,8M8,0L0,8",
             "itemStyle": {"color": "none", "borderColor": VERMILLION,
                           "borderWidth": 1.5}},
            {"type": "line", "name": "best so far", "data": line, "step": "end",
             "symbolSize": 6, "itemStyle": {"color": BLUE},
             "lineStyle": {"color": BLUE, "width": 2}},
        ],
    )  # fmt: skip


def learning_curves_chart(records: StudyRecords, is_log: bool) -> Option:
    """Return a line a trial; pointing at one lifts it out."""
    trials = [t for t in reversed(records.best) if t.history.get(records.objective)]
    points = sum(len(t.history[records.objective]) for t in trials)
    first = records.trials[0]
    series = []
    for trial, colour in zip(trials, score_colours_of(records, trials), strict=True):
        curve = trial.history[records.objective]
        known = [[e, rounded(v)] for e, v in enumerate(curve, 1) if v is not None]
        series.append({
            "type": "line", "name": trial_words(trial, records.objective, first),
            "data": known, "showSymbol": points <= MOST_POINTS or len(known) == 1,
            "symbol": "circle", "symbolSize": 5,
            "lineStyle": {"color": colour, "width": 1.2},
            "itemStyle": {"color": colour, "opacity": 1 if len(known) == 1 else 0},
            "emphasis": {"focus": "series", "lineStyle": {"width": 3},
                         "itemStyle": {"opacity": 1}},
            "blur": {"lineStyle": {"opacity": 0.12}, "itemStyle": {"opacity": 0}},
        })  # fmt: skip
    most = max((trial.epochs for trial in trials), default=1)
    epochs = axis("epoch of the trial", min=1, max=max(2, most), minInterval=1)
    if is_log:
        epochs |= {"type": "log", "name": "epoch of the trial, logarithmic"}
        ticks = sorted({1, *records.rungs, most})
        epochs["axisLabel"] |= {"customValues": ticks}
        epochs["splitLine"] = {"show": False}
    if len(records.rungs) > 1:
        marks = [{"xAxis": rung} for rung in records.rungs]
        line = {"color": "#b4bac2", "type": "dashed"}
        series.append({
            "type": "line", "data": [], "silent": True,
            "markLine": {"symbol": "none", "silent": True, "data": marks,
                         "label": {"show": False}, "lineStyle": line},
        })  # fmt: skip
    chart = base(
        xAxis=epochs,
        yAxis=axis(records.objective, vertical=True),
        series=series,
    )
    chart["tooltip"]["formatter"] = "{a}"
    return chart


def rounded(value: float) -> float:
    """Return a number with as many digits as a curve can show."""
    return float(f"{value:.5g}")


def score_colours_of(records: StudyRecords, trials: Sequence[Trial]) -> list[str]:
    """Return a colour a trial, the better the darker, as in the drawn figures."""
    return hex_colours(
        [trial.score or 0.0 for trial in trials],
        [trial.score for trial in records.best if trial.score is not None],
        is_max=records.direction == "max",
    )


def parallel_chart(knobs: Sequence[Knob], records: StudyRecords) -> Option:
    """Return the knobs side by side, the score last; ranges can be marked on axes."""
    trials = records.best[::-1]
    scores = [trial.score or 0.0 for trial in trials]
    axes = [
        {"dim": place, "name": short(knob.name, 20), **knob_axis(knob, trials)}
        for place, knob in enumerate(knobs)
    ]
    span = {"min": min(scores), "max": max(scores)}
    if span["min"] < span["max"]:
        axes.append({"dim": len(knobs), "name": records.objective, "scale": True})
    first = records.trials[0]
    lines = [
        {
            "value": [
                *(rounded(knob_height(k, trial, n)) for k in knobs),
                rounded(score),
            ],
            "name": trial_words(trial, records.objective, first),
            "lineStyle": {"color": colour, "width": 1.3, "opacity": 0.75},
        }
        for n, (trial, score, colour) in enumerate(
            zip(trials, scores, score_colours_of(records, trials), strict=True)
        )
    ]
    return base(
        parallel={
            "left": 64, "right": 70, "top": 44, "bottom": 20,
            "parallelAxisDefault": {
                "type": "value", "nameTextStyle": {"color": INK}, "nameGap": 18,
                "axisLine": {"lineStyle": {"color": GREY}},
                "axisTick": {"show": False}, "z": 5,
                "axisLabel": {"color": INK, "backgroundColor": "#ffffffd0",
                              "padding": [1, 3], "borderRadius": 2},
                "areaSelectStyle": {"color": BLUE, "borderColor": BLUE, "width": 16},
            },
        },
        parallelAxis=axes,
        series=[{"type": "parallel", "smooth": False, "data": lines,
                 "inactiveOpacity": 0.04, "activeOpacity": 0.9,
                 "emphasis": {"lineStyle": {"width": 4, "opacity": 1}}}],
    )  # fmt: skip


def knob_axis(knob: Knob, trials: Sequence[Trial]) -> Option:
    """Return the axis of a knob: heights 0–1 with its values as labels."""
    named = named_heights(knob, any(knob.name not in t.values for t in trials))
    return {
        "min": min(height for height, _ in named) - 0.04,
        "max": 1.04,
        # Read by the page: which word stands at which height.
        "words": [[height, short(word, 12)] for height, word in named],
    }


def cost_chart(
    cost: str, label: str, records: StudyRecords, edge: Sequence[tuple[float, float]]
) -> Option:
    """Return the objective against what a network costs; a dot a trial.

    Args:
        edge: (cost, best score at that cost or less).
    """
    first = records.trials[0]
    dots = [
        {
            "value": [value_of(trial, cost), trial.score],
            "name": trial_words(trial, records.objective, first),
        }
        for trial in records.best
        if value_of(trial, cost)
    ]
    return base(
        xAxis=axis(f"{label}, logarithmic", type="log"),
        yAxis=axis(records.objective, vertical=True),
        series=[
            {"type": "scatter", "data": dots, "symbolSize": 7,
             "itemStyle": {"color": BLUE, "opacity": 0.65}},
            {"type": "line", "data": [list(point) for point in edge], "silent": True,
             "step": "end", "showSymbol": False,
             "lineStyle": {"color": ORANGE, "width": 1.8}},
        ],
    )  # fmt: skip


def confusion_chart(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Option:
    """Return a confusion matrix; pointing at a cell names it."""
    matrix = np.asarray(counts)
    share = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    cells = [
        {
            "value": [int(column), int(row), rounded(float(share[row, column]))],
            "name": f"{short(names[row], 30)} taken for {short(names[column], 30)}"
            f"\n{matrix[row, column]} of {matrix[row].sum()} images",
        }
        for row, column in zip(*np.nonzero(matrix), strict=True)
    ]
    labels = [short(name, 16) for name in names]
    names_axis = {
        "type": "category", "data": labels, "axisTick": {"show": False},
        "axisLine": {"show": False}, "axisLabel": {"color": SOFT, "fontSize": 10},
        "splitLine": {"show": True, "lineStyle": {"color": LINE}},
    }  # fmt: skip
    return base(
        grid={"left": 96, "right": 20, "top": 10, "bottom": 96},
        xAxis={**names_axis, "name": "predicted", "nameLocation": "middle",
               "nameGap": 78,
               "axisLabel": {"color": SOFT, "fontSize": 10, "rotate": 60}},
        yAxis={**names_axis, "name": "true", "nameLocation": "start", "inverse": True},
        visualMap={"min": 0, "max": 1, "dimension": 2, "show": False,
                   "inRange": {"color": ["#f1f5f9", "#7db3dc", "#0072B2", "#00304d"]}},
        series=[{"type": "heatmap", "data": cells}],
    )  # fmt: skip
