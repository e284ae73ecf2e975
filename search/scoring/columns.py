"""Metrics as sums over images, from which scores and their intervals are both made.

Classification: probabilities (images, classes), labels (images,). Segmentation:
foreground probabilities (images, height, width), masks uint8 of the same shape with
0 background, 1 foreground and 255 void, which counts nowhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import VOID
from search.scoring.calibration import (
    BINS,
    EPSILON,
    PIXEL_EPSILON,
    confidence_gaps,
    scaled,
)
from search.scoring.intervals import Column

Array = NDArray[Any]

TOP = 5
# Values read at a time: 32 MB as float32.
CHUNK_VALUES = 1 << 23


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

    @property
    def measured(self) -> Array:
        return self.foreground + self.background

    @property
    def wrong(self) -> Array:
        return self.false_positives + self.false_negatives


def chunks(array: Array) -> Iterator[slice]:
    """Yield slices over the images of an array, each of bounded size."""
    step = max(1, CHUNK_VALUES // max(1, array[0].size)) if len(array) else 1
    for start in range(0, len(array), step):
        yield slice(start, start + step)


def classification_columns(
    probabilities: Array,
    labels: Array,
    temperature: float = 1.0,
    coarse: Array | None = None,
) -> dict[str, Column]:
    """Return accuracy, top-5, coarse accuracy, NLL, Brier score and calibration error.

    Args:
        coarse: (classes,) coarse class of each class, where there are such.
    """
    rows = [
        label_statistics(
            scaled("classification", probabilities[part], temperature), labels[part]
        )
        for part in chunks(probabilities)
    ]
    rank, likelihood, brier, confidence = np.concatenate(rows, axis=1)
    ones = np.ones(len(labels))
    columns = {"accuracy": Column((rank == 0).astype(float), ones)}
    if probabilities.shape[1] > TOP:
        columns["top5_accuracy"] = Column((rank < TOP).astype(float), ones)
    if coarse is not None:
        right = [
            coarse_right(
                scaled("classification", probabilities[part], temperature),
                labels[part],
                coarse,
            )
            for part in chunks(probabilities)
        ]
        columns["coarse_accuracy"] = Column(np.concatenate(right).astype(float), ones)
    bins, gaps = confidence_gaps(confidence, rank == 0)
    spread = np.zeros((len(labels), BINS))
    spread[np.arange(len(labels)), bins] = gaps
    nll = -np.log(np.maximum(likelihood, EPSILON))
    return columns | {
        "nll": Column(nll, ones),
        "brier": Column(brier, ones),
        "ece": Column(spread, ones),
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


def coarse_right(probabilities: Array, labels: Array, coarse: Array) -> Array:
    """Return whether the coarse class with the largest summed probability is right."""
    members = np.eye(int(coarse.max()) + 1)[coarse]
    found = (np.asarray(probabilities, np.float64) @ members).argmax(axis=1)
    return np.asarray(found == coarse[labels])


def count_pixels(
    probabilities: Array, masks: Array, threshold: float, temperature: float = 1.0
) -> PixelCounts:
    """Count the pixels of each image that are right and wrong at a threshold."""
    columns = []
    for part in chunks(masks):
        # As float32: a comparison in float16 would round the threshold.
        values = scaled("segmentation", probabilities[part], temperature)
        chosen = values.astype(np.float32) >= threshold
        truth = masks[part] == 1
        counted = masks[part] != VOID
        cases = [chosen & truth, chosen & ~truth, ~chosen & truth, ~chosen & ~truth]
        columns.append([(case & counted).sum(axis=(1, 2)) for case in cases])
    return PixelCounts(
        *(np.concatenate(column) for column in zip(*columns, strict=True))
    )


def overlap_columns(counts: PixelCounts, prefix: str = "") -> dict[str, Column]:
    """Return overlap and pixel accuracy, beside what no network at all would score.

    Over all pixels where not said otherwise; 1 where there is nothing and nothing was
    found.
    """
    foreground, background = counts.foreground, counts.background
    measured, hits = counts.measured, counts.true_positives
    empty = 1.0 if measured.sum() else float("nan")
    dice = Column(2 * hits, 2 * hits + counts.wrong, empty)
    iou = Column(hits, hits + counts.wrong, empty)
    right = hits + counts.true_negatives
    columns = {
        "dice": dice,
        "foreground_iou": iou,
        "pixel_accuracy": Column(right, measured),
        "dice_per_image": per_image(dice, measured),
        "foreground_iou_per_image": per_image(iou, measured),
        "all_foreground_dice": Column(2 * foreground, foreground + measured),
        "all_foreground_iou": Column(foreground, measured),
        "all_background_pixel_accuracy": Column(background, measured),
    }
    return {prefix + name: column for name, column in columns.items()}


def per_image(column: Column, measured: Array) -> Column:
    """Return the mean of a ratio over the images that are not all void."""
    counts = measured > 0
    safe = np.where(column.size > 0, column.size, 1)
    ratios = np.where(column.size > 0, column.parts / safe, 1.0)
    return Column(ratios * counts, counts.astype(float))


def pixel_calibration_columns(
    probabilities: Array, masks: Array, temperature: float
) -> dict[str, Column]:
    """Return NLL, Brier score and calibration error of single pixels."""
    rows = [
        pixel_statistics(
            scaled("segmentation", probabilities[part], temperature), masks[part]
        )
        for part in chunks(masks)
    ]
    nll, brier, gaps, measured = (np.concatenate(c) for c in zip(*rows, strict=True))
    return {
        "nll": Column(nll, measured),
        "brier": Column(brier, measured),
        "ece": Column(gaps, measured),
    }


def pixel_statistics(
    foreground: Array, masks: Array
) -> tuple[Array, Array, Array, Array]:
    """Return sums over the pixels of each image: NLL, Brier, gaps by bin, pixels."""
    images = len(masks)
    counted, truth = masks != VOID, masks == 1
    clipped = np.clip(foreground, PIXEL_EPSILON, 1 - PIXEL_EPSILON)
    nll = -np.log(np.where(truth, clipped, 1 - clipped))
    brier = 2 * (foreground - truth) ** 2
    confidence = np.maximum(foreground, 1 - foreground)
    bins, gap = confidence_gaps(confidence, (foreground >= 0.5) == truth)
    places = bins + BINS * np.arange(images)[:, None, None]
    gaps = np.bincount(
        places[counted], weights=gap[counted], minlength=BINS * images
    ).reshape(images, BINS)
    return (
        (nll * counted).sum(axis=(1, 2)),
        (brier * counted).sum(axis=(1, 2)),
        gaps,
        counted.sum(axis=(1, 2)).astype(float),
    )
