"""Cuts rows into splits and draws limited training sets; all decided by a seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError

RowNumbers = NDArray[np.intp]
Labels = NDArray[np.int32]


def cut(
    labels: Labels,
    fractions: dict[str, float],
    seed: int,
    class_names: Sequence[str] = (),
) -> dict[str, RowNumbers]:
    """Cut rows into splits that hold each class in the same share.

    Args:
        labels: (n,) class of each row; zeros where there are no classes.
        fractions: split -> fraction of each class (0–1), at least one row; the rest
            is `train`.
        class_names: for the error; without them, the number is named.

    Returns:
        split -> row numbers, ascending.

    Raises:
        InputError: a class has fewer rows than there are splits.
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[RowNumbers]] = {name: [] for name in ("train", *fractions)}
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        if len(rows) <= len(fractions):
            raise InputError(
                f"at least {len(parts)} different images"
                f"{' of each class' if class_names else ''}, to cut"
                f" {', '.join(parts)} from",
                f"{len(rows)}{f' of {class_names[label]}' if class_names else ''}",
                "Add images, or leave the class out",
            )
        start = 0
        for name, fraction in fractions.items():
            stop = start + max(1, round(fraction * len(rows)))
            parts[name].append(rows[start:stop])
            start = stop
        parts["train"].append(rows[start:])
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def cut_with_copies(
    labels: Labels,
    first: RowNumbers,
    fractions: dict[str, float],
    seed: int,
    class_names: Sequence[str] = (),
) -> dict[str, RowNumbers]:
    """Cut rows as `cut` does; copies go where the first of them goes.

    Args:
        first: (n,) the first row with the pixels of each row.
    """
    firsts = np.flatnonzero(first == np.arange(len(first)))
    parts = cut(labels[firsts], fractions, seed, class_names)
    return {
        name: np.flatnonzero(np.isin(first, firsts[rows]))
        for name, rows in parts.items()
    }


def limited(labels: Labels, limit: int, seed: int) -> RowNumbers:
    """Draw `limit` rows, classes in their shares and each at least once.

    The draws of one seed are nested: a larger one holds every smaller one.

    Raises:
        InputError: `limit` is less than the number of classes.
    """
    classes = len(np.unique(labels))
    if limit < classes:
        raise InputError(
            f"a limit of at least {classes}, one training image a class",
            limit,
            "Raise --limit-train",
        )
    return np.sort(stratified_order(labels, seed)[:limit])


def stratified_order(labels: Labels, seed: int) -> RowNumbers:
    """Order rows so that every prefix holds the classes in about their shares."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    position = np.empty(len(labels))
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        position[rows] = np.arange(len(rows)) / len(rows)
    return order[np.argsort(position[order], kind="stable")]
