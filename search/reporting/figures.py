"""The figures of a report: what each panel shows of the records."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.pictures.style import BLUE, LINE, ORANGE, SOFT, VERMILLION
from search.records import Finalist
from search.reporting.blocks import Panel, Picture
from search.reporting.charts import best_so_far_chart, learning_curves_chart
from search.reporting.drawing import plain_log, score_scale, short, whole_numbers
from search.reporting.records import FAILED, StudyRecords
from search.reporting.statistics import (
    RankAgreement,
    best_so_far,
)
from search.wording import counted, shown

PANEL_SIZE = (3.3, 2.5)
MOST_FINALISTS = 12


def best_so_far_picture(records: StudyRecords) -> Picture:
    """Return the best objective against epochs spent."""
    steps = best_so_far(records)
    sign = 1 if records.direction == "max" else -1
    worst = 0.02 if records.direction == "max" else 0.98  # of the height of the axes

    def draw(axes: Any) -> None:
        scored, failed = spent_when(records)
        axes.plot(*scored.T, ".", color="#b4bac2", markersize=4.5)
        axes.plot(
            failed, np.full(len(failed), worst), "x", color=VERMILLION, markersize=4.5,
            transform=axes.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
        epochs, scores = zip(*steps, strict=True)
        axes.step(epochs, scores, where="post", color=BLUE, linewidth=2)
        axes.plot(*steps[-2], "o", color=BLUE, markersize=5)
        axes.annotate(
            shown(scores[-1]), steps[-2], (0, 7 * sign), textcoords="offset points",
            color=BLUE, ha="center", va="bottom" if sign > 0 else "top",
            fontweight="bold",
        )  # fmt: skip
        axes.margins(y=0.12)
        axes.set_xlim(left=0)
        whole_numbers(axes.xaxis)
        axes.set_xlabel("epochs spent by all trials")
        axes.set_ylabel(records.objective)

    failed = len(records.failures)
    cross = "; a cross: a trial that failed" if failed else ""
    cross += f" ({failed})" if failed > 1 else ""
    return Picture(
        "best_so_far",
        "Best so far",
        f"Line: best {records.objective} up to that epoch. A dot: the score of a trial"
        f" (n = {len(records.best)}){cross}. Trials are laid end to end in the order"
        " they were started.",
        [Panel(f"best {records.objective} so far against epochs spent", draw)],
        chart=best_so_far_chart(records),
    )


def spent_when(records: StudyRecords) -> tuple[NDArray[Any], list[int]]:
    """Return (epochs spent, score) of each trial, and epochs spent at each failure."""
    scored, failed, spent = [], [], 0
    for trial in records.trials:
        if trial.state in FAILED:
            failed.append(spent + trial.epochs)
        elif trial.score is not None:
            scored.append((spent + (trial.best_epoch or 0), trial.score))
        spent += trial.epochs
    return np.array(scored, float), failed


def learning_curves_picture(records: StudyRecords) -> Picture:
    """Return the objective of every trial against its epochs, rungs marked."""
    curves = [(t, t.history.get(records.objective, [])) for t in reversed(records.best)]
    rungs = records.rungs
    is_log = len(rungs) > 2 and rungs[-1] >= 9 * rungs[0]

    def draw(axes: Any) -> None:
        from matplotlib.collections import LineCollection

        colour = scores_scale(records)
        lines = [known_points(values) for _, values in curves]
        colours = [colour.to_rgba(trial.score) for trial, _ in curves]
        for rung in rungs:
            axes.axvline(rung, color="#b4bac2", linewidth=0.9, linestyle=(0, (2, 2)))
        axes.add_collection(LineCollection(lines, colors=colours, linewidths=1.0))
        ends = np.array([line[-1] for line in lines])
        axes.scatter(ends[:, 0], ends[:, 1], c=colours, s=9, linewidths=0, zorder=3)
        axes.margins(x=0.03)
        axes.autoscale_view()
        if is_log:
            axes.set_xscale("log")
            plain_log(axes.xaxis, [float(epoch) for epoch in sorted({1, *rungs})])
        else:
            whole_numbers(axes.xaxis)
        axes.set_xlabel("epoch of the trial" + (", logarithmic" if is_log else ""))
        axes.set_ylabel(records.objective)
        add_score_bar(axes, colour, records)

    marks = f" Dashed: rungs at {listed(rungs)} epochs." if len(rungs) > 1 else ""
    return Picture(
        "learning_curves",
        "Learning curves",
        f"One line a trial that did not fail (n = {len(curves)}), the better its final"
        f" score, the more it stands out; a dot where it ended.{marks}",
        [Panel(f"{records.objective} of every trial against its epochs", draw)],
        chart=learning_curves_chart(records, is_log),
    )


def known_points(values: Sequence[float | None]) -> list[tuple[int, float]]:
    """Return (epoch, value) where there is a value."""
    return [(epoch, v) for epoch, v in enumerate(values, 1) if v is not None]


def scores_scale(records: StudyRecords) -> Any:
    """Return the mapping of a study's scores to colours."""
    scores = [trial.score for trial in records.best if trial.score is not None]
    return score_scale(scores, is_max=records.direction == "max")


