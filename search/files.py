"""Files that are whole or absent, never half-written."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing so that readers see the old or the new file only.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file
            is untouched and no temporary file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~current_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def current_umask() -> int:
    """Return the umask, which the operating system only tells by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write `path` whole by a function that takes an open binary file."""
    with whole_file(path) as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole."""
    write_with(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON that strict parsers accept."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read JSON from `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, named with its path.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array to `path` as .npy, whole."""
    write_with(path, lambda file: np.save(file, array, allow_pickle=False))
