"""How sure a test score is: bootstrap over test images, paired, and McNemar's test.

Every metric is a function of sums over images, so a resample is a vector of how often
each image was drawn, and one matrix product scores all resamples. Two models are scored
on the same resamples: their difference is far more certain than either score.

A calibration error is a sum of absolute values: chance makes it larger, and resampling
does so once more. Its interval is reflected at the score, which takes that off again.

Sources: Efron & Tibshirani 1993 (percentile intervals); Davison & Hinkley 1997 (basic,
here reflected, ones); McNemar 1947, exact form.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Metrics, finite

Array = NDArray[Any]

RESAMPLES = 2000
LEVEL = 0.95
# Metrics whose resamples lie above the score, by chance alone.
REFLECTED = ("ece",)
# Of fewer images resamples say little: most of them hold the same ones.
FEWEST_IMAGES = 10
# Counts held at a time: 64 MB as float64.
BATCH_VALUES = 1 << 23


@dataclass(frozen=True)
class Column:
    """One metric as sums over images.

    Attributes:
        parts: (images,) or (images, bins): what is summed.
        size: (images,) what the sum is divided by.
        empty: the value where there is nothing to divide by.

    The metric is the sum of |sums of parts| / sum of size.
    """

    parts: Array
    size: Array
    empty: float = float("nan")

    def values(self, counts: Array) -> Array:
        """Return the metric of each resample; counts is (resamples, images)."""
        parts = self.parts if self.parts.ndim == 2 else self.parts[:, None]
        top = np.abs(counts @ parts).sum(axis=1)
        size = counts @ self.size
        safe = np.where(size > 0, size, 1.0)
        return np.asarray(np.where(size > 0, top / safe, self.empty))


Columns = Mapping[str, Column]


def point(columns: Columns) -> Metrics:
    """Return every metric over all images."""
    return {
        name: finite(float(column.values(np.ones((1, len(column.size))))[0]))
        for name, column in columns.items()
    }


def resampled_counts(images: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each image is drawn, (some resamples, images) at a time."""
    rng = np.random.default_rng(seed)
    batch = max(1, min(resamples, BATCH_VALUES // max(1, images)))
    share = np.full(images, 1 / images)
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        yield rng.multinomial(images, share, size=size).astype(np.float64)


def resampled_values(
    models: Mapping[str, Columns], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Array]]:
    """Return model -> metric -> (resamples,) values on the same resamples."""
    images = len(next(iter(next(iter(models.values())).values())).size)
    drawn: dict[str, dict[str, list[Array]]] = {
        model: {name: [] for name in columns} for model, columns in models.items()
    }
    for counts in resampled_counts(images, resamples, seed):
        for model, columns in models.items():
            for name, column in columns.items():
                drawn[model][name].append(column.values(counts))
    return {
        model: {name: np.concatenate(parts) for name, parts in metrics.items()}
        for model, metrics in drawn.items()
    }


def interval(values: Array) -> list[float] | None:
    """Return the percentile interval of resampled values; None where one is absent."""
    if not np.isfinite(values).all():
        return None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return [float(low), float(high)]


def reflected(bounds: list[float] | None, value: float) -> list[float] | None:
    """Return the basic interval: the percentile one reflected at the value."""
    return None if bounds is None else [2 * value - bounds[1], 2 * value - bounds[0]]


def above_zero(bounds: list[float] | None) -> list[float] | None:
    """Return the part of an interval that is not negative; None where none is."""
    if bounds is None or bounds[1] <= 0:
        return None
    return [max(0.0, bounds[0]), bounds[1]]


def intervals(
    ensemble: Columns,
    single: Columns,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    mirrored: Collection[str] = REFLECTED,
    fewest: int = FEWEST_IMAGES,
) -> dict[str, Any]:
    """Return the intervals of both models and of their difference, metric by metric.

    Args:
        mirrored: metrics, none of them negative, with reflected intervals.
        fewest: with fewer images no interval is given.

    Returns:
        {"level", "resamples", "seed", "mirrored", "fewest", "ensemble": {metric:
        [low, high] or None}, "best_single": {…}, "difference": {metric: {"value",
        "interval"}}}; ensemble minus best single.
    """
    values = resampled_values(
        {"ensemble": ensemble, "best_single": single}, resamples, seed
    )
    points = {"ensemble": point(ensemble), "best_single": point(single)}
    is_enough = len(next(iter(single.values())).size) >= fewest

    def bounds_of(name: str, drawn: Array, value: float | None) -> list[float] | None:
        found = interval(drawn) if is_enough else None
        return reflected(found, value or 0.0) if name in mirrored else found

    difference = {}
    for name, value in points["best_single"].items():
        gain = finite((points["ensemble"][name] or 0.0) - (value or 0.0))
        drawn = values["ensemble"][name] - values["best_single"][name]
        difference[name] = {"value": gain, "interval": bounds_of(name, drawn, gain)}
    bounds = {
        model: {
            name: bounds_of(name, drawn, points[model][name])
            for name, drawn in metrics.items()
        }
        for model, metrics in values.items()
    }
    for metrics in bounds.values():
        metrics |= {k: above_zero(v) for k, v in metrics.items() if k in mirrored}
    return {
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "mirrored": list(mirrored),
        "fewest": fewest,
        **bounds,
        "difference": difference,
    }


def mcnemar(first_right: Array, second_right: Array) -> dict[str, float | int]:
    """Test whether two classifiers err equally often on the same images.

    Args:
        first_right, second_right: (images,) bool.

    Returns:
        How many images only one of them got right, and the exact two-sided p-value.
    """
    from scipy import stats

    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    differing = only_first + only_second
    p = stats.binomtest(only_first, differing).pvalue if differing else 1.0
    return {
        "only_ensemble_right": only_first,
        "only_best_single_right": only_second,
        "p_value": float(p),
    }
