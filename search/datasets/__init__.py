"""Data sets, prepared once into memory-mapped arrays that every worker opens.

To add one: a module with `find_<name>(request) -> Source`, and a line in `SOURCES`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from search.datasets.cifar100 import find_cifar100
from search.datasets.folders import find_folder
from search.datasets.prepared import PreparedDataset, find_prepared, open_prepared
from search.datasets.shapes import find_shapes
from search.datasets.sources import Request, Say, Source, ignore
from search.datasets.store import folder_of, locked, remove_stale, write_prepared
from search.datasets.tfds_classification import PREFIX, find_tfds
from search.datasets.voc2012 import find_voc2012
from search.errors import InputError
from search.records import Task
from search.wording import suggestion

__all__ = ["SOURCES", "PreparedDataset", "is_published", "open_prepared", "prepare"]


class Entry(NamedTuple):
    """What is known of a data set.

    Attributes:
        find: where its images are, or how they are made.
        terms: under which its images may be used.
        is_published: it is scored whole by everyone, copies in its test split included.
    """

    find: Callable[[Request], Source]
    terms: str
    is_published: bool = True


SOURCES = {
    "shapes": Entry(
        find_shapes,
        "The images are generated; no terms apply to them.",
        is_published=False,
    ),
    "cifar100": Entry(
        find_cifar100,
        "CIFAR-100 (Krizhevsky 2009) states no licence of its own; its images come from"
        " Tiny Images, which its authors withdrew in 2020. Research use.",
    ),
    "voc2012": Entry(
        find_voc2012,
        "The images of PASCAL VOC 2012 come from Flickr and are under Flickr's terms of"
        " use. Research use.",
    ),
}


def is_published(dataset: str) -> bool:
    """Return whether a data set has a test split that others are scored on, too."""
    named = SOURCES.get(dataset)
    return named.is_published if named else dataset.startswith(PREFIX)


def prepare(
    dataset: str,
    *,
    task: Task | None,
    data_dir: Path | None = None,
    image_size: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    say: Say = ignore,
) -> PreparedDataset:
    """Open a data set from the cache, or fetch and prepare it first.

    Args:
        dataset: a registered name, `tfds:NAME` or a folder of images.
        task: what it is for; None = the usual task of the data set.
        data_dir: root that holds `tensorflow_datasets/` and `VOCdevkit/`, or the
            user's folder where that was moved; may be read-only where the data is
            there.
        image_size: edge of the stored images in pixels; None = the data set's own.
        seed: of the cut into splits, and of what is generated.
        skip_unreadable: leave damaged files out and record them.
        say: told what is going on, a line at a time.

    Raises:
        InputError: there is no such data set, it is not for this task, a file cannot
            be read, it cannot be fetched, or its masks teach or judge nothing.
    """
    request = Request(dataset, task, data_dir, image_size, seed, skip_unreadable, say)
    source = find_source(request)
    if task is not None and task not in source.tasks:
        raise InputError(
            f"a data set for {task}",
            f"{dataset}, which is for {' and '.join(source.tasks)}",
            "Choose another data set or hypermodel",
        )
    chosen = task or source.tasks[0]
    folder = folder_of(source, chosen)
    prepared = find_prepared(folder) or prepare_once(source, chosen, folder, request)
    return dataclasses.replace(prepared, name=dataset)


def prepare_once(
    source: Source, task: Task, folder: Path, request: Request
) -> PreparedDataset:
    """Prepare `folder`, unless another process did while we waited for it."""
    with locked(folder, request.say):
        remove_stale(folder.parent)
        prepared = find_prepared(folder)
        if prepared is None:
            request.say(f"Preparing {request.dataset} in {folder}")
            write_prepared(source, task, folder, request.dataset)
    return prepared or open_prepared(folder)


def check_foreground(prepared: PreparedDataset) -> None:
    """Raise InputError where the masks of a split to learn or choose by are empty.

    Dice of nothing found where nothing is there is 1: such a search finds nothing.
    """
    if prepared.task != "segmentation":
        return
    for split in ("train", "validation"):
        _, foreground, void = prepared.class_counts[split]
        if not foreground:
            raise InputError(
                f"foreground in the masks of the {split} split of {prepared.name}",
                f"none in {prepared.sizes[split]} masks, {void:,} pixels of them void",
                "Add masks with foreground there, choose a larger --image-size where"
                " objects are tiny, or cut other splits with --seed; where 255 is"
                " meant as foreground, save all masks as 0 and 255",
            )


def find_source(request: Request) -> Source:
    """Return the data set the user named.

    Raises:
        InputError: it is neither a known name nor a folder.
    """
    dataset = request.dataset
    if dataset in SOURCES:
        return SOURCES[dataset].find(request)
    if dataset.startswith(PREFIX):
        return find_tfds(request)
    folder = own_folder(dataset, request.data_dir)
    if folder is not None:
        return find_folder(dataclasses.replace(request, dataset=str(folder)))
    raise InputError(
        f"a data set ({', '.join(SOURCES)}, {PREFIX}NAME) or a folder of images",
        repr(dataset),
        suggestion(dataset, SOURCES)
        + "Check the spelling or the path; of a folder that was moved, --data-dir"
        " names the one it lies in now",
    )


def own_folder(dataset: str, data_dir: Path | None) -> Path | None:
    """Return where the user's folder lies: as it was named, or moved to `data_dir`."""
    named = Path(dataset).expanduser()
    places = [named]
    if data_dir is not None and named.name:
        root = data_dir.expanduser()
        is_itself = root.name == named.name  # which may hold a class of this name
        places.append(root if is_itself else root / named.name)
    return next((place for place in places if place.is_dir()), None)
