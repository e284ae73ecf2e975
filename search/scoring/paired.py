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
# Metrics that are a share of the validation images: no finer than one of them.
SHARES = ("accuracy", "top5_accuracy", "coarse_accuracy")
# Scores are sums in float32: two that are equal may differ so much, as a share of them.
FLOAT32_NOISE = 2.0**-22
EACH_FOR_ITSELF = (
    "Each interval stands for itself: of twenty comparisons without any effect, one is"
    " expected to miss zero."
)


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


def resolution_of(objective: str, images: int) -> float:
    """Return the smallest step of a score on so many validation images, or 0."""
    return 1 / images if objective.removeprefix("val_") in SHARES and images else 0.0


def spread_of(sample: Sequence[float]) -> float:
    """Return the standard deviation of at least two numbers."""
    mean = math.fsum(sample) / len(sample)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1))


def mean_interval(
    sample: Sequence[float], least_spread: float = 0.0
) -> tuple[float, float] | None:
    """Return Student's 95 % interval of the mean; None with fewer than two numbers.

    Source: Student 1908; the quantile from scipy.

    Args:
        least_spread: of numbers whose equality may be an accident of rounding.
    """
    from scipy import stats

    n = len(sample)
    if n < 2:
        return None
    mean = math.fsum(sample) / n
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    half = quantile * max(spread_of(sample), least_spread) / math.sqrt(n)
    return mean - half, mean + half


def difference(
    value: str,
    reference: str,
    scores: Sequence[tuple[float, float]],
    resolution: float | None = None,
) -> Difference:
    """Return the paired difference of (score of value, score of reference) pairs.

    Args:
        resolution: the smallest step of a score, 0 = that of float32. Seeds that agree
            to within it may do so by accident: their spread counts as one step. None =
            it counts as it is, as in records of earlier versions.
    """
    by_seed = [score - other for score, other in scores]
    mean = math.fsum(by_seed) / len(by_seed) if by_seed else None
    least = 0.0
    if by_seed and resolution is not None:
        noise = FLOAT32_NOISE * max(abs(score) for pair in scores for score in pair)
        least = max(resolution, noise)
    low, high = mean_interval(by_seed, least) or (None, None)
    return Difference(value, reference, mean, low, high, by_seed)


def verdict(
    difference: Difference, sign: int, metric: str, images: int | None = None
) -> str:
    """Say in words what a difference shows.

    Args:
        sign: 1 where a higher score is better, -1 where a lower one is.
        images: on which all were scored; None = not said.
    """
    value, reference = difference.value, difference.reference
    n = len(difference.by_seed)
    if difference.mean is None:
        return f"{value} against {reference}: no seed finished both."
    if n < 2:
        return (
            f"{value} against {reference}: {metric} {difference.mean:+.4f} with one"
            " seed; that says little, repeat with --seeds 3 or more."
        )
    assert difference.low is not None and difference.high is not None
    interval = f"95 % interval {difference.low:+.4f} to {difference.high:+.4f}"
    sample = f"n = {n} seeds"
    if images is not None:
        sample += f" on the same {images:,} validation images"
    told = f"{metric} {difference.mean:+.4f} ({interval}, {sample})"
    if difference.low <= 0 <= difference.high:
        return f"{value} against {reference}: no difference can be told: {told}."
    word = "better" if sign * difference.mean > 0 else "worse"
    return f"{value} is {word} than {reference}: {told}."
