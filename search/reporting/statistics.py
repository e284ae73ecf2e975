"""What a report computes from records: curves, agreement of ranks, importance."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Trial
from search.reporting.knobs import Knob, varied_knobs
from search.reporting.records import FAILED, StudyRecords

Z_95 = 1.959964
FEWEST_FOR_IMPORTANCE = 10
FEWEST_FOR_RANKS = 5
FOLDS, REPEATS, SHUFFLES, TREES = 5, 4, 5, 40


@dataclass(frozen=True)
class KnobImportance:
    """How much worse the score is predicted without the knob, in units of the score.

    `low` and `high` hold the middle 80 % of the folds.
    """

    name: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Permutation importance on trials the forest has not seen.

    Attributes:
        explained: fraction of the variance of unseen scores, mean of the repeats.
        epochs: scores are those after so many epochs; None = of whole trials.
    """

    knobs: list[KnobImportance]
    explained: float
    trials: int
    epochs: int | None


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's correlation of scores after `lower` and `upper` epochs."""

    lower: int
    upper: int
    scores: list[tuple[float, float]]
    correlation: float | None


def wilson_interval(fraction: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a fraction of n (Wilson 1927)."""
    middle = fraction + Z_95**2 / (2 * n)
    half = Z_95 * math.sqrt(fraction * (1 - fraction) / n + Z_95**2 / (4 * n * n))
    scale = 1 + Z_95**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def best_within(trial: Trial, records: StudyRecords, epochs: int) -> float | None:
    """Return the best objective of a trial's first `epochs` epochs."""
    history = trial.history.get(records.objective, [])[:epochs]
    finite = [value for value in history if value is not None]
    if not finite:
        return None
    return max(finite) if records.direction == "max" else min(finite)


def best_so_far(records: StudyRecords) -> list[tuple[int, float]]:
    """Return (epochs spent, best objective) at each gain, and at the end.

    Records hold no clock: trials are laid end to end in the order they were started.
    """
    sign = 1 if records.direction == "max" else -1
    steps: list[tuple[int, float]] = []
    spent = 0
    for trial in records.trials:
        values = trial.history.get(records.objective, ())
        for epoch, value in enumerate(values, start=1):
            is_gain = not steps or (value or 0) * sign > steps[-1][1] * sign
            if value is not None and is_gain and trial.state not in FAILED:
                steps.append((spent + epoch, value))
        spent += trial.epochs
    return [*steps, (spent, steps[-1][1])] if steps else []


def rank_agreements(records: StudyRecords) -> list[RankAgreement]:
    """Return the agreement of each pair of neighbouring rungs, and first with last."""
    rungs = records.rungs
    pairs = list(itertools.pairwise(rungs))
    if len(rungs) > 2:
        pairs.append((rungs[0], rungs[-1]))
    return [rank_agreement(records, lower, upper) for lower, upper in pairs]


def rank_agreement(records: StudyRecords, lower: int, upper: int) -> RankAgreement:
    """Compare what the trials that reached `upper` epochs scored at both rungs."""
    scores = []
    for trial in records.best:
        before = best_within(trial, records, lower)
        after = best_within(trial, records, upper)
        if trial.epochs >= upper and before is not None and after is not None:
            scores.append((before, after))
    return RankAgreement(lower, upper, scores, spearman(scores))


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Spearman's correlation, or None for too few or constant values."""
    if len(pairs) < FEWEST_FOR_RANKS:
        return None
    first, second = (average_ranks(side) for side in zip(*pairs, strict=True))
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def average_ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place], np.float64)


def knob_importance(records: StudyRecords) -> Importance | str:
    """Return how much each knob tells of the score, or why that cannot be said.

    Where trials were stopped at rungs, scores after the lowest rung are compared:
    every trial has one, and none had more epochs than another.
    """
    epochs = records.rungs[0] if len(records.rungs) > 1 else None
    knobs = varied_knobs(records.best)
    scored = []
    for trial in records.best:
        score = trial.score if epochs is None else best_within(trial, records, epochs)
        if score is not None:
            scored.append((trial, score))
    if len(scored) < FEWEST_FOR_IMPORTANCE or not knobs:
        return (
            f"Too few scored trials (n = {len(scored)}) to say how much each knob"
            f" matters; from {FEWEST_FOR_IMPORTANCE} on this is tried."
        )
    matrix = encoded([trial for trial, _ in scored], knobs)
    target = np.array([score for _, score in scored])
    explained, losses = forest_losses(matrix, target)
    if explained.min() <= 0:
        return (
            f"The knobs do not predict the score of trials left out (n ="
            f" {len(scored)}, explained variance {explained.mean():.2f} in"
            f" cross-validation), so no importance is given."
        )
    order = np.argsort(-losses.mean(axis=0), kind="stable")
    low, high = np.quantile(losses, (0.1, 0.9), axis=0)
    ranking = [
        KnobImportance(
            knobs[k].name, float(losses[:, k].mean()), float(low[k]), float(high[k])
        )
        for k in order
    ]
    return Importance(ranking, float(explained.mean()), len(scored), epochs)


def encoded(trials: Sequence[Trial], knobs: Sequence[Knob]) -> NDArray[np.float64]:
    """Return (trials, knobs): positions, and below all of them where not active."""
    matrix = np.full((len(trials), len(knobs)), np.nan)
    for row, trial in enumerate(trials):
        for column, knob in enumerate(knobs):
            if knob.name in trial.values:
                matrix[row, column] = knob.position(trial.values[knob.name])
    span = np.nanmax(matrix, axis=0) - np.nanmin(matrix, axis=0) + 1
    return np.where(np.isnan(matrix), np.nanmin(matrix, axis=0) - span, matrix)


def forest_losses(
    matrix: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return explained variance (repeats,) and loss by shuffling (folds, knobs).

    A loss is the growth of the mean absolute error on held-out trials when one knob
    is shuffled among them (Breiman 2001, on held-out data).
    """
    from sklearn.model_selection import RepeatedKFold

    random = np.random.default_rng(0)
    splits = RepeatedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=0)
    predicted = np.empty((REPEATS, len(target)))
    losses = []
    for index, (train, held_out) in enumerate(splits.split(matrix)):
        forest = fitted_forest(matrix[train], target[train])
        truth, seen = target[held_out], matrix[held_out]
        plain = forest.predict(seen)
        predicted[index // FOLDS, held_out] = plain
        guesses = forest.predict(shuffled(seen, random))
        errors = np.abs(guesses.reshape(SHUFFLES, -1, len(truth)) - truth)
        losses.append(errors.mean(axis=(0, 2)) - np.abs(plain - truth).mean())
    residual = ((predicted - target) ** 2).mean(axis=1)
    return 1 - residual / max(float(target.var()), 1e-30), np.array(losses)


def fitted_forest(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> Any:
    """Return a random forest of scores over knobs."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, max_features=0.5, random_state=0)
    return forest.fit(matrix, target)


def shuffled(
    seen: NDArray[np.float64], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return (SHUFFLES × knobs × trials, knobs): copies with one knob shuffled each.

    They are stacked, because one call of the forest is much faster than many.
    """
    _, knobs = seen.shape
    copies = np.tile(seen, (SHUFFLES, knobs, 1, 1))
    for repeat in range(SHUFFLES):
        for knob in range(knobs):
            copies[repeat, knob, :, knob] = random.permutation(seen[:, knob])
    return copies.reshape(-1, knobs)
