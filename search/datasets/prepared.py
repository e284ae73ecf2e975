"""A prepared data set: arrays on disk that open in milliseconds, with NumPy only."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.originals import StoredMasks
from search.datasets.rows import Rows
from search.datasets.sources import SPLITS, TARGETS
from search.datasets.splits import limited
from search.errors import InputError, LostDataError
from search.files import read_json
from search.records import Task

INDEX = "dataset.json"
NAMES = "names.json"
Arrays = tuple[NDArray[np.uint8], NDArray[Any]]


@dataclass(frozen=True)
class PreparedDataset:
    """A data set that was prepared for one task.

    Attributes:
        name: as the user wrote it.
        fingerprint: sha256 of everything inside: classes, pixels, targets, splits.
        folder: where its arrays lie; `open_prepared` opens it again.
        task: what it was prepared for; `class_names`, `class_counts` and `hashes`
            are of this task.
        tasks: all it can be opened for.
        image_shape: (height, width, 3) of the stored images.
        sizes: split -> number of images.
        class_counts: split -> images per class; of a segmentation, pixels of
            background, foreground and void.
        hashes: split -> sha256 of the bytes of images and targets.
        skipped: {"file", "reason"} of what could not be read.
        coarse_names: of the coarse labels, where there are any.
    """

    name: str
    fingerprint: str
    folder: Path
    task: Task
    tasks: list[Task]
    image_shape: tuple[int, int, int]
    class_names: list[str]
    sizes: dict[str, int]
    class_counts: dict[str, list[int]]
    hashes: dict[str, str]
    skipped: list[dict[str, str]] = field(default_factory=list)
    coarse_names: list[str] = field(default_factory=list)

    def open(self, split: str, task: Task) -> Arrays:
        """Open one split, memory-mapped and read-only.

        Returns:
            images: (n, height, width, 3) uint8 RGB, 0–255.
            targets: classification (n,) int32; segmentation (n, height, width)
                uint8 with 0 background, 1 foreground, 255 void.

        Raises:
            InputError: there is no such split or task.
        """
        if task not in self.tasks:
            raise InputError(
                f"a data set for {task}",
                f"{self.name}, which is for {' and '.join(self.tasks)}",
                "Choose another data set or hypermodel",
            )
        return self._array(split, "images"), self._array(split, TARGETS[task])

    def open_train(self, task: Task, limit: int | None, seed: int) -> Arrays:
        """Open the training split, or a fixed part of it as arrays in memory.

        Args and errors as of `train_rows`.
        """
        images, targets = self.train_rows(task, limit, seed)
        return np.asarray(images), np.asarray(targets)

    def train_rows(self, task: Task, limit: int | None, seed: int) -> tuple[Any, Any]:
        """Open the training split, or a fixed part of it that stays in its files.

        Images and masks are then `Rows`, labels an array.

        Args:
            limit: number of images, drawn with the classes in their shares; more
                than there are = all. A larger limit holds every smaller one.

        Raises:
            InputError: `limit` is below 1 or below the number of classes.
        """
        images, targets = self.open("train", task)
        if limit is None or limit >= len(images):
            return images, targets
        labels = targets if targets.ndim == 1 else np.zeros(len(images), np.int32)
        rows = limited(np.asarray(labels), limit, seed)
        some = targets[rows] if targets.ndim == 1 else Rows((targets,), rows)
        return Rows((images,), rows), some

    def trained_on(self, limit: int | None) -> int:
        """Return how many images `train_rows` opens."""
        return min(self.sizes["train"], limit or self.sizes["train"])

    def coarse(self, split: str) -> NDArray[np.int32] | None:
        """Open the coarse labels, (n,) int32, or None where there are none."""
        return self._array(split, "coarse") if self.coarse_names else None

    def original_masks(self, split: str) -> StoredMasks | NDArray[np.uint8]:
        """Open the masks at the size of their images; the stored ones where equal."""
        path = self.folder / array_name(split, "originals")
        return StoredMasks(path) if path.exists() else self._array(split, "masks")

    def coarse_of_classes(self) -> NDArray[np.int64] | None:
        """Return (classes,) coarse class of each class, None where there are none."""
        coarse = self.coarse("train")
        if coarse is None:
            return None
        table = np.zeros(len(self.class_names), np.int64)
        table[self.open("train", "classification")[1]] = coarse
        return table

    def digests(self, split: str) -> NDArray[np.uint8]:
        """Return (n, 16), a hash of the pixels of each image."""
        return self._array(split, "digests")

    def names(self, split: str) -> list[str]:
        """Return the file name or id of each image."""
        names: list[str] = read_json(self.folder / NAMES)[split]
        return names

    def _array(self, split: str, kind: str) -> NDArray[Any]:
        if split not in SPLITS:
            raise InputError(f"a split ({', '.join(SPLITS)})", split, "Choose one")
        array: NDArray[Any] = np.load(
            self.folder / array_name(split, kind), mmap_mode="r", allow_pickle=False
        )
        return array


def digests_of(images: Iterable[NDArray[Any]]) -> NDArray[np.uint8]:
    """Return a 16-byte hash of the pixels of each image, (n, 16).

    By them copies are found in other splits without opening those again.
    """
    hashes = [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images
    ]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)


def array_name(split: str, kind: str) -> str:
    """Return the file name of one array."""
    return f"{split}_{kind}.npy"


def open_prepared(folder: Path) -> PreparedDataset:
    """Open what `prepare` left in `folder`.

    Raises:
        LostDataError: it is not there, or not whole.
    """
    prepared = find_prepared(folder)
    if prepared is None:
        raise LostDataError(
            f"a prepared data set in {folder}",
            "none, or one that is not whole",
            "The same command prepares it again",
        )
    return prepared


def find_prepared(folder: Path) -> PreparedDataset | None:
    """Open `folder`, or return None where it is absent or lacks a file."""
    try:
        index = read_json(folder / INDEX)
        sizes = {name: (folder / name).stat().st_size for name in index["files"]}
    except (OSError, ValueError):
        return None
    if sizes != index.pop("files"):
        return None
    index["image_shape"] = tuple(index["image_shape"])
    return PreparedDataset(folder=folder, **index)
