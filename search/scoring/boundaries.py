"""Boundary F-score: how well the outline of the foreground is met.

Precision is the share of the predicted outline within a tolerance of the true one,
recall the reverse; F their harmonic mean, averaged over images. Source: Csurka et al.
2013; the tolerance is theirs, 0.75 % of the image diagonal.

Void never counts: void pixels are given the nearest known label, and the prediction
inside void is overwritten by the same. VOC's outlines are void, so a predicted outline
inside that band is right.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import VOID

Array = NDArray[Any]

TOLERANCE = 0.0075


def boundary_f(chosen: Array, mask: Array) -> float | None:
    """Return the boundary F-score of one image, or None where all is void.

    Args:
        chosen: (height, width) bool, the predicted foreground.
        mask: (height, width) uint8: 0 background, 1 foreground, 255 void.
    """
    truth = without_void(mask)
    if truth is None:
        return None
    found = outline(np.where(mask == VOID, truth, chosen))
    true = outline(truth)
    if not found.any() and not true.any():
        return 1.0
    if not found.any() or not true.any():
        return 0.0
    reach = max(1.0, TOLERANCE * float(np.hypot(*mask.shape)))
    precision, recall = met(found, true, reach), met(true, found, reach)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def without_void(mask: Array) -> Array | None:
    """Return the foreground as bool, void pixels as their nearest known neighbour."""
    from scipy import ndimage

    void = mask == VOID
    if void.all():
        return None
    if not void.any():
        return np.asarray(mask == 1)
    nearest = ndimage.distance_transform_edt(
        void, return_distances=False, return_indices=True
    )
    return np.asarray(mask[tuple(nearest)] == 1)


def outline(foreground: Array) -> Array:
    """Return the foreground pixels that touch background; the frame is no outline."""
    from scipy import ndimage

    inside = ndimage.binary_erosion(foreground, border_value=1)
    return np.asarray(foreground & ~inside)


def met(first: Array, second: Array, reach: float) -> float:
    """Return the share of one outline within `reach` pixels of another."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~second)
    return float((distance[first] <= reach).mean())
