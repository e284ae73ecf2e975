"""Metrics of stored predictions: what finalists, ensembles and exports are judged by.

Probabilities and targets come as arrays (or memory maps) and are read a few images at a
time. Classification: probabilities (images, classes), labels (images,). Segmentation:
foreground probabilities (images, height, width), masks uint8 of the same shape with
0 background, 1 foreground and 255 void, which counts nowhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Metrics, Task, finite

Array = NDArray[Any]

VOID = 255
# Keras' own epsilon of cross-entropies.
EPSILON = 1e-7
CALIBRATION_BINS = 15
TOP = 5
# Values read at a time: 32 MB as float32.
CHUNK_VALUES = 1 << 23
TEMPERATURES = (0.05, 20.0)
THRESHOLDS = (np.arange(5, 96) / 100).astype(np.float32)


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of each image, void left out; every array is (images,) int64."""

    true_positives: Array
    false_positives: Array
    false_negatives: Array
    true_negatives: Array

    @property
    def foreground(self) -> Array:
        return self.true_positives + self.false_negatives

    @property
    def background(self) -> Array:
        return self.true_negatives + self.false_positives


def evaluate(
    task: Task,
    probabilities: Array,
    targets: Array,
    *,
    temperature: float = 1.0,
    threshold: float = 0.5,
) -> Metrics:
    """Return metric -> value under Keras' log keys; None where there is none.

    Args:
        temperature: divides the logarithm of the probabilities (classification).
        threshold: a pixel is foreground from this probability on (segmentation).
    """
    check_shapes(task, probabilities, targets)
    if task == "classification":
        metrics = classification_metrics(probabilities, targets, temperature)
    else:
        metrics = segmentation_metrics(count_pixels(probabilities, targets, threshold))
    return {name: finite(value) for name, value in metrics.items()}


def score(task: Task, probabilities: Array, targets: Array) -> tuple[float, ...]:
    """Return what ensembles are selected by; higher is better, compared in order.

    Classification: accuracy, then the negative log-likelihood. Segmentation: Dice.
    """
    check_shapes(task, probabilities, targets)
    if task == "classification":
        metrics = classification_metrics(probabilities, targets, 1.0)
        return metrics["accuracy"], -metrics["nll"]
    counts = count_pixels(probabilities, targets, 0.5)
    return (dice(counts),)


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


def chunks(array: Array) -> Iterator[slice]:
    """Yield slices over the images of an array, each of bounded size."""
    step = max(1, CHUNK_VALUES // max(1, array[0].size)) if len(array) else 1
    for start in range(0, len(array), step):
        yield slice(start, start + step)


def scaled(probabilities: Array, temperature: float) -> Array:
    """Return softmax(log p / temperature) as float64; the arg-max stays where it is."""
    exact = np.asarray(probabilities, np.float64)
    if temperature == 1:
        return exact
    logits = np.log(np.maximum(exact, EPSILON)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def classification_metrics(
    probabilities: Array, labels: Array, temperature: float
) -> dict[str, float]:
    """Return accuracy, top-5, NLL, Brier score and expected calibration error."""
    classes = probabilities.shape[1]
    columns = [
        label_statistics(scaled(probabilities[part], temperature), labels[part])
        for part in chunks(probabilities)
    ]
    rank, likelihood, brier, confidence = np.concatenate(columns, axis=1)
    metrics = {"accuracy": float(np.mean(rank == 0))}
    if classes > TOP:
        metrics["top5_accuracy"] = float(np.mean(rank < TOP))
    return metrics | {
        "nll": float(-np.mean(np.log(np.maximum(likelihood, EPSILON)))),
        "brier": float(np.mean(brier)),
        "ece": calibration_error(confidence, rank == 0),
    }


def label_statistics(probabilities: Array, labels: Array) -> Array:
    """Return (4, images): rank of the true label, its probability, Brier, confidence.

    Among equal probabilities the lower class ranks first, as in arg-max.
    """
    rows = np.arange(len(labels))
    true = probabilities[rows, labels]
    classes = np.arange(probabilities.shape[1])
    ahead = probabilities > true[:, None]
    ahead |= (probabilities == true[:, None]) & (classes < labels[:, None])
    brier = np.sum(probabilities**2, axis=1) - 2 * true + 1
    return np.stack([ahead.sum(axis=1), true, brier, probabilities.max(axis=1)])


def calibration_error(confidence: Array, correct: Array) -> float:
    """Return the expected calibration error in 15 bins (Guo et al. 2017, eq. 3)."""
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    gaps = np.bincount(bins, correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def fit_temperature(probabilities: Array, labels: Array) -> float:
    """Return the temperature with the lowest NLL (Guo et al. 2017), 0.05–20."""
    # Half a second to import, which listing verbs need not wait for.
    from scipy import optimize

    check_shapes("classification", probabilities, labels)
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), EPSILON))
    rows = np.arange(len(labels))

    def nll(log_temperature: float) -> float:
        scores = logits / np.exp(log_temperature)
        scores -= scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scores).sum(axis=1))
        return float(np.mean(log_sums - scores[rows, labels]))

    best = optimize.minimize_scalar(nll, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x)) if best.fun < nll(0.0) else 1.0


