"""The section of controlled comparisons and of the ablation path."""

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from search.comparing.comparisons import AblationPath, Comparison, shared_seeds
from search.comparing.tables import remarks
from search.comparing.variants import label
from search.pictures.style import BLUE, ORANGE, SOFT, VERMILLION
from search.reporting.blocks import (
    Block,
    Cell,
    Image,
    Panel,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    columns,
    count_cell,
    score_cell,
    time_cell,
    words,
)
from search.reporting.drawing import short
from search.reporting.records import StudyRecords
from search.wording import counted

ROW_INCHES = 0.36
WIDTH = 6.4


def comparisons_section(records: StudyRecords) -> Section | None:
    """Return every comparison: verdict, scores, differences and masks."""
    if not records.comparisons and not records.ablations:
        return None
    blocks: list[Block] = [
        Text(
            "Within a comparison everything but the named knob is equal: other knobs,"
            " weights' seed, data order and augmentation. Scores are of validation;"
            " intervals are Student's, for the mean of the differences of equal seeds."
            " Each interval stands for itself: of twenty comparisons without any"
            " effect, one is expected to miss zero."
        )
    ]
    for key, comparison in records.comparisons.items():
        blocks += comparison_blocks(key, comparison, records)
    for key, path in records.ablations.items():
        blocks += path_blocks(key, path)
    return Section("comparisons", "Comparisons", blocks)


def comparison_blocks(
    key: str, comparison: Comparison, records: StudyRecords
) -> list[Block]:
    """Return one comparison: words, table, figure and gallery."""
    blocks: list[Block] = [
        *(Text(verdict) for verdict in comparison.verdicts),
        Table(
            columns(
                [comparison.knob],
                [f"mean {comparison.objective}", "lowest", "highest", "seeds",
                 "parameters", "time an epoch"],
            ),
            [value_row(comparison, value) for value in comparison.values],
            f"{comparison.knob}, from {origin_of(comparison.base)};"
            f" {counted(len(comparison.seeds), 'seed')}.",
        ),
        *(Text(remark, "note") for remark in remarks(comparison)),
        Pictures([comparison_picture(key, comparison)]),
        *(
            Text(f"{run.run_id}: {note}.", "note")
            for run in comparison.runs
            for note in run.notes
        ),
    ]  # fmt: skip
    gallery = records.galleries.get(key)
    if gallery is not None:
        blocks.append(
            Image(
                gallery,
                f"comparisons/{gallery.name}",
                f"Masks under each {comparison.knob}",
                "The same validation images, ordered from where the masks differ most"
                " to where they differ little; right: what only one of two values"
                f" calls foreground. Seed {comparison.seeds[0]}.",
            )
        )
    return blocks


def origin_of(base: str) -> str:
    """Return what a comparison started from, in words."""
    return "the default configuration" if base == "default" else f"trial {base}"


def value_row(comparison: Comparison, value: str) -> list[Cell]:
    """Return one compared value as a row."""
    runs = [run for run in comparison.runs if run.value == value]
    scores = [run.score for run in runs if run.score is not None]
    alike = alike_scores(comparison, value)
    epochs = sum(run.epochs for run in runs)
    return [
        words(value),
        score_cell(fmean(alike) if alike else None),
        score_cell(min(scores, default=None)),
        score_cell(max(scores, default=None)),
        Cell(f"{len(scores)} of {len(runs)}", len(scores)),
        count_cell(runs[0].parameters if runs else None),
        time_cell(sum(run.seconds for run in runs) / epochs) if epochs else words("–"),
    ]


def alike_scores(comparison: Comparison, value: str) -> list[float]:
    """Return the scores of a value with the seeds that all values finished."""
    shared = shared_seeds(comparison)
    runs = [run for run in comparison.runs if run.value == value and run.seed in shared]
    return [run.score for run in runs if run.score is not None]


