"""The cache of prepared data sets: written whole, once, by one process at a time."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from search.datasets.originals import write_originals
from search.datasets.prepared import INDEX, NAMES, array_name, digests_of
from search.datasets.sources import (
    BACKGROUND,
    FOREGROUND,
    MASK_CLASSES,
    SPLITS,
    TARGETS,
    VOID,
    Contents,
    Say,
    Source,
)
from search.errors import InputError
from search.files import reserve, sync_folder, write_array, write_json
from search.machine.room import NO_ROOM
from search.paths import cache_dir
from search.records import Task

# Raised whenever the same files would give other arrays.
VERSION = 2
CHUNK = 256  # rows copied at a time


def folder_of(source: Source, task: Task) -> Path:
    """Return where the data set lies once prepared; decided by its identity."""
    parts = json.dumps([VERSION, task, source.identity], sort_keys=True)
    key = hashlib.sha256(parts.encode()).hexdigest()
    label = re.sub(r"[^A-Za-z0-9_-]+", "_", source.label)[:60] or "dataset"
    return cache_dir() / "prepared" / f"{label}-{key[:16]}"


@contextlib.contextmanager
def locked(folder: Path, say: Say) -> Iterator[None]:
    """Be the only process that prepares `folder`.

    The kernel frees the lock of a process that dies, so nothing can block for ever.
    """
    import filelock

    make_folder(folder.parent)
    lock = filelock.FileLock(lock_of(folder))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"Waiting for another process that prepares {folder.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise InputError(
            "a cache folder that can be written",
            f"{folder} ({error.strerror})",
            "Set VISION_TUNER_CACHE to another folder",
        ) from error


def lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def remove_stale(prepared: Path) -> None:
    """Remove what preparations that died have left: no process holds their lock."""
    import filelock

    for temporary in prepared.glob(".*.tmp"):
        lock = filelock.FileLock(temporary.with_suffix(".lock"))
        with contextlib.suppress(filelock.Timeout), lock.acquire(timeout=0):
            shutil.rmtree(temporary, ignore_errors=True)


def write_prepared(source: Source, task: Task, folder: Path, name: str) -> None:
    """Load the data set and write it to `folder`, which appears whole or not at all.

    The caller holds the lock of `folder`.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    for old in (temporary, folder):
        shutil.rmtree(old, ignore_errors=True)
    try:
        arrays = temporary / "arrays"
        scratch = temporary / "scratch"
        for new in (arrays, scratch):
            new.mkdir(parents=True)
        contents = source.load(scratch)
        write_arrays(contents, arrays)
        write_json(arrays / NAMES, names_of(contents))
        index = describe(source, task, contents, arrays)
        index["files"] = {
            path.name: path.stat().st_size for path in sorted(arrays.iterdir())
        }
        write_json(arrays / INDEX, {"name": name, **index})
        arrays.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_arrays(contents: Contents, folder: Path) -> None:
    """Write every array of every split."""
    arrays = {"images": contents.images, **contents.targets}
    for split in SPLITS:
        rows = contents.splits[split]
        if not len(rows):
            raise InputError(f"images in the {split} split", "none", "Add images")
        for kind, array in arrays.items():
            path = folder / array_name(split, kind)
            shape = (len(rows), *array.shape[1:])
            stored = new_array(path, shape, array.dtype)
            for start in range(0, len(rows), CHUNK):
                stored[start : start + CHUNK] = array[rows[start : start + CHUNK]]
            stored.flush()
            if kind == "images":
                write_array(folder / array_name(split, "digests"), digests_of(stored))
        if contents.originals is not None:
            packed = [contents.originals.translated(int(row)) for row in rows]
            write_originals(folder / array_name(split, "originals"), packed)


def new_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike
) -> "np.memmap[Any, Any]":
    """Make a memory-mapped array on disk.

    Raises:
        InputError: the disk has no room for it.
    """
    needed = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    try:
        if needed > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(path, shape, dtype)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise InputError(
            f"{needed / 2**20:.0f} MiB of free disk in {cache_dir()}",
            f"{free / 2**20:.0f} MiB",
            "Make room, set VISION_TUNER_CACHE to another disk or lower --image-size",
        ) from error
    return open_memmap(path, mode="r+")


def names_of(contents: Contents) -> dict[str, list[str]]:
    return {
        split: [contents.names[row] for row in rows]
        for split, rows in contents.splits.items()
    }


def describe(
    source: Source, task: Task, contents: Contents, folder: Path
) -> dict[str, Any]:
    """Return what the index says; read back from disk, so that it is true."""
    is_masks = task == "segmentation"
    class_names = MASK_CLASSES if is_masks else contents.class_names
    counts, hashes = {}, {}
    for split in SPLITS:
        arrays = [
            np.load(folder / array_name(split, kind), mmap_mode="r")
            for kind in ("images", TARGETS[task])
        ]
        hashes[split] = hash_of(arrays)
        count = pixels_per_value if is_masks else images_per_class
        counts[split] = count(arrays[1], len(class_names))
    shape = list(contents.images.shape[1:])
    inside = [task, class_names, shape, hashes]
    return {
        "fingerprint": hashlib.sha256(json.dumps(inside).encode()).hexdigest(),
        "task": task,
        "tasks": source.tasks,
        "image_shape": shape,
        "class_names": class_names,
        "sizes": {split: len(contents.splits[split]) for split in SPLITS},
        "class_counts": counts,
        "hashes": hashes,
        "skipped": contents.skipped,
        "coarse_names": contents.coarse_names,
    }


def hash_of(arrays: list[NDArray[Any]]) -> str:
    """Return the sha256 of the bytes of the arrays, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, len(array), CHUNK):
            digest.update(array[start : start + CHUNK].tobytes())
    return digest.hexdigest()


def images_per_class(labels: NDArray[Any], classes: int) -> list[int]:
    return [int(count) for count in np.bincount(labels, minlength=classes)]


def pixels_per_value(masks: NDArray[Any], classes: int) -> list[int]:
    """Count the pixels of background, foreground and void."""
    counts = np.zeros(256, np.int64)
    for start in range(0, len(masks), CHUNK):
        counts += np.bincount(masks[start : start + CHUNK].ravel(), minlength=256)
    assert counts.sum() == counts[[BACKGROUND, FOREGROUND, VOID]].sum()
    return [int(counts[value]) for value in (BACKGROUND, FOREGROUND, VOID)]
