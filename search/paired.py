"""Paired differences: what changing one thing did, seed by seed, and how sure that is.

Two runs of a pair share everything but the changed knob: weights' seed, data order and
augmentation are functions of the seed. Their difference therefore varies less than
either score, and seeds are the sample: the interval is Student's, for the mean of
paired differences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Score of `value` minus score of `reference`, over seeds.

    Attributes:
        by_seed: difference of each seed both finished, in the order of the seeds.
        low, high: 95 % interval of the mean; None with fewer than two seeds.
    """

    value: str
    reference: str
    mean: float | None
    low: float | None
    high: float | None
    by_seed: list[float] = field(default_factory=list)


def mean_interval(sample: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the mean; None with fewer than two numbers.

    Source: Student 1908; the quantile from scipy.
    """
    from scipy import stats

    n = len(sample)
    if n < 2:
        return None
    mean = math.fsum(sample) / n
    spread = math.sqrt(math.fsum((x - mean) ** 2 for x in sample) / (n - 1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * spread / math.sqrt(n)
    return mean - half, mean + half


def difference(
    value: str, reference: str, scores: Sequence[tuple[float, float]]
) -> Difference:
    """Return the paired difference of (score of value, score of reference) pairs."""
    by_seed = [score - other for score, other in scores]
    mean = math.fsum(by_seed) / len(by_seed) if by_seed else None
    low, high = mean_interval(by_seed) or (None, None)
    return Difference(value, reference, mean, low, high, by_seed)


def verdict(difference: Difference, sign: int, metric: str) -> str:
    """Say in words what a difference shows.

    Args:
        sign: 1 where a higher score is better, -1 where a lower one is.
    """
    value, reference = difference.value, difference.reference
    n = len(difference.by_seed)
    if difference.mean is None:
        return f"{value} against {reference}: no seed finished both."
    if difference.low is None or difference.high is None:
        return (
            f"{value} against {reference}: {metric} {difference.mean:+.4f} with one"
            " seed; that says little, repeat with --seeds 3 or more."
        )
    interval = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
    told = f"{metric} {difference.mean:+.4f} ({interval}, n = {n} seeds)"
    if difference.low <= 0 <= difference.high:
        return f"{value} against {reference}: no difference can be told: {told}."
    word = "better" if sign * difference.mean > 0 else "worse"
    return f"{value} is {word} than {reference}: {told}."