def comparison_picture(key: str, comparison: Comparison) -> Picture:
    """Return scores by seed, and beside them the differences to the reference."""
    rows = list(comparison.values)

    def draw_scores(axes: Any) -> None:
        for place, value in enumerate(rows):
            scores = scores_of(comparison, value)
            axes.plot(scores, [place] * len(scores), "o", color=BLUE, alpha=0.55)
            alike = alike_scores(comparison, value)
            if alike:
                axes.plot(fmean(alike), place, "|", color=BLUE, markersize=16, mew=2.2)
        name_rows(axes, rows)
        axes.set_xlabel(f"{comparison.objective}, a dot a seed; bar: mean")

    def draw_differences(axes: Any) -> None:
        axes.axvline(0, color=SOFT, linewidth=0.9)
        for place, found in enumerate(comparison.differences, start=1):
            axes.plot(found.by_seed, [place] * len(found.by_seed), ".", color="#b4bac2")
            if found.mean is None:
                continue
            if found.low is not None and found.high is not None:
                sure = not found.low <= 0 <= found.high
                colour = VERMILLION if sure else BLUE
                axes.plot([found.low, found.high], [place, place], color=colour, lw=2)
            axes.plot(found.mean, place, "o", color=BLUE)
        name_rows(axes, rows)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(f"difference to {short(rows[0])}, 95 % interval")

    n = counted(len(comparison.seeds), "seed")
    return Picture(
        f"compare_{key}",
        f"{comparison.knob}: scores and paired differences",
        f"First: best {comparison.objective} of each training (n = {n} a value)."
        f" Second: difference to {rows[0]} on the same seed; red where the interval"
        " leaves out zero.",
        [
            Panel(f"{comparison.objective} for each {comparison.knob}", draw_scores),
            Panel(f"differences to {rows[0]}", draw_differences),
        ],
        size=(4.4, 0.75 + ROW_INCHES * len(rows)),
        left=1.05,
    )


def scores_of(comparison: Comparison, value: str) -> list[float]:
    """Return the scores of one value."""
    runs = [run for run in comparison.runs if run.value == value]
    return [run.score for run in runs if run.score is not None]


def name_rows(axes: Any, rows: Sequence[str]) -> None:
    """Name the rows of a dot plot, the first on top."""
    axes.set_yticks(range(len(rows)), [short(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.08)


def path_blocks(key: str, path: AblationPath) -> list[Block]:
    """Return an ablation path: words, table and figure."""
    last = path.steps[-1]
    told = (
        f"From the {path.base} to {origin_of(path.target)} {path.objective}"
        f" goes from {score_cell(path.steps[0].score).text} to"
        f" {score_cell(last.score).text} in {counted(len(path.steps) - 1, 'step')}."
        f"{best_step_text(path)}"
    )
    rows = [
        [
            words(number),
            words(step.knob or "start"),
            words("" if step.before is None else label(step.before)),
            words("" if step.after is None else label(step.after)),
            score_cell(step.score),
            Cell("" if step.gain is None else f"{step.gain:+.4f}", step.gain),
            Cell(
                f"{step.low:+.4f} to {step.high:+.4f}"
                if step.low is not None and step.high is not None
                else "",
                step.low,
            ),
        ]
        for number, step in enumerate(path.steps)
    ]
    change = "gain" if path.direction == "max" else "change"
    heads = columns(["step", "knob", "from", "to"], [path.objective, change, "95 %"])
    n = counted(len(path.seeds), "seed")
    caption = (
        f"Mean of n = {n}. At each step the knob that gained most was set (after"
        " Fawcett & Hoos 2016); a gain is optimistic, being the largest of several."
    )
    picture = Picture(
        f"ablation_{key}",
        "Ablation path",
        f"{path.objective} after each step, validation, mean of n = {n}.",
        [Panel("score after each step of the path", path_drawer(path))],
        size=(WIDTH, 0.8 + ROW_INCHES * len(path.steps)),
        left=2.3,
    )
    return [Text(told), Table(heads, rows, caption), Pictures([picture])]


def best_step_text(path: AblationPath) -> str:
    """Say which step improves the objective most, and by how much."""
    sign = 1 if path.direction == "max" else -1
    gains = [(sign * s.gain, str(s.knob)) for s in path.steps if s.gain is not None]
    if not gains:
        return ""
    most, knob = max(gains, key=lambda gain: gain[0])
    if most <= 0:
        return " No step improves it."
    return f" {knob} improves it most: {sign * most:+.4f}."


def path_drawer(path: AblationPath) -> Callable[[Any], None]:
    """Return what draws the score after each step, the start on top."""

    def draw(axes: Any) -> None:
        names = ["start", *(step_name(step) for step in path.steps[1:])]
        scores = [step.score for step in path.steps]
        known = [(s, place) for place, s in enumerate(scores) if s is not None]
        axes.plot(*zip(*known, strict=True), "o-", color=BLUE)
        if known:
            best = max(known) if path.direction == "max" else min(known)
            axes.plot(*best, "o", color=ORANGE, markersize=8, zorder=1)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.set_xlabel(path.objective)

    return draw


def step_name(step: Any) -> str:
    """Return `knob: from → to`, short enough for an axis."""
    return short(f"{step.knob} → {label(step.after)}", 32)
