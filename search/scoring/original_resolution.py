"""Masks judged as users see them: at each image's own size, and by their outline.

The network's probabilities are resized (bilinear) to the image, cut at the threshold
and compared with the mask as it was drawn, exactly as `predict` writes masks.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.images import resize_probabilities
from search.scoring.boundaries import boundary_f
from search.scoring.calibration import scaled
from search.scoring.columns import PixelCounts, count_pixels, overlap_columns
from search.scoring.intervals import Column

Array = NDArray[Any]


def original_columns(
    probabilities: Array,
    masks: Iterable[Array],
    temperature: float,
    threshold: float,
) -> dict[str, Column]:
    """Return overlap and boundary F at original resolution, `original_…`.

    Args:
        probabilities: (images, height, width) of the foreground, at the network's size.
        masks: of each image at its own size: 0, 1 and 255 void.
    """
    counts, outlines = [], []
    for output, mask in zip(probabilities, masks, strict=True):
        values = scaled("segmentation", output, temperature).astype(np.float32)
        resized = resize_probabilities(values, *mask.shape)
        pixels = count_pixels(resized[None], mask[None], threshold)
        counts.append(
            [
                int(part[0])
                for part in (
                    pixels.true_positives,
                    pixels.false_positives,
                    pixels.false_negatives,
                    pixels.true_negatives,
                )
            ]
        )
        outlines.append(boundary_f(resized >= threshold, mask))
    columns = overlap_columns(PixelCounts(*np.array(counts).T), "original_")
    return columns | {"original_boundary_f": mean_column(outlines)}


def boundary_column(
    probabilities: Array, masks: Array, temperature: float, threshold: float
) -> dict[str, Column]:
    """Return the mean boundary F-score at the network's resolution."""
    return {
        "boundary_f": mean_column(
            [
                boundary_f(
                    scaled("segmentation", output, temperature).astype(np.float32)
                    >= threshold,
                    np.asarray(mask),
                )
                for output, mask in zip(probabilities, masks, strict=True)
            ]
        )
    }


def mean_column(values: list[float | None]) -> Column:
    """Return the mean over images; None does not count."""
    known = np.array([value is not None for value in values], float)
    return Column(np.array([value or 0.0 for value in values]), known)
