"""Test images that were trained on: exact copies by hash, near copies by looks.

Exact copies are found before anything is trained, from hashes that were made when the
data was prepared; images of one colour do not count. In a user's own images they are a
mistake and are refused. Published sets have them and are scored whole by everyone
(CIFAR-100: 10 of 10,000 test images are copies of ours to train or choose by), so there
they are counted, and the test is also scored without them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets import PreparedDataset, is_published
from search.datasets.copies import is_one_colour
from search.datasets.prepared import digests_of
from search.errors import InputError

Array = NDArray[Any]

SEEN_SPLITS = ("train", "validation")
NAMED = 3
# Near copies: thumbnails of 8×8 grey pixels, standardised, that correlate so much …
THUMBNAIL = 8
CORRELATION = 0.98
# … and images whose pixels differ by no more than this on average, of 255.
MEAN_DIFFERENCE = 6.0
BATCH = 512


def copied_test_images(data: PreparedDataset) -> dict[int, tuple[str, int]]:
    """Return test row -> (split, row) of a copy.

    Images of one colour, black tiles say, are equal and yet no copies.
    """
    images = {split: data.open(split, data.task)[0] for split in SEEN_SPLITS}
    return {
        row: (split, other)
        for row, (split, other) in equal_test_images(data).items()
        if not is_one_colour(images[split][other])
    }


def equal_test_images(data: PreparedDataset) -> dict[int, tuple[str, int]]:
    """Return test row -> (split, row) of an image with the same pixels.

    Opens no images, only their hashes from the preparation.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    for split in SEEN_SPLITS:
        for row, digest in enumerate(data.digests(split)):
            seen.setdefault(digest.tobytes(), (split, row))
    test = (digest.tobytes() for digest in data.digests("test"))
    return {row: seen[digest] for row, digest in enumerate(test) if digest in seen}


def refuse_copies(data: PreparedDataset) -> list[int]:
    """Return the test rows with a copy in train or validation, where they may stay.

    Raises:
        InputError: the images are the user's own, and some are in two splits.
    """
    copies = copied_test_images(data)
    if not copies or is_published(data.name):
        return sorted(copies)
    names = {split: data.names(split) for split in (*SEEN_SPLITS, "test")}
    pairs = [
        f"{names['test'][row]} = {split} {names[split][other]}"
        for row, (split, other) in list(copies.items())[:NAMED]
    ]
    more = f" and {len(copies) - NAMED} more" if len(copies) > NAMED else ""
    plain = len(equal_test_images(data)) - len(copies)
    beside = f"; {plain} more of one colour are not counted" if plain else ""
    raise InputError(
        "test images that are not also trained on or chosen by",
        f"{len(copies)} with the same pixels as another ({'; '.join(pairs)}{more})"
        f"{beside}",
        "Remove one of each pair and search again (a study that was begun needs another"
        " --name): a score on images that were trained on says nothing",
    )


def refuse_changed_test(data: PreparedDataset, images: Array) -> None:
    """Raise InputError where test images are not those whose hashes were compared."""
    if not np.array_equal(digests_of(images), data.digests("test")):
        raise InputError(
            "the test images that were prepared",
            f"others in {data.folder}",
            f"Remove {data.folder}; the same command prepares the data again",
        )


def near_copies(test: Array, seen: Sequence[Array]) -> int:
    """Count the test images that look like one of `seen`, exact copies included.

    Args:
        test, seen: (n, height, width, 3) uint8 arrays of one image size.
    """
    wanted = thumbnails(test)
    found = np.zeros(len(test), bool)
    for images in seen:
        looks = thumbnails(images)
        for start in range(0, len(wanted), BATCH):
            likeness = wanted[start : start + BATCH] @ looks.T
            best = likeness.argmax(axis=1)
            for offset in np.flatnonzero(likeness.max(axis=1) >= CORRELATION):
                row = start + int(offset)
                difference = np.abs(
                    test[row].astype(np.int16) - images[best[offset]].astype(np.int16)
                )
                found[row] |= bool(difference.mean() <= MEAN_DIFFERENCE)
    return int(found.sum())


def thumbnails(images: Array) -> Array:
    """Return (n, 64) float32: grey averages of 8×8 areas, of mean 0 and length 1."""
    rows = []
    for start in range(0, len(images), BATCH):
        grey = np.asarray(images[start : start + BATCH], np.float32).mean(axis=3)
        rows.append(averaged(averaged(grey, 1), 2).reshape(len(grey), -1))
    flat = np.concatenate(rows)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6))


def averaged(grey: Array, axis: int) -> Array:
    """Average one axis down to 8 areas of (nearly) equal size."""
    edges = np.linspace(0, grey.shape[axis], THUMBNAIL + 1).round().astype(int)
    sums = np.add.reduceat(grey, edges[:-1], axis=axis)
    shape = [1] * grey.ndim
    shape[axis] = THUMBNAIL
    return np.asarray(sums / np.diff(edges).reshape(shape))
