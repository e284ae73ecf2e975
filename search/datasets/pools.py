"""Reads many image files at once into one memory-mapped array."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.datasets.images import read_image, read_mask, resize_image, resize_mask
from search.datasets.originals import PackedMask
from search.datasets.sources import ImageFile, Request, Say
from search.datasets.store import CHUNK, new_array
from search.errors import InputError
from search.wording import counted

# Of 255: all that 12 of 16 bits come to.
DARK = 16
SECONDS_BETWEEN_LINES = 5


@dataclass(frozen=True)
class Pool:
    """What was read.

    Attributes:
        images: (n, edge, edge, 3) uint8; rows that could not be read are zero.
        masks: (n, edge, edge) uint8 with the stored values, or None.
        values: (n, 256) which values occur in each mask at its full size.
        is_read: (n,) which rows are good.
        skipped: {"file", "reason"} of the others.
        originals: (n) the masks at their full size, None where there is none.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    values: NDArray[np.bool_]
    is_read: NDArray[np.bool_]
    skipped: list[dict[str, str]]
    originals: list[PackedMask | None]


def read_pool(
    files: Sequence[ImageFile], edge: int, folder: Path, request: Request
) -> Pool:
    """Read and resize all files, by threads: Pillow decodes without Python's lock.

    Raises:
        InputError: a file cannot be read and is not to be skipped, or a mask is not of
            its image's size.
    """
    shape = (len(files), edge, edge)
    images = new_array(folder / "images.npy", (*shape, 3), np.uint8)
    has_masks = any(file.mask_path for file in files)
    masks = new_array(folder / "masks.npy", shape, np.uint8) if has_masks else None
    values = np.zeros((len(files), 256), bool)
    originals: list[PackedMask | None] = [None] * len(files)
    brightest = np.zeros(len(files), np.uint8)

    def read(row: int) -> None:
        image = read_image(files[row].path)
        mask_path = files[row].mask_path
        if masks is not None and mask_path is not None:
            mask = read_mask(mask_path)
            check_same_size(image, mask, files[row])
            values[row][mask] = True
            masks[row] = resize_mask(mask, edge, edge)
            originals[row] = PackedMask.of(mask)
        brightest[row] = image.max()
        images[row] = resize_image(image, edge, edge)

    errors = run_all(read, len(files), request.skip_unreadable, request.say)
    skipped = [
        {"file": files[row].name, "reason": str(error.received)}
        for row, error in errors.items()
    ]
    if skipped:
        request.say(f"Left out {counted(len(skipped), 'file')}: cannot be read")
    is_read = np.ones(len(files), bool)
    is_read[list(errors)] = False
    refuse_black(brightest[is_read])
    return Pool(images, masks, values, is_read, skipped, originals)


def refuse_black(brightest: NDArray[np.uint8]) -> None:
    """Raise InputError where all images are as good as black, (n,) 0–255.

    So are 16-bit images of which 8 or 12 bits are used.
    """
    if len(brightest) and brightest.max() <= DARK:
        raise InputError(
            "images that use the range of their numbers, 0–255 or 0–65535",
            f"a brightest pixel of {brightest.max()} in 255 among all images",
            "Stretch them: of 16-bit images with 12 bits, multiply by 16",
        )


def run_all(
    read: Callable[[int], None], count: int, skip_unreadable: bool, say: Say
) -> dict[int, InputError]:
    """Call `read` for every row; return the errors by row, or raise the first."""

    def attempt(row: int) -> InputError | None:
        try:
            read(row)
        except InputError as error:
            return error
        return None

    errors = {}
    said = time.monotonic()
    threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for row, error in enumerate(threads.map(attempt, range(count))):
            if error is not None and not skip_unreadable:
                raise error
            if error is not None:
                errors[row] = error
            if time.monotonic() - said > SECONDS_BETWEEN_LINES:
                say(f"{row + 1} of {count} images read")
                said = time.monotonic()
    finally:
        threads.shutdown(cancel_futures=True)
    return errors


def check_same_size(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], file: ImageFile
) -> None:
    if image.shape[:2] != mask.shape:
        height, width = image.shape[:2]
        raise InputError(
            f"a mask of {width}×{height} pixels as {file.path}",
            f"{file.mask_path} of {mask.shape[1]}×{mask.shape[0]}",
            "Make both the same size, remove both, or pass --skip-unreadable",
        )


def translate(masks: NDArray[np.uint8], table: NDArray[np.uint8]) -> None:
    """Replace each value of the masks by its entry in a table of 256, in place."""
    for start in range(0, len(masks), CHUNK):
        masks[start : start + CHUNK] = table[masks[start : start + CHUNK]]
