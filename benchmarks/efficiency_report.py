"""The table, the figure and the tests of `search_efficiency`, from its cells."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from scipy.stats import bootstrap, rankdata, wilcoxon

Record = dict[str, Any]
SHOWN = (10, 30, 100)
RESAMPLES = 4000
# A replay is shown where all tuners have it but these, whose cells come last.
LATE = ("kt-bayesian", "priorband", "hyperband", "bayesian", "random")
LABELS = {
    "bohb": "bohb (ours, default)",
    "priorband": "priorband (ours)",
    "hyperband": "hyperband (ours)",
    "bayesian": "bayesian (ours)",
    "random": "random (ours)",
    "kt-random": "keras-tuner RandomSearch",
    "kt-hyperband": "keras-tuner Hyperband",
    "kt-bayesian": "keras-tuner BayesianOptimization",
    "optuna-tpe": "Optuna TPE",
    "optuna-tpe-hyperband": "Optuna TPE + HyperbandPruner",
    "optuna-tpe-sha": "Optuna TPE + SuccessiveHalvingPruner",
    "optuna-random-sha": "Optuna random + SuccessiveHalvingPruner",
}
# Okabe & Ito 2008, told apart by the colour-blind; line styles tell the rest.
LINES = {
    "bohb": ("#D55E00", "-"),
    "priorband": ("#D55E00", "-."),
    "hyperband": ("#E69F00", "-"),
    "bayesian": ("#CC79A7", "-"),
    "kt-random": ("#999999", ":"),
    "kt-hyperband": ("#000000", "--"),
    "optuna-tpe": ("#56B4E9", ":"),
    "optuna-tpe-hyperband": ("#0072B2", "--"),
    "optuna-tpe-sha": ("#009E73", "--"),
    "optuna-random-sha": ("#009E73", ":"),
}
GROUPS = (
    ("TaskSet, nearest", "nearest", False),
    ("TaskSet, nearest unused", "unused", False),
    ("own space, nearest", "nearest", True),
    ("own space, nearest unused", "unused", True),
)


def write_report(
    records: Sequence[Record], marks: Sequence[int], own: str, folder: Path
) -> None:
    """Write the Markdown tables, the figure and the JSON record."""
    alone = [r for r in records if r["workers"] == 1 and not r["failing"]]
    text = [
        "# Measured: which tuner finds the best at the same cost",
        "",
        "Written by `python -m benchmarks.search_efficiency`; what the columns mean"
        " stands in [tuners-evidence.md](tuners-evidence.md).",
        "",
    ]
    if alone:
        text += ["## All tables, both mappings", "", *regret_table(alone, marks), ""]
    for title, mapping, is_own in GROUPS:
        chosen = [
            r
            for r in alone
            if r["mapping"] == mapping and (r["table"] == own) == is_own
        ]
        if chosen:
            text += [f"## {title}", "", *regret_table(chosen, marks), ""]
    text += ["## bohb against each", "", *comparison_table(alone, marks), ""]
    text += [
        "## With 20% of trainings crashing",
        "",
        *failure_lines(records, marks),
        "",
    ]
    text += ["## Four workers", "", *idle_table(records, marks), ""]
    (folder / "tuners-measured.md").write_text("\n".join(text))
    draw(alone, marks, own, folder / "tuners.png")
    print("\n".join(text))


def at(record: Record, marks: Sequence[int], mark: int) -> float | None:
    """Return the regret at a mark, None where the replay ended before."""
    place = list(marks).index(mark)
    regrets = record["regret"]
    return float(regrets[place]) if place < len(regrets) else None


def regrets(
    records: Sequence[Record], marks: Sequence[int], mark: int
) -> dict[str, dict[tuple[Any, ...], float]]:
    """Return tuner -> (table, mapping, seed) -> regret at a mark."""
    found: dict[str, dict[tuple[Any, ...], float]] = defaultdict(dict)
    for record in records:
        value = at(record, marks, mark)
        if value is not None:
            key = (record["table"], record["mapping"], record["seed"])
            found[record["tuner"]][key] = value
    return found


def alike(
    by_tuner: dict[str, dict[tuple[Any, ...], float]],
) -> dict[str, dict[tuple[Any, ...], float]]:
    """Return of every tuner those replays that all have but the late ones.

    A run that was cut has some tuners' cells and not others'.
    """
    full = [set(found) for tuner, found in by_tuner.items() if tuner not in LATE]
    common = set.intersection(*full) if full else set()
    return {
        tuner: {key: value for key, value in found.items() if key in common}
        for tuner, found in by_tuner.items()
    }


def interval(values: Sequence[float]) -> str:
    """Return the mean and its 95% bootstrap interval."""
    sample = np.array(values)
    if len(sample) < 3 or np.ptp(sample) == 0:
        return f"{sample.mean():.3f}"
    result = bootstrap((sample,), np.mean, rng=np.random.default_rng(0))
    low, high = result.confidence_interval
    return f"{sample.mean():.3f} ({low:.3f}–{high:.3f})"


def regret_table(records: Sequence[Record], marks: Sequence[int]) -> list[str]:
    """Return mean normalised regret and mean rank, a tuner a row."""
    columns = {mark: alike(regrets(records, marks, mark)) for mark in SHOWN}
    ranks = mean_ranks(columns[30])
    heads = " | ".join(f"at {mark}" for mark in SHOWN)
    lines = [
        f"| tuner | {heads} | rank at 30 | replays to 30, to 100 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    order = sorted(columns[30], key=lambda t: np.mean(list(columns[30][t].values())))
    for tuner in order:
        cells = [
            interval(list(columns[mark][tuner].values()))
            if columns[mark].get(tuner)
            else "–"
            for mark in SHOWN
        ]
        counts = f"{len(columns[30][tuner])}, {len(columns[100].get(tuner, {}))}"
        rank = f"{ranks[tuner]:.1f}" if tuner in ranks else "–"
        lines.append(f"| {LABELS[tuner]} | {' | '.join(cells)} | {rank} | {counts} |")
    return lines


def mean_ranks(by_tuner: dict[str, dict[tuple[Any, ...], float]]) -> dict[str, float]:
    """Return the mean rank among the tuners that have all of `alike` replays."""
    tuners = [tuner for tuner in by_tuner if tuner not in LATE]
    columns = [[by_tuner[t][key] for key in sorted(by_tuner[t])] for t in tuners]
    return dict(zip(tuners, rankdata(columns, axis=0).mean(1), strict=True))


def comparison_table(records: Sequence[Record], marks: Sequence[int]) -> list[str]:
    """Return bohb's regret over each other's, and one-sided Wilcoxon tests.

    A pair is compared on all replays it has in common.
    """
    heads = " | ".join(f"at {mark}" for mark in SHOWN)
    lines = [
        f"| against | {heads} | replays to 30 |",
        "| --- | --- | --- | --- | --- |",
    ]
    columns = {mark: regrets(records, marks, mark) for mark in SHOWN}
    for tuner in LABELS:
        if tuner == "bohb" or tuner not in columns[10]:
            continue
        cells = [
            compared(columns[mark].get("bohb", {}), columns[mark].get(tuner, {}))
            for mark in SHOWN
        ]
        count = len(set(columns[30]["bohb"]) & set(columns[30][tuner]))
        lines.append(f"| {LABELS[tuner]} | {' | '.join(cells)} | {count} |")
    return lines


def compared(ours: dict[Any, float], theirs: dict[Any, float]) -> str:
    """Return `0.05 : 0.12, p = 0.001` over the replays both have."""
    shared = sorted(set(ours) & set(theirs))
    if len(shared) < 3:
        return "–"
    left = np.array([ours[key] for key in shared])
    right = np.array([theirs[key] for key in shared])
    if np.all(left == right):
        return f"{left.mean():.3f} : {right.mean():.3f}"
    p = wilcoxon(left, right, alternative="less").pvalue
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{left.mean():.3f} : {right.mean():.3f}, {text}"


def failure_lines(records: Sequence[Record], marks: Sequence[int]) -> list[str]:
    """Return bohb's regret at 30 with and without failures, on the same replays."""
    bohb = [r for r in records if r["tuner"] == "bohb" and r["workers"] == 1]
    without = regrets([r for r in bohb if not r["failing"]], marks, 30)["bohb"]
    failing = regrets([r for r in bohb if r["failing"]], marks, 30)["bohb"]
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for key in sorted(set(without) & set(failing)):
        pairs[key[0]].append((without[key], failing[key]))
    if not pairs:
        return ["Not measured."]
    tables = {name: np.array(found) for name, found in pairs.items()}
    return [
        "Regret at 30 full trainings, the same replays with and without crashes. All is"
        " the mean of the tables' means; intervals are of replays drawn again from each"
        " table.",
        "",
        "| table | without | with crashes | growth (95%) | replays |",
        "| --- | --- | --- | --- | --- |",
        failure_row("all", list(tables.values())),
        *(failure_row(name, [found]) for name, found in tables.items()),
    ]


