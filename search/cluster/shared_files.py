"""What every machine that trains must see at the same path, and how that is told."""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from search.datasets import open_prepared
from search.files import write_text
from search.orders import Order

FIRST_BYTES = 2**20

# path -> what `glimpse` sees there
Sights = Mapping[str, str]


def glimpse(path: Path) -> str:
    """Return size and hash of the first MiB of a file; empty where there is none."""
    try:
        with path.open("rb") as file:
            start = hashlib.sha256(file.read(FIRST_BYTES)).hexdigest()
            return f"{os.fstat(file.fileno()).st_size} {start}"
    except OSError:
        return ""


def glimpses(paths: list[Path]) -> Sights:
    """Return what this process sees at each path."""
    return {str(path): glimpse(path) for path in paths}


def unseen(sights: Sights) -> list[str]:
    """Return the paths at which this process sees other files, or none."""
    return [path for path, sight in sights.items() if glimpse(Path(path)) != sight]


def leave_marks(order: Order) -> list[Path]:
    """Write a file beside the folders an order writes, to be looked for elsewhere.

    Its name is new, so that no network file system remembers its absence.
    """
    folders = [order.folder] if order.logs is None else [order.folder, order.logs]
    marks = [Path(f).parent / f".mark-{uuid.uuid4().hex}" for f in folders]
    for mark in marks:
        for old in mark.parent.glob(".mark-*"):  # of a driver that was killed
            old.unlink(missing_ok=True)
        write_text(mark, f"{mark.name}\n")
    return marks


def inputs_of(order: Order) -> list[Path]:
    """Return the files beside the data that an order reads."""
    weights = Path(str(order.study["weights"]))
    return [weights] if weights.is_file() else []


def copied_data(folder: Path, parent: Path) -> Path:
    """Copy a prepared data set below `parent`, whole; once.

    Raises:
        OSError: there is no room for it; nothing half-written is left.
    """
    target = parent / folder.name
    if target.exists():
        open_prepared(target)
        return target
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".copy-") as temporary:
        shutil.copytree(folder, Path(temporary, folder.name))
        Path(temporary, folder.name).rename(target)
    return target


def bytes_in(folder: Path) -> int:
    """Return the size of the files directly in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def with_absolute_paths(order: Order) -> Order:
    """Return the order as a process in another folder needs it."""
    weights = Path(str(order.study["weights"]))
    study = dict(order.study)
    if weights.is_file():
        study["weights"] = str(weights.absolute())
    return replace(
        order,
        study=study,
        data_folder=str(Path(order.data_folder).absolute()),
        folder=str(Path(order.folder).absolute()),
        logs=absolute(order.logs),
        soft_targets=absolute(order.soft_targets),
    )


def absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