def count_pixels(probabilities: Array, masks: Array, threshold: float) -> PixelCounts:
    """Count the pixels of each image that are right and wrong at a threshold."""
    columns = []
    for part in chunks(masks):
        # As float32: a comparison in float16 would round the threshold.
        chosen = np.asarray(probabilities[part], np.float32) >= threshold
        truth = masks[part] == 1
        counted = masks[part] != VOID
        cases = [chosen & truth, chosen & ~truth, ~chosen & truth, ~chosen & ~truth]
        columns.append([(case & counted).sum(axis=(1, 2)) for case in cases])
    return PixelCounts(
        *(np.concatenate(column) for column in zip(*columns, strict=True))
    )


def segmentation_metrics(counts: PixelCounts) -> dict[str, float]:
    """Return overlap and pixel accuracy, beside what no network at all would score."""
    foreground, background = counts.foreground.sum(), counts.background.sum()
    measured = foreground + background
    right = counts.true_positives.sum() + counts.true_negatives.sum()
    return {
        "dice": dice(counts),
        "foreground_iou": foreground_iou(counts),
        "pixel_accuracy": ratio(right, measured),
        "dice_per_image": mean_over_images(counts, dice_parts(counts)),
        "foreground_iou_per_image": mean_over_images(counts, iou_parts(counts)),
        "all_foreground_dice": ratio(2 * foreground, foreground + measured),
        "all_background_pixel_accuracy": ratio(background, measured),
    }


def dice_parts(counts: PixelCounts) -> tuple[Array, Array]:
    """Return numerator and denominator of Dice for each image."""
    wrong = counts.false_positives + counts.false_negatives
    return 2 * counts.true_positives, 2 * counts.true_positives + wrong


def iou_parts(counts: PixelCounts) -> tuple[Array, Array]:
    """Return intersection and union of the foreground for each image."""
    wrong = counts.false_positives + counts.false_negatives
    return counts.true_positives, counts.true_positives + wrong


def dice(counts: PixelCounts) -> float:
    """Return Dice over all pixels; 1 where there is nothing and nothing was found."""
    return over_all_pixels(counts, dice_parts(counts))


def foreground_iou(counts: PixelCounts) -> float:
    """Return the IoU of the foreground over all pixels, like `dice` at the edge."""
    return over_all_pixels(counts, iou_parts(counts))


def over_all_pixels(counts: PixelCounts, parts: tuple[Array, Array]) -> float:
    """Return the ratio of two sums; NaN where every pixel is void."""
    numerator, denominator = (part.sum() for part in parts)
    if denominator == 0 and counts.background.sum() > 0:
        return 1.0
    return ratio(numerator, denominator)


def mean_over_images(counts: PixelCounts, parts: tuple[Array, Array]) -> float:
    """Return the mean ratio of the images; those that are all void do not count."""
    numerator, denominator = parts
    measured = counts.foreground + counts.background > 0
    ratios = np.where(denominator > 0, numerator / np.maximum(denominator, 1), 1.0)
    return ratio(ratios[measured].sum(), measured.sum())


def ratio(numerator: float, denominator: float) -> float:
    """Divide; NaN where there is nothing to divide by."""
    return float(numerator / denominator) if denominator else float("nan")


def fit_threshold(probabilities: Array, masks: Array) -> float:
    """Return the threshold (0.05–0.95) with the best Dice, of equals nearest to 0.5."""
    check_shapes("segmentation", probabilities, masks)
    steps = len(THRESHOLDS) + 1
    foreground = np.zeros(steps, np.int64)
    background = np.zeros(steps, np.int64)
    for part in chunks(masks):
        values = np.asarray(probabilities[part], np.float32)
        passed = np.searchsorted(THRESHOLDS, values, side="right")
        foreground += np.bincount(passed[masks[part] == 1], minlength=steps)
        background += np.bincount(passed[masks[part] == 0], minlength=steps)
    # A pixel that has passed k thresholds is foreground at each of the first k.
    found = foreground[::-1].cumsum()[::-1][1:]
    invented = background[::-1].cumsum()[::-1][1:]
    overlap = 2 * found / np.maximum(1, foreground.sum() + found + invented)
    best = np.flatnonzero(overlap == overlap.max())
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
