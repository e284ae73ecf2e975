"""Metrics of stored predictions: what finalists, ensembles and exports are judged by.

Probabilities and targets come as arrays (or memory maps), as
`search.scoring.columns` says, and are read a few images at a time.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import JUDGED, Metrics, Task
from search.scoring.calibration import scaled
from search.scoring.columns import (
    PixelCounts,
    chunks,
    classification_columns,
    count_pixels,
    overlap_columns,
    pixel_calibration_columns,
)
from search.scoring.intervals import Column, point

Array = NDArray[Any]

THRESHOLDS = (np.arange(5, 96) / 100).astype(np.float32)


def evaluate(
    task: Task,
    probabilities: Array,
    targets: Array,
    *,
    temperature: float = 1.0,
    threshold: float = 0.5,
    coarse: Array | None = None,
) -> Metrics:
    """Return metric -> value under Keras' log keys; None where there is none.

    Args: as of `columns_of`.
    """
    return point(
        columns_of(
            task,
            probabilities,
            targets,
            temperature=temperature,
            threshold=threshold,
            coarse=coarse,
        )
    )


def columns_of(
    task: Task,
    probabilities: Array,
    targets: Array,
    *,
    temperature: float = 1.0,
    threshold: float = 0.5,
    coarse: Array | None = None,
) -> dict[str, Column]:
    """Return every metric as sums over images.

    Args:
        temperature: of the probabilities, see `search.scoring.calibration`.
        threshold: a pixel is foreground from this (scaled) probability on.
        coarse: (classes,) coarse class of each class, where there are such.
    """
    check_shapes(task, probabilities, targets)
    if task == "classification":
        return classification_columns(probabilities, targets, temperature, coarse)
    counts = count_pixels(probabilities, targets, threshold, temperature)
    return overlap_columns(counts) | pixel_calibration_columns(
        probabilities, targets, temperature
    )


def score(
    task: Task, probabilities: Array, targets: Array, metric: str | None = None
) -> tuple[float, ...]:
    """Return what ensembles are selected by; higher is better, compared in order.

    Classification: the metric, then the negative log-likelihood. Segmentation: the
    metric.

    Args:
        metric: of `JUDGED`; None = the first of the task.
    """
    check_shapes(task, probabilities, targets)
    name = metric or JUDGED[task][0]
    if task == "classification":
        metrics = point(classification_columns(probabilities, targets))
        return metrics.get(name) or 0.0, -(metrics["nll"] or 0.0)
    return (overlap(count_pixels(probabilities, targets, 0.5), name),)


def overlap(counts: PixelCounts, metric: str) -> float:
    """Return a metric over all pixels, NaN where all are void."""
    value = point(overlap_columns(counts))[metric]
    return float("nan") if value is None else value


def check_shapes(task: Task, probabilities: Array, targets: Array) -> None:
    """Refuse predictions and targets that do not belong together."""
    expected = targets.shape
    received = probabilities.shape
    if task == "classification":
        received = received[:1] if len(received) == 2 else received
    if not len(targets) or expected != received:
        raise ValueError(
            f"Expected predictions of {task} for targets of shape {targets.shape}."
            f" Received: predictions of shape {probabilities.shape}."
        )


def fit_threshold(
    probabilities: Array,
    masks: Array,
    temperature: float = 1.0,
    metric: str = "dice",
) -> float:
    """Return the threshold (0.05–0.95) with the best score, of equals nearest to 0.5.

    Args:
        metric: of `JUDGED`. IoU grows with Dice: their best threshold is the same.
    """
    check_shapes("segmentation", probabilities, masks)
    steps = len(THRESHOLDS) + 1
    foreground = np.zeros(steps, np.int64)
    background = np.zeros(steps, np.int64)
    for part in chunks(masks):
        values = scaled("segmentation", probabilities[part], temperature)
        passed = np.searchsorted(THRESHOLDS, values.astype(np.float32), side="right")
        foreground += np.bincount(passed[masks[part] == 1], minlength=steps)
        background += np.bincount(passed[masks[part] == 0], minlength=steps)
    # A pixel that has passed k thresholds is foreground at each of the first k.
    found = foreground[::-1].cumsum()[::-1][1:]
    invented = background[::-1].cumsum()[::-1][1:]
    if metric == "pixel_accuracy":  # the rest of it is the same at every threshold
        scores = found - invented
    else:
        scores = 2 * found / np.maximum(1, foreground.sum() + found + invented)
    best = np.flatnonzero(scores == scores.max())
    nearest = best[np.abs(THRESHOLDS[best] - 0.5).argmin()]
    return round(float(THRESHOLDS[nearest]), 2)


def agreement(
    task: Task, reference: Array, outputs: Array, threshold: float = 0.5
) -> tuple[float, float]:
    """Compare two predictions of the same images.

    Returns:
        The largest difference of a probability (infinite where one is not finite), and
        the fraction of labels or mask pixels that are the same.
    """
    if reference.shape != outputs.shape or not np.isfinite(outputs).all():
        return float("inf"), 0.0
    difference = float(np.abs(reference - outputs).max())
    if task == "classification":
        same = reference.argmax(axis=1) == outputs.argmax(axis=1)
    else:
        same = (reference >= threshold) == (outputs >= threshold)
    return difference, float(same.mean())
