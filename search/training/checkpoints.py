"""Checkpoints: every array of a model and its optimizer, and where training stands.

Keras' `.weights.h5` leaves out the random state of augmentation and dropout and loads
an optimizer only where it is already built; assigning the arrays of
`model.variables + optimizer.variables` restores a run to a difference of exactly 0.

While a trial trains there are three: `last`, the `previous` one, which stands in where
a failing disk has damaged `last`, and `best`. Each array has a checksum (CRC-32).
"""

import contextlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.errors import InputError
from search.files import keep_previous, write_with
from search.records import History, Metrics

LAST = "last.npz"
PREVIOUS = "previous.npz"
BEST = "best.npz"


@dataclass(frozen=True)
class Standing:
    """Where a training stands after its last finished epoch.

    Attributes:
        epochs: finished epochs, over the whole life.
        seconds: spent on them.
        parameters: all weights of the network.
        best_epoch: the one whose weights are in `best`, or None.
        parts: into which each batch is cut, since memory ran out.
        configuration: hash of the knobs and the seed it belongs to.
        measured: see `Trial.measured`.
    """

    epochs: int = 0
    seconds: float = 0.0
    parameters: int = 0
    history: History = field(default_factory=dict)
    best_epoch: int | None = None
    parts: int = 1
    configuration: str = ""
    measured: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """Where a training goes on.

    Attributes:
        path: the checkpoint to load, or None to begin.
        notes: what was damaged.
    """

    standing: Standing
    path: Path | None = None
    notes: tuple[str, ...] = ()


def values_of(variables: list[Any]) -> list[NDArray[Any]]:
    """Return copies of what Keras variables hold."""
    return begin_copy(variables)()


def begin_copy(variables: list[Any]) -> Callable[[], list[NDArray[Any]]]:
    """Copy what Keras variables hold; return what hands the copies over.

    On an accelerator (JAX) the copies are made there, behind the steps under way, and
    fetched when they are asked for: who trains on need not wait for either.
    """
    values = [variable.value for variable in variables]
    if not are_on_accelerator(values):
        copies = [np.asarray(value).copy() for value in values]
        return lambda: copies
    duplicates = copier()(values)

    def fetched() -> list[NDArray[Any]]:
        for array in duplicates:
            array.copy_to_host_async()
        return [np.asarray(array) for array in duplicates]

    return fetched


def are_on_accelerator(values: list[Any]) -> bool:
    """Return whether these are arrays of JAX that lie outside this machine's memory."""
    return any(
        device.platform != "cpu"
        for value in values
        if hasattr(value, "copy_to_host_async")
        for device in value.devices()
    )


@cache
def copier() -> Any:
    """Return what copies arrays of JAX where they lie, in one call."""
    import jax

    return jax.jit(lambda arrays: [jax.numpy.copy(array) for array in arrays])


def save_checkpoint(path: Path, values: list[NDArray[Any]], standing: Standing) -> None:
    """Write the values of variables and the progress to `path`, whole."""
    arrays = {f"v{i:05d}": value for i, value in enumerate(values)}
    state = np.frombuffer(json.dumps(asdict(standing)).encode(), np.uint8)
    arrays["state"] = state
    write_with(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def save_last(folder: Path, values: list[NDArray[Any]], standing: Standing) -> None:
    """Write `last`, and keep the one before where the file system has hard links."""
    keep_previous(folder / LAST, folder / PREVIOUS)
    save_checkpoint(folder / LAST, values, standing)


def read_standing(path: Path) -> Standing | None:
    """Read where a training stands, or None where there is no checkpoint."""
    if not path.exists():
        return None
    # Opened here: numpy leaves a damaged archive open.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        return Standing(**json.loads(file["state"].tobytes()))


def standing_in(folder: Path) -> Standing:
    """Return how far the checkpoints of `folder` are known to go; damaged: not at all.

    Reads no weights.
    """
    for name in (LAST, PREVIOUS):
        with contextlib.suppress(Exception):
            standing = read_standing(folder / name)
            if standing is not None:
                return standing
    return Standing()


def find_checkpoint(folder: Path, configuration: str = "") -> Found:
    """Return the newest checkpoint that is whole; a damaged one costs its epoch.

    Where `best` is damaged the trial begins again: training is a function of knobs and
    seed, so its best weights come back.

    Args:
        configuration: a checkpoint of another one is not continued.
    """
    notes = []
    for name in (LAST, PREVIOUS):
        path = folder / name
        if not path.exists():
            continue
        reason = damage(path)
        if reason is not None:
            notes.append(f"{name} was damaged ({reason})")
            continue
        standing = read_standing(path)
        assert standing is not None
        if configuration and standing.configuration not in ("", configuration):
            return Found(Standing(), None, ("a checkpoint of other knobs was left",))
        if standing.best_epoch is not None:
            reason = damage(folder / BEST)
            if reason is not None:
                notes.append(f"{BEST} was damaged ({reason}): trained from the start")
                return Found(Standing(), None, tuple(notes))
        if notes:
            notes.append(f"went on from epoch {standing.epochs}")
        return Found(standing, path, tuple(notes))
    if notes:
        notes.append("trained from the start")
    return Found(Standing(), None, tuple(notes))


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, or None.

    Raises:
        PermissionError: it may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return "a checksum is wrong"
        return None if read_standing(path) else "missing"
    except PermissionError:
        raise
    except FileNotFoundError:
        return "missing"
    # A flipped bit in the archive's own fields comes out as almost any exception.
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def load_variables(path: Path, variables: list[Any]) -> None:
    """Assign the arrays in `path` to `variables`, in order.

    Raises:
        InputError: the checkpoint belongs to another network.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = [file[name] for name in sorted(file.files) if name != "state"]
    expected = [tuple(variable.shape) for variable in variables]
    if [array.shape for array in arrays] != expected:
        raise InputError(
            f"a checkpoint of this network ({len(expected)} arrays)",
            f"{path} with {len(arrays)} arrays of other shapes",
            "Search again under another --name; the package has changed since",
        )
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