def failure_row(name: str, tables: Sequence[NDArray[np.float64]]) -> str:
    """Return a line of the table of failures.

    Args:
        tables: of each table an array of replays × (without, with crashes).
    """
    rng = np.random.default_rng(0)
    drawn = np.array([means_of(tables, rng) for _ in range(RESAMPLES)])
    before, after = np.mean([table.mean(0) for table in tables], 0)
    growth = 100 * (drawn[:, 1] / np.maximum(drawn[:, 0], 1e-9) - 1)
    cells = [
        name,
        f"{before:.3f} ({bounds(drawn[:, 0], '.3f')})",
        f"{after:.3f} ({bounds(drawn[:, 1], '.3f')})",
        f"{100 * (after / before - 1):+.0f}% ({bounds(growth, '+.0f')})",
        str(sum(map(len, tables))),
    ]
    return f"| {' | '.join(cells)} |"


def means_of(
    tables: Sequence[NDArray[np.float64]], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the mean of the means of tables whose replays are drawn again."""
    again = [table[rng.integers(0, len(table), len(table))] for table in tables]
    return np.asarray(np.mean([table.mean(0) for table in again], 0))


def bounds(drawn: NDArray[np.float64], digits: str) -> str:
    """Return the middle 95% of values."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{low:{digits}} to {high:{digits}}"


def idle_table(records: Sequence[Record], marks: Sequence[int]) -> list[str]:
    """Return idle time and regret with four workers."""
    lines = [
        "| tuner | idle | regret at 10 | at 30 | replays |",
        "| --- | --- | --- | --- | --- |",
    ]
    for tuner in LABELS:
        chosen = [r for r in records if r["tuner"] == tuner and r["workers"] == 4]
        if chosen:
            idle = 100 * np.mean([r["idle"] for r in chosen])
            ten, thirty = (
                interval([v for r in chosen if (v := at(r, marks, m)) is not None])
                for m in (10, 30)
            )
            label = LABELS[tuner]
            lines.append(
                f"| {label} | {idle:.2f}% | {ten} | {thirty} | {len(chosen)} |"
            )
    return lines


def draw(records: Sequence[Record], marks: Sequence[int], own: str, path: Path) -> None:
    """Draw mean regret over the budget, a panel a group of tables."""
    mpl.use("Agg")
    shown = [
        (title, [r for r in records if is_in(r, mapping, is_own, own)])
        for title, mapping, is_own in GROUPS
    ]
    shown = [(title, chosen) for title, chosen in shown if chosen]
    figure, axes = plt.subplots(
        1,
        len(shown),
        figsize=(max(10.2, 3.4 * len(shown)), 3.9),
        sharey=True,
        squeeze=False,
    )
    for axis, (title, chosen) in zip(axes[0], shown, strict=True):
        columns = {mark: alike(regrets(chosen, marks, mark)) for mark in marks}
        for tuner, (colour, style) in LINES.items():
            means = {
                mark: np.mean(list(found[tuner].values()))
                for mark, found in columns.items()
                if found.get(tuner)
            }
            if not means:
                continue
            axis.plot(
                list(means),
                list(means.values()),
                style,
                color=colour,
                lw=2.4 if tuner == "bohb" else 1.4,
                label=LABELS[tuner],
                zorder=3 if tuner == "bohb" else 2,
            )
        axis.set(title=title, xscale="log", xlabel="full trainings spent")
        axis.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set(ylabel="mean normalised regret", ylim=(0, 1.02))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=8.5
    )
    figure.tight_layout(rect=(0, 0.2, 1, 1))
    figure.savefig(path, dpi=140)


def is_in(record: Record, mapping: str, is_own: bool, own: str) -> bool:
    """Return whether a record belongs to a group of tables."""
    return record["mapping"] == mapping and (record["table"] == own) == is_own


def write_summary(path: Path, records: Sequence[Record], about: Record) -> None:
    """Write every cell, with what the run was, compactly."""
    lines = [json.dumps(record, separators=(",", ":")) for record in records]
    head = json.dumps(about, indent=1)[:-2]
    path.write_text(head + ',\n "cells": [\n' + ",\n".join(lines) + "\n]}\n")
