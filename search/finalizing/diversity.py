"""Which trials are retrained: good ones that differ. Pure functions of the records.

Greedy: the best trial first; then, again and again, the one whose score, less its
likeness to what was taken, is highest. A copy of a taken trial must be much better
than the others to be taken, too; one that is far below the best is taken where there
are no others.
"""

import math
from collections.abc import Sequence

from search.records import Direction, Trial, Value, Values, ranked

# What likeness costs: as much as half of the scores' spread, for a copy.
LIKENESS_WEIGHT = 0.5
# Trials that are looked at, for each that is taken.
CANDIDATES_PER_PLACE = 3
# A positive knob that spans this factor is compared by its logarithm.
LOGARITHMIC_FACTOR = 10.0


def likeness(first: Values, second: Values, spans: dict[str, float]) -> float:
    """Return how alike two configurations are: 0 (nothing in common) to 1 (equal).

    The mean over the knobs that either has: 1 minus the distance of numbers as a
    share of the knob's span; 1 or 0 for other values; 0 where one lacks the knob.

    Args:
        spans: from `knob_spans`; a knob absent there is compared for equality.
    """
    knobs = sorted({*first, *second})
    if not knobs:
        return 1.0
    shares = [
        knob_likeness(first[knob], second[knob], spans.get(knob))
        if knob in first and knob in second
        else 0.0
        for knob in knobs
    ]
    return sum(shares) / len(shares)


def knob_likeness(first: Value, second: Value, span: float | None) -> float:
    """Return the likeness of one knob, 0–1; a negative span means: by logarithm."""
    if first == second:
        return 1.0
    if span is None or isinstance(first, str) or isinstance(second, str):
        return 0.0
    if span < 0:
        return 1 - min(1.0, abs(math.log(first / second)) / -span)
    return 1 - min(1.0, abs(first - second) / span)


def knob_spans(values: Sequence[Values]) -> dict[str, float]:
    """Return knob -> largest minus smallest value, for numeric knobs that vary.

    Negative, and of the logarithm, where values are positive and span a factor of 10.
    """
    spans = {}
    for knob in {knob for item in values for knob in item}:
        found = [item[knob] for item in values if knob in item]
        numbers = [
            float(value)
            for value in found
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(numbers) < len(found) or max(numbers) == min(numbers):
            continue
        low, high = min(numbers), max(numbers)
        is_wide = low > 0 and high / low >= LOGARITHMIC_FACTOR
        spans[knob] = -math.log(high / low) if is_wide else high - low
    return spans


def choose_different(
    trials: Sequence[Trial], direction: Direction, top: int
) -> list[tuple[Trial, str]]:
    """Return at most `top` trials to be retrained, and why each was taken."""
    best_first = ranked(trials, direction)
    pool = best_first[: CANDIDATES_PER_PLACE * top]
    if not pool:
        return []
    spans = knob_spans([trial.values for trial in best_first])
    sign = 1 if direction == "max" else -1
    scores = {t.trial_id: sign * (t.score or 0.0) for t in pool}
    lowest, highest = min(scores.values()), max(scores.values())
    spread = highest - lowest or 1.0
    taken: list[tuple[Trial, str]] = [(pool[0], reason(pool[0], best_first, None))]

    def nearest(trial: Trial) -> float:
        return max(likeness(trial.values, other.values, spans) for other, _ in taken)

    def gain(trial: Trial) -> float:
        share = (scores[trial.trial_id] - lowest) / spread
        return share - LIKENESS_WEIGHT * nearest(trial)

    while len(taken) < min(top, len(pool)):
        known = {trial.trial_id for trial, _ in taken}
        chosen = max((t for t in pool if t.trial_id not in known), key=gain)
        taken.append((chosen, reason(chosen, best_first, nearest(chosen))))
    return taken


def reason(trial: Trial, best_first: Sequence[Trial], nearest: float | None) -> str:
    """Say why a trial was taken, in one phrase."""
    rank = best_first.index(trial) + 1
    score = f"score {trial.score:.4f} in epoch {trial.best_epoch}"
    if nearest is None:
        return f"the best of {len(best_first)} scored trials: {score}"
    return (
        f"rank {rank} of {len(best_first)} scored trials: {score};"
        f" likeness to those already taken {nearest:.2f}"
    )
