"""Do the tuners keep their order on tables that nobody has looked at?

    python -m benchmarks.generated --tuner bohb --tuner kt-hyperband

replays tuners on generated tables: quality and speed are random smooth functions of 4
to 12 knobs, some of which hardly matter, and the families differ in what the first
epochs say of the last ones. Prints mean normalised regret, a row a tuner.
"""

import argparse
from collections.abc import Callable, Iterator

import keras_tuner as kt
import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

import benchmarks.one_thread  # noqa: F401
from benchmarks.search_efficiency import MARKS, Cell, run_cell
from benchmarks.tables import Table, make_table

Array = NDArray[np.float64]
CONFIGURATIONS = 1000
BUMPS = 12
SHOWN = (3, 10, 30)
TUNERS = ("bohb", "optuna-random-sha", "kt-hyperband")


def smooth(rng: np.random.Generator, knobs: int) -> Callable[[Array], Array]:
    """Return a random function of (n, knobs): bumps, of a width of its own a knob."""
    relevance = rng.gamma(0.6, 1.0, knobs)
    relevance /= relevance.max()
    centres, heights = rng.random((BUMPS, knobs)), rng.normal(size=BUMPS)

    def value(points: Array) -> Array:
        away = ((points[:, None] - centres) ** 2 * relevance).sum(2)
        return standardised(np.exp(-away / 0.36) @ heights)

    return value


def standardised(values: Array) -> Array:
    result: Array = (values - values.mean()) / values.std()
    return result


def steady(final: Array, speed: Array, ramp: Array, rng: np.random.Generator) -> Array:
    """Every curve rises to its end; slow ones cross fast ones."""
    return final[:, None] * ramp


def late(final: Array, speed: Array, ramp: Array, rng: np.random.Generator) -> Array:
    """What learns fast ends low."""
    ends = np.maximum(final - 0.15 * np.tanh(speed), 0.0)
    return ends[:, None] * ramp


def misleading(
    final: Array, speed: Array, ramp: Array, rng: np.random.Generator
) -> Array:
    """A sixth never learns, but starts ahead; the best get worse before better."""
    epochs = ramp.shape[1]
    dip = np.exp(-np.arange(1, epochs + 1) / (0.06 * epochs))
    curves = final[:, None] * (ramp - 0.25 * dip)
    never = rng.random(len(final)) < 1 / 6
    curves[never] = (0.02 + 0.02 * rng.random(never.sum()))[:, None]
    return curves


def noisy(final: Array, speed: Array, ramp: Array, rng: np.random.Generator) -> Array:
    """As steady, and every epoch errs by 0.02."""
    return final[:, None] * ramp + 0.02 * rng.normal(size=ramp.shape)


FAMILIES = {f.__name__: f for f in (steady, late, misleading, noisy)}


def generated(family: str, seed: int) -> Table:
    """Return a table of a family: a function of the seed."""
    rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
    knobs, epochs = int(rng.integers(4, 13)), int(rng.choice([20, 27, 40, 50, 81]))
    space = kt.HyperParameters()
    for number in range(knobs):
        space.Float(f"knob{number}", 0.0, 1.0, default=0.5)
    points = rng.random((CONFIGURATIONS, knobs))
    away = (points - rng.random(knobs)) ** 2 * rng.gamma(0.7, 1.0, knobs)
    quality = standardised(smooth(rng, knobs)(points) - standardised(away.sum(1)))
    final = 0.75 / (1.0 + np.exp(1.0 - quality))
    speed = standardised(smooth(rng, knobs)(points) + 2.0 * points[:, 0])
    span = 0.15 * epochs * np.exp(-0.9 * speed)
    ramp = 1.0 - np.exp(-np.arange(1, epochs + 1) / span[:, None])
    curves = FAMILIES[family](final, speed, ramp, rng)
    curves = curves + 0.003 * rng.normal(size=curves.shape)
    configurations = [
        {f"knob{number}": float(value) for number, value in enumerate(row)}
        for row in points
    ]
    return make_table(f"{family}-{seed}", space, configurations, curves)


def cells(seeds: int, tuner: str) -> Iterator[tuple[Table, Cell]]:
    """Yield the replays of a tuner: every seed is another table."""
    for seed in range(seeds):
        for family in FAMILIES:
            table = generated(family, seed)
            for mapping in ("nearest", "unused"):
                yield table, Cell(tuner, table.name, mapping, seed)


def regrets(seeds: int, tuner: str) -> Array:
    """Return the regret of every replay, (replays, SHOWN)."""
    found = [run_cell(cell, table)["regret"] for table, cell in cells(seeds, tuner)]
    return np.array([[regret[MARKS.index(mark)] for mark in SHOWN] for regret in found])


def row(tuner: str, found: Array, first: Array) -> str:
    """Return a line of the table: means, tests and the families at the last mark."""
    means = [f"{mean:.3f}" for mean in found.mean(0)]
    tests = [
        f"{wilcoxon(ours, theirs, alternative='less').pvalue:.3f}"
        for ours, theirs in zip(first.T, found.T, strict=True)
        if (ours != theirs).any()
    ]
    tasks = found[:, -1].reshape(-1, len(FAMILIES), 2).mean(0)
    families = [f"{nearest:.3f}, {unused:.3f}" for nearest, unused in tasks]
    return "| " + " | ".join([tuner, *means, ", ".join(tests), *families]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tuner", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=6, help="tables a family")
    options = parser.parse_args()
    marks = [f"at {mark}" for mark in SHOWN]
    heads = ["tuner", *marks, "p of the first's being less", *FAMILIES]
    print("| " + " | ".join(heads) + " |")
    print("|" + " --- |" * len(heads))
    first: Array | None = None
    for tuner in options.tuner or TUNERS:
        found = regrets(options.seeds, tuner)
        first = found if first is None else first
        print(row(tuner, found, first), flush=True)


if __name__ == "__main__":
    main()
