"""What a kind of data set says of itself, and what the store makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.originals import Originals
from search.errors import InputError
from search.records import Task

Array = NDArray[Any]
Say = Callable[[str], None]

SPLITS = ("train", "validation", "test")
TARGETS: dict[Task, str] = {"classification": "labels", "segmentation": "masks"}
MASK_CLASSES = ["background", "foreground"]
BACKGROUND, FOREGROUND, VOID = 0, 1, 255


def ignore(text: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; `prepare` describes the fields."""

    dataset: str
    task: Task | None = None
    data_dir: Path | None = None
    image_size: int | None = None
    seed: int = 0
    skip_unreadable: bool = False
    say: Say = ignore

    def edge(self, default: int, least: int, most: int) -> int:
        """Return the edge of the prepared images in pixels.

        Raises:
            InputError: it is not between `least` and `most`.
        """
        size = default if self.image_size is None else self.image_size
        if not least <= size <= most:
            raise InputError(
                f"an image size of {least} to {most} pixels for {self.dataset}",
                size,
                "Change --image-size",
            )
        return size


@dataclass(frozen=True)
class ImageFile:
    """One image, by the name it is recorded under, and its mask if it has one."""

    name: str
    path: Path
    mask_path: Path | None = None

    def stamp(self) -> list[str | int]:
        """Return the name, and what changes when a file does: sizes and times."""
        stamp: list[str | int] = [self.name]
        for path in filter(None, (self.path, self.mask_path)):
            status = path.stat()
            stamp += [status.st_size, status.st_mtime_ns]
        return stamp


@dataclass(frozen=True)
class Contents:
    """All images of a data set, and which of them belong to which split.

    Attributes:
        images: (n, height, width, 3) uint8.
        targets: name -> (n, …): `labels` int32, `masks` uint8, `coarse` int32.
        names: (n) file names or ids.
        class_names: of the labels; `MASK_CLASSES` where there are only masks.
        splits: split -> rows of the arrays; rows in no split are dropped.
        skipped: {"file", "reason"} of what could not be read.
        coarse_names: of the coarse labels, where there are any.
        originals: masks at the size of their image, where `images` were resized.
    """

    images: Array
    targets: dict[str, Array]
    names: list[str]
    class_names: list[str]
    splits: dict[str, NDArray[np.intp]]
    skipped: list[dict[str, str]] = field(default_factory=list)
    coarse_names: list[str] = field(default_factory=list)
    originals: Originals | None = None


@dataclass(frozen=True)
class Source:
    """One data set that was found and can be prepared.

    Attributes:
        label: short name for the folder in the cache.
        tasks: what it can be used for, the usual one first.
        identity: everything that decides the arrays, as JSON, read in milliseconds:
            versions, file names, sizes and times, image size, seed; no absolute path.
        load: reads everything; large arrays are to be memory-mapped in the folder
            it is given, which is removed afterwards.
    """

    label: str
    tasks: list[Task]
    identity: Any
    load: Callable[[Path], Contents]
