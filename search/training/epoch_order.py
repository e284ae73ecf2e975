"""In which order an epoch shows the training images: a function of seed and epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def epoch_order(
    seed: int, epoch: int, count: int, labels: NDArray[Any] | None = None
) -> NDArray[np.intp]:
    """Return the rows of one epoch; the same whatever epoch a training starts from.

    Args:
        epoch: finished epochs, from 0.
        count: training images, and the length of the epoch.
        labels: (count,) class numbers, to draw all classes equally often: images of
            small classes then come several times, some of large ones not at all. None,
            or masks (count, height, width): each image once.
    """
    rng = np.random.default_rng([seed, epoch])
    if labels is None or labels.ndim != 1:
        return rng.permutation(count)
    _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    turns = [rng.permutation(np.flatnonzero(classes == c)) for c in range(len(counts))]
    # Whole rounds of a class before any image of it comes again.
    share = -(-count // len(counts))
    drawn = np.concatenate([np.resize(turn, share) for turn in turns])
    return np.asarray(rng.permutation(drawn)[:count], np.intp)
