"""Checkpoints: every array of a model and its optimizer, and where training stands.

Keras' `.weights.h5` leaves out the random state of augmentation and dropout and loads
an optimizer only where it is already built; assigning the arrays of
`model.variables + optimizer.variables` restores a run to a difference of exactly 0.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from search.errors import InputError
from search.files import write_with
from search.records import History

LAST = "last.npz"
BEST = "best.npz"


@dataclass(frozen=True)
class Standing:
    """Where a training stands after its last finished epoch.

    Attributes:
        epochs: finished epochs, over the whole life.
        seconds: spent on them.
        parameters: all weights of the network.
    """

    epochs: int = 0
    seconds: float = 0.0
    parameters: int = 0
    history: History = field(default_factory=dict)


def save_checkpoint(path: Path, variables: list[Any], standing: Standing) -> None:
    """Write Keras variables and the progress to `path`, whole."""
    arrays = {f"v{i:05d}": np.asarray(v.value) for i, v in enumerate(variables)}
    state = np.frombuffer(json.dumps(asdict(standing)).encode(), np.uint8)
    arrays["state"] = state
    write_with(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_standing(path: Path) -> Standing | None:
    """Read where a training stands, or None where there is no checkpoint."""
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as file:
        return Standing(**json.loads(file["state"].tobytes()))


def load_variables(path: Path, variables: list[Any]) -> None:
    """Assign the arrays in `path` to `variables`, in order.

    Raises:
        InputError: the checkpoint belongs to another network.
    """
    with np.load(path, allow_pickle=False) as file:
        names = sorted(name for name in file.files if name != "state")
        shapes = [file[name].shape for name in names]
        expected = [tuple(variable.shape) for variable in variables]
        if shapes != expected:
            raise InputError(
                f"a checkpoint of this network ({len(expected)} arrays)",
                f"{path} with {len(shapes)} arrays of other shapes",
                "Search again under another --name; the package has changed since",
            )
        for name, variable in zip(names, variables, strict=True):
            variable.assign(file[name])
