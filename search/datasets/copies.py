"""Copies of an image: equal pixels, unless all of them have one colour."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.prepared import digests_of

Array = NDArray[Any]


def is_one_colour(image: Array) -> bool:
    """Return whether all pixels of a (height, width, channels) image are equal.

    Such images, black tiles say, are equal without being copies of one photograph.
    """
    return bool((image == image[0, 0]).all())


def first_of_copies(images: Array, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return (n,) where in `rows` the first image with the pixels of each one is.

    Args:
        images: (m, height, width, channels).
        rows: (n,) which of them are looked at.
    """
    digests = digests_of(images[row] for row in rows)
    _, first, group = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    where = first[group.reshape(-1)]
    for place in np.flatnonzero(where != np.arange(len(rows))):
        if is_one_colour(images[rows[place]]):
            where[place] = place
    return where
