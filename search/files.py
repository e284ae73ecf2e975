"""Files that are whole or absent, never half-written."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import open_memmap, write_array_header_1_0
from numpy.typing import DTypeLike, NDArray

from search.errors import DamagedFileError, InputError

# Begins the names of folders that become something else when they are complete.
UNFINISHED = ".writing-"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing so that readers see the old or the new file only.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file
            is untouched and no temporary file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the file's own name, which may be as long as a name may be.
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".unfinished.{os.getpid()}-"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~UMASK)
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


# Asked once, while there is one thread: another would write with the one set above.
UMASK = current_umask()


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(path: Path) -> None:
    """Make what a file holds, or all files of a folder, survive a power failure."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


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
        DamagedFileError: the file is not JSON, named with its path.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(
            "a file as it was written",
            f"{path} is not JSON: {error}",
            "Restore it from a copy; trials.json is mended by the same search again",
        ) from error


def checksum(value: Any) -> str:
    """Return a hash of a JSON value, whatever the order of its keys."""
    text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its checksum, so that a flipped bit is seen."""
    return value | {"checksum": checksum(value)}


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object with its checksum."""
    write_json(path, sealed(value))


def read_sealed(path: Path) -> dict[str, Any]:
    """Read a JSON object and check it; one written without a checksum passes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not what was written, named with its path.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise ValueError(f"{path} is not a JSON object")
    seal = value.pop("checksum", None)
    if seal is not None and seal != checksum(value):
        raise ValueError(f"{path} is not as it was written: its checksum differs")
    return value


def put_in_place(made: Path, target: Path) -> None:
    """Rename a whole file or folder; what had its new name stays until then."""
    if made.is_file() and not target.is_dir():
        made.replace(target)
        return
    old = made.with_name(f"old-{target.name}")
    try:
        if target.exists():
            target.rename(old)
        made.rename(target)
    except BaseException:  # an interrupt between the two as well
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def keep_previous(path: Path, previous: Path) -> None:
    """Let `previous` be what `path` is now, until then as it was (needs hard links)."""
    spare = previous.with_name(f".{previous.name}")
    with contextlib.suppress(OSError):
        spare.unlink(missing_ok=True)
        os.link(path, spare)
        spare.replace(previous)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing in `folder` and below.

    What belongs to one that lives, a report say, is left to it.
    """
    import psutil

    for path in list(folder.rglob(f"{UNFINISHED}*")):
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.rglob(".*"):
        temporary = re.fullmatch(r"\..+\.(\d+)-[a-z0-9_]{8}", path.name)
        is_left = temporary and not psutil.pid_exists(int(temporary[1]))
        is_spare = path.name.startswith(".previous") or ".previous." in path.name
        if (is_left or is_spare) and path.is_file():
            path.unlink(missing_ok=True)


def check_writable(folder: Path, remedy: str) -> None:
    """Raise InputError where no file can be made in `folder` (made if absent)."""
    probe = folder / ".writable"
    try:
        write_text(probe, "")
        probe.unlink()
    except OSError as error:
        received = error.strerror or str(error)
        expected = f"a folder that can be written: {folder}"
        raise InputError(expected, received, remedy) from error


class WholeRecords:
    """An open file that holds whole records only, also where the disk is full."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def write(self, record: bytes) -> None:
        """Write a record, or nothing.

        Raises:
            OSError: there is no room for it.
        """
        begin, rest = self._file.tell(), record
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(begin)
            self._file.seek(begin)
            raise

    def close(self) -> None:
        self._file.close()


def append_record(path: Path, record: bytes) -> None:
    """Append to `path` so that it survives a power failure, or leave it as it is.

    Raises:
        OSError: there is no room for it.
    """
    is_new = not path.exists()
    with path.open("ab", buffering=0) as file:
        begin = file.tell()
        WholeRecords(file).write(record)
        try:
            os.fsync(file.fileno())
        except OSError:  # some file systems look for room only now
            file.truncate(begin)
            raise
    if is_new:
        sync_folder(path.parent)


def file_hash(path: Path) -> str:
    """Return the sha256 of what a file holds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one array to `path` as .npy, whole."""
    write_with(path, lambda file: np.save(file, array, allow_pickle=False))


def write_rows(
    path: Path, count: int, blocks: Iterable[NDArray[Any]], dtype: DTypeLike
) -> None:
    """Write an array of `count` rows to `path` as .npy, whole, block after block."""

    def write(file: BinaryIO) -> None:
        rows = 0
        for block in blocks:
            if not rows:
                shape = (count, *block.shape[1:])
                about = {"descr": np.dtype(dtype).str, "fortran_order": False}
                write_array_header_1_0(file, about | {"shape": shape})
            file.write(np.ascontiguousarray(block, dtype).tobytes())
            rows += len(block)
        assert rows == count > 0, f"{rows} of {count} rows"

    write_with(path, write)


def reserve(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Make an array whose room on the disk is granted: a map can then be written.

    One that is not would end the process where the disk is full.

    Raises:
        OSError: there is no room.
    """
    open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
