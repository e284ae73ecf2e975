"""The section on what accuracy costs, and how large chance is beside the knobs."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import stdev, variance
from typing import Any

from search.comparing.comparisons import folder_of
from search.pictures.style import BLUE, ORANGE
from search.records import Trial
from search.reporting.blocks import Block, Panel, Picture, Pictures, Section, Text
from search.reporting.charts import cost_chart
from search.reporting.drawing import plain_log, widen
from search.reporting.records import StudyRecords
from search.scoring.pareto import value_of
from search.wording import counted

COSTS = {
    "parameters": "parameters",
    "flops": "floating-point operations of one image, forward",
    "latency_ms": "milliseconds of one image, forward",
}
FEWEST_DOTS = 3
# Of two trainings the deviation is off by any factor: it is not told.
FEWEST_FREEDOM = 3


@dataclass(frozen=True)
class SeedNoise:
    """Spread of the same configuration over seeds.

    Attributes:
        deviation: pooled standard deviation of the score.
        configurations, trainings: it was estimated from.
    """

    deviation: float
    configurations: int
    trainings: int

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the deviation."""
        return self.trainings - self.configurations


def costs_section(records: StudyRecords) -> Section | None:
    """Return the score against size, operations and latency."""
    pictures = [
        cost_picture(cost, label, records)
        for cost, label in COSTS.items()
        if len([t for t in records.best if value_of(t, cost)]) >= FEWEST_DOTS
    ]
    blocks: list[Block] = [*noise_blocks(records)]
    if pictures:
        blocks.append(Pictures(pictures))
    return Section("costs", "Score, cost and chance", blocks) if blocks else None


def cost_picture(cost: str, label: str, records: StudyRecords) -> Picture:
    """Return the objective against one cost, and the trials no other beats."""
    known = [trial for trial in records.best if value_of(trial, cost)]
    edge = cheap_front(known, cost, records)

    def draw(axes: Any) -> None:
        points = [(value_of(trial, cost), trial.score) for trial in known]
        axes.plot(*zip(*points, strict=True), "o", color=BLUE, ms=4, alpha=0.55)
        axes.plot(
            *zip(*edge, strict=True), color=ORANGE, lw=1.6, drawstyle="steps-post"
        )
        axes.set_xscale("log")
        plain_log(axes.xaxis)
        widen(axes)
        axes.set_xlabel(f"{label}, logarithmic")
        axes.set_ylabel(records.objective)

    note = " Measured beside what else was running." if cost == "latency_ms" else ""
    return Picture(
        f"cost_{cost}",
        f"Score against {cost.replace('_ms', '')}",
        f"A dot: a trial (n = {len(known)}), however long it was trained; line: the"
        f" best score at that cost or less.{note}",
        [Panel(f"{records.objective} against {label}", draw)],
        chart=cost_chart(cost, label, records, edge),
    )


def cheap_front(
    trials: list[Trial], cost: str, records: StudyRecords
) -> list[tuple[float, float]]:
    """Return (cost, best score at that cost or less), by rising cost."""
    better: Callable[..., float] = max if records.direction == "max" else min
    found: list[tuple[float, float]] = []
    for trial in sorted(trials, key=lambda t: value_of(t, cost) or 0.0):
        score = trial.score or 0.0
        best = better(score, found[-1][1]) if found else score
        found.append((value_of(trial, cost) or 0.0, best))
    return found


def noise_blocks(records: StudyRecords) -> list[Block]:
    """Say how much the same configuration varies beside different ones.

    Nothing where too few trainings tell it.
    """
    noise = seed_noise(records)
    if noise is None or noise.freedom < FEWEST_FREEDOM:
        return []
    text = (
        f"Chance: the same configuration trained from other seeds differs in"
        f" {records.objective} by a standard deviation of {noise.deviation:.4f}"
        f" ({noise.trainings} trainings of"
        f" {counted(noise.configurations, 'configuration')})."
    )
    full = [t.score for t in records.best if t.epochs >= records.study.epochs]
    scores = [score for score in full if score is not None]
    if len(scores) >= FEWEST_DOTS:
        which = ""
        if records.has_rungs and len(records.rungs) > 1:
            which = ", some or all of them promoted for their early scores,"
        text += (
            f" The scores of the {len(scores)} trials that were fully trained{which}"
            f" differ by {knobs_text(stdev(scores), noise.deviation)}."
        )
    return [Text(text)]


def knobs_text(spread: float, noise: float) -> str:
    """Say how much of the spread of scores the knobs do, and how much chance.

    Both are independent, so that their variances add up to that of the spread.
    """
    part = max(0.0, spread**2 - noise**2) ** 0.5
    if not part:
        return f"{spread:.4f}, which is no more than chance does"
    return f"{spread:.4f}: knobs and chance together. The knobs alone: {part:.4f}"


def seed_noise(records: StudyRecords) -> SeedNoise | None:
    """Estimate what chance does from finalists and comparisons, where they repeat.

    A training that several of them share counts once.
    """
    groups: dict[tuple[str, str], dict[int, float]] = {}
    known: set[str] = set()
    # A loss is of another scale than the metric that finalists are judged by.
    is_metric = records.objective == f"val_{records.metric}"
    for finalist in records.finalists if is_metric else []:
        score = finalist.validation.get(records.metric)
        if score is not None:
            own = groups.setdefault(("finalist", finalist.trial_id), {})
            own[finalist.seed] = score
            known.add(folder_of(finalist.values, finalist.seed))
    for comparison in records.comparisons.values():
        for run in comparison.runs:
            is_new = folder_of(run.values, run.seed) not in known
            if run.score is not None and is_new:
                own = groups.setdefault(("compared", folder_of(run.values, 0)), {})
                own[run.seed] = run.score
    repeated = [[*scores.values()] for scores in groups.values() if len(scores) > 1]
    if not repeated:
        return None
    freedom = sum(len(scores) - 1 for scores in repeated)
    pooled = sum((len(s) - 1) * variance(s) for s in repeated) / freedom
    return SeedNoise(pooled**0.5, len(repeated), sum(len(s) for s in repeated))