def add_score_bar(axes: Any, colour: Any, records: StudyRecords) -> None:
    """Add the scale of scores beside the axes."""
    bar = axes.figure.colorbar(colour, ax=axes, pad=0.02, aspect=28)
    bar.outline.set_visible(False)
    bar.set_label(f"final {records.objective}", color=SOFT, fontsize=8.5)
    bar.ax.tick_params(labelsize=8)


def listed(numbers: Sequence[object]) -> str:
    """Return `1, 3 and 9`."""
    *others, last = [str(number) for number in numbers]
    return f"{', '.join(others)} and {last}" if others else last


def ranks_picture(agreements: Sequence[RankAgreement], objective: str) -> Picture:
    """Return scores at a higher rung against those at a lower one."""

    def drawer(agreement: RankAgreement) -> Callable[[Any], None]:
        def draw(axes: Any) -> None:
            before, after = zip(*agreement.scores, strict=True)
            ends = min(before + after), max(before + after)
            axes.plot(ends, ends, color=LINE, zorder=1)
            axes.plot(before, after, "o", color=BLUE, markersize=4, alpha=0.7)
            axes.set_xlabel(f"{objective}, {counted(agreement.lower, 'epoch')}")
            axes.set_ylabel(counted(agreement.upper, "epoch"))
            axes.set_title(f"n = {len(before)}, ρ = {agreement.correlation:.2f}")

        return draw

    return Picture(
        "rank_agreement",
        "Do early scores tell the later ones?",
        f"Best {objective} of the same trials up to a lower and up to a higher rung; ρ:"
        " Spearman's rank correlation; line: no change.",
        [
            Panel(f"score after {a.lower} and {a.upper} epochs", drawer(a))
            for a in agreements
        ],
        PANEL_SIZE,
        columns=3,
        top=0.3,
    )


def finalists_picture(records: StudyRecords) -> Picture:
    """Return the objective of finalists on train and validation."""
    quantity = records.objective.removeprefix("val_")

    def drawer(finalist: Finalist) -> Callable[[Any], None]:
        def draw(axes: Any) -> None:
            for key, name, colour in (
                (quantity, "train", ORANGE),
                (records.objective, "validation", BLUE),
            ):
                values = finalist.history.get(key, [])
                line = np.array([np.nan if v is None else v for v in values], float)
                axes.plot(range(1, len(line) + 1), line, color=colour, label=name)
            axes.axvline(finalist.best_epoch, color="#8a9099", linestyle=(0, (2, 2)))
            axes.set_title(short(finalist.finalist_id, 34))
            whole_numbers(axes.xaxis)
            axes.set_xlabel("epoch")
            axes.set_ylabel(quantity)
            axes.legend(loc="best", handlelength=1.2)

        return draw

    chosen = records.finalists[:MOST_FINALISTS]
    left = len(records.finalists) - len(chosen)
    rest = f" The first {len(chosen)} are shown." if left else ""
    whole = counted(len(chosen), "finalist")
    return Picture(
        "finalists",
        "Learning curves of the finalists",
        f"{quantity} on train (measured during the epoch, with augmentation and"
        f" dropout where used) and on validation (after it), n = {whole}."
        f" Dashed: the epoch whose weights were kept.{rest}",
        [Panel(f"learning curves of {f.finalist_id}", drawer(f)) for f in chosen],
        PANEL_SIZE,
        columns=3,
        top=0.3,
    )
