"""PASCAL VOC 2012: foreground (any of the 20 classes) against background.

The official `train` list is cut 80/20 into train and validation, the official `val`
list is the test split: the labels of the official test set are not public. The folder
may hold a part of the images; the others of the lists are left out.

Source: Everingham et al., http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.datasets.originals import Originals
from search.datasets.sources import (
    BACKGROUND,
    FOREGROUND,
    MASK_CLASSES,
    VOID,
    Contents,
    ImageFile,
    Request,
    Source,
)
from search.datasets.splits import cut
from search.datasets.voc2012_archive import DEVKIT, fetch, is_complete
from search.errors import InputError
from search.paths import cache_dir

VALIDATION_FRACTION = 0.2
OFFICIAL_SIZES = {"train": 1464, "val": 1449}


def find_voc2012(request: Request) -> Source:
    """Return the images of the lists, fetched first where they are not there.

    Raises:
        InputError: the images cannot be fetched, or none of the lists is there.
    """
    edge = request.edge(default=128, least=32, most=512)
    root = (request.data_dir or cache_dir() / "data").expanduser()
    devkit = root / DEVKIT
    if not is_complete(devkit):
        fetch(root, request.say)
    lists = {name: read_list(devkit, name) for name in ("train", "val")}

    def load(folder: Path) -> Contents:
        return load_voc(devkit, lists, edge, folder, request)

    return Source(
        label="voc2012",
        tasks=["segmentation"],
        identity={
            "files": [
                file_of(devkit, name).stamp()
                for names in lists.values()
                for name in names
            ],
            "lists": lists,
            "edge": edge,
            "seed": request.seed,
            "skip_unreadable": request.skip_unreadable,
        },
        load=load,
    )


def read_list(devkit: Path, name: str) -> list[str]:
    """Return the names of an official list whose image and mask are there."""
    path = devkit / "ImageSets" / "Segmentation" / f"{name}.txt"
    listed = path.read_text().split()
    images, masks = (
        {Path(file).stem for file in os.listdir(devkit / folder)}  # noqa: PTH208
        for folder in ("JPEGImages", "SegmentationClass")
    )
    present = [name for name in listed if name in images and name in masks]
    if len(present) < 2:
        raise InputError(
            f"images and masks of the list {path}",
            f"{len(present)} of {len(listed)}",
            f"Unpack the whole archive, or remove {devkit} to fetch it again",
        )
    return present


def file_of(devkit: Path, name: str) -> ImageFile:
    image_path = devkit / "JPEGImages" / f"{name}.jpg"
    return ImageFile(name, image_path, devkit / "SegmentationClass" / f"{name}.png")


def load_voc(
    devkit: Path, lists: dict[str, list[str]], edge: int, folder: Path, request: Request
) -> Contents:
    from search.datasets.pools import read_pool, translate

    for name, size in OFFICIAL_SIZES.items():
        if len(lists[name]) < size:
            request.say(f"{len(lists[name])} of {size} images of the list {name}")
    names = [*lists["train"], *lists["val"]]
    files = [file_of(devkit, name) for name in names]
    pool = read_pool(files, edge, folder, request)
    assert pool.masks is not None
    translate(pool.masks, table())
    count = len(lists["train"])
    splits = cut(
        np.zeros(count, np.int32), {"validation": VALIDATION_FRACTION}, request.seed
    )
    splits["test"] = np.arange(count, len(names))
    return Contents(
        images=pool.images,
        targets={"masks": pool.masks},
        names=names,
        class_names=MASK_CLASSES,
        splits={split: rows[pool.is_read[rows]] for split, rows in splits.items()},
        skipped=pool.skipped,
        originals=Originals(pool.originals, table()),
    )


def table() -> NDArray[np.uint8]:
    """Return stored value -> mask value: classes 1–20 are foreground, 255 is void."""
    values = np.full(256, FOREGROUND, np.uint8)
    values[0], values[255] = BACKGROUND, VOID
    return values
