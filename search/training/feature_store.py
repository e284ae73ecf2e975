"""Arrays that are computed once and shared by all processes, in the cache folder.

Whoever wants a set computes what is missing, a chunk at a time: several workers that
begin together divide the chunks, and what a killed process had finished is kept. A set
appears whole under its name or not at all. The least recently used sets go where the
folder would grow beyond its limit (20 GiB; `VISION_TUNER_FEATURES_GIB`, 0 = store
nothing) or beyond a quarter of the free disk.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.datasets.sources import ignore
from search.datasets.store import locked
from search.files import read_json, reserve, sync_folder, write_json
from search.machine.room import NO_ROOM
from search.paths import cache_dir

LIMIT = "VISION_TUNER_FEATURES_GIB"
USUAL_GIB = 20.0
FREE_FRACTION = 0.25
INDEX = "features.json"
SECONDS_BETWEEN_LOOKS = 0.2
STALE_SECONDS = 86_400

Arrays = dict[str, NDArray[Any]]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Wanted:
    """A set of arrays and how to compute it.

    Attributes:
        key: names it; a hash of all that decides its content.
        arrays: name -> shape and type; the first axis is that of the rows.
        chunks: how many parts it is computed in.
        compute: number of a chunk -> its rows, and name -> values of these rows.
    """

    key: str
    arrays: Mapping[str, tuple[Shape, str]]
    chunks: int
    compute: Callable[[int], tuple[NDArray[Any], Arrays]]

    @property
    def folder(self) -> Path:
        return features_dir() / self.key

    @property
    def unfinished(self) -> Path:
        return features_dir() / f".{self.key}.tmp"

    def bytes(self) -> int:
        return sum(bytes_of(*spec) for spec in self.arrays.values())


def features_dir() -> Path:
    return cache_dir() / "features"


def bytes_of(shape: Shape, dtype: str) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def stored(wanted: Wanted, alive: Callable[[], object]) -> Arrays | None:
    """Return the arrays, memory-mapped; computed first where they are missing.

    Args:
        alive: called between chunks and while waiting for other processes; what it
            raises ends the work, and what is done is kept.

    Returns:
        None where there is no room for them.
    """
    while True:
        found = opened(wanted)
        if found is not None:
            return found
        if not begun(wanted):
            return None
        try:
            if not compute_chunks(wanted, alive):
                alive()
                time.sleep(SECONDS_BETWEEN_LOOKS)
                continue
            finish(wanted)
        except FileNotFoundError:  # finished, or removed, by others
            continue
        except OSError as error:
            if error.errno in NO_ROOM:  # not even for the name of a chunk
                return None
            raise


def is_stored(wanted: Wanted) -> bool:
    """Return whether a set is there, finished."""
    return opened(wanted) is not None


def opened(wanted: Wanted) -> Arrays | None:
    """Open a finished set and note that it was used; None where there is none."""
    try:
        if read_json(wanted.folder / INDEX)["bytes"] != wanted.bytes():
            return None
        os.utime(wanted.folder)
        return {
            name: np.load(wanted.folder / f"{name}.npy", mmap_mode="r")
            for name in wanted.arrays
        }
    except (OSError, ValueError, KeyError):
        return None


def begun(wanted: Wanted) -> bool:
    """Make the files of a set, unless they are there; False where there is no room."""
    with locked(wanted.folder, ignore):
        if opened(wanted) is not None or is_under_way(wanted):
            return True
        shutil.rmtree(wanted.unfinished, ignore_errors=True)
        if not make_room(wanted.bytes()):
            return False
        building = wanted.unfinished.with_suffix(".new")
        shutil.rmtree(building, ignore_errors=True)
        try:
            (building / "done").mkdir(parents=True)
            for name, spec in wanted.arrays.items():
                reserve(building / f"{name}.npy", *spec)
        except OSError:
            shutil.rmtree(building, ignore_errors=True)
            return False
        building.rename(wanted.unfinished)
        return True


def is_under_way(wanted: Wanted) -> bool:
    """Return whether the files of a set are there, and none was cut.

    To write into, NumPy would lengthen one with zeros, where chunks were done.
    """
    try:
        for name in wanted.arrays:
            np.load(wanted.unfinished / f"{name}.npy", mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return True


def compute_chunks(wanted: Wanted, alive: Callable[[], object]) -> bool:
    """Compute the chunks nobody else is at; return whether all are done."""
    folder = wanted.unfinished
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in wanted.arrays
    }
    for number in range(wanted.chunks):
        done = folder / "done" / str(number)
        if done.exists():
            continue
        with claimed(done.with_suffix(".lock")) as is_mine:
            if not is_mine or done.exists():
                continue
            alive()
            rows, values = wanted.compute(number)
            for name, array in arrays.items():
                array[rows] = values[name]
                array.flush()
            done.touch()
    return all((folder / "done" / str(n)).exists() for n in range(wanted.chunks))


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Hold a chunk where no other process does; the kernel frees that of a dead one.

    Unlike the locks of filelock this makes no folder where a finished set has gone.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def finish(wanted: Wanted) -> None:
    """Give a set its name."""
    with locked(wanted.folder, ignore):
        if opened(wanted) is not None:
            return
        shutil.rmtree(wanted.folder, ignore_errors=True)
        write_json(wanted.unfinished / INDEX, {"bytes": wanted.bytes()})
        wanted.unfinished.rename(wanted.folder)
        sync_folder(wanted.folder.parent)
        shutil.rmtree(wanted.folder / "done", ignore_errors=True)


def limit_bytes(free: int, held: int) -> float:
    """Return how large the folder may be.

    Args:
        free: bytes of the disk.
        held: bytes the folder holds.
    """
    chosen = float(os.environ.get(LIMIT) or USUAL_GIB) * 2**30
    return min(chosen, held + FREE_FRACTION * free)


def make_room(needed: int) -> bool:
    """Remove the least recently used sets until `needed` bytes fit, or return False.

    A process that has a removed set open keeps it: the kernel holds its files.
    """
    folder = features_dir()
    sets = {path: size_of(path) for path in folder.iterdir() if path.is_dir()}
    held = sum(sets.values())
    limit = limit_bytes(shutil.disk_usage(folder).free, held)
    if needed > limit:
        return False
    for path in sorted(sets, key=used_at):
        is_unfinished = path.name.startswith(".")
        is_stale = time.time() - used_at(path) > STALE_SECONDS
        if is_stale if is_unfinished else held + needed > limit:
            shutil.rmtree(path, ignore_errors=True)
            held -= sets[path]
    return held + needed <= limit


def size_of(folder: Path) -> int:
    """Return the bytes in a folder, which may be going away."""
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def used_at(folder: Path) -> float:
    """Return when a set was last used, or last grew, in seconds of the clock."""
    done = folder / "done"
    with contextlib.suppress(OSError):
        return (done if done.exists() else folder).stat().st_mtime
    return 0.0
