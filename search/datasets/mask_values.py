"""What the values stored in masks mean: background, foreground, void, soft edges."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import BACKGROUND, FOREGROUND, VOID

# Numbers of objects are small; so many values from there on are shades of a soft edge.
LIGHT, SOFT_FROM = 128, 4


def meaning_of(values: Collection[int]) -> str:
    """Say how the values that masks hold are read."""
    if is_black_and_white(values):
        return "Masks hold 0 and 255 only: 255 is foreground"
    if 255 in values:
        return "Masks hold more values than 0 and 255: 255 is void, others foreground"
    return "Masks hold 0 and other values, which are foreground"


def table_of(values: Collection[int]) -> NDArray[np.uint8]:
    """Return (256,) stored value -> mask value, of masks that hold these values."""
    table = np.full(256, FOREGROUND, np.uint8)
    table[0] = BACKGROUND
    table[255] = FOREGROUND if is_black_and_white(values) else VOID
    return table


def is_black_and_white(values: Collection[int]) -> bool:
    """Return whether 255 is foreground: there is nothing else beside 0."""
    return set(values) <= {0, 255}


def has_soft_edges(values: Collection[int]) -> bool:
    """Return whether one mask holds 255 and light greys, as smoothed edges have.

    Its greys make 255 void: the inside of every object of the folder.
    """
    return 255 in values and sum(LIGHT <= v < 255 for v in values) >= SOFT_FROM
