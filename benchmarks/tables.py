"""Recorded learning curves as search problems.

A table has a declared space, configurations in it, and for each a curve of scores
(better the larger) with the epoch at which it diverged, if it did.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras_tuner as kt
import numpy as np
from numpy.typing import NDArray

from search.oracles.encoding import Encoding

Array = NDArray[np.float64]
Mapping = Literal["nearest", "unused"]
NEVER = 10**9
TASKSET = Path(__file__).parents[2] / "shared" / "data" / "taskset"
OWN = Path(__file__).parent / "tables" / "cifar100_ten_convnet.npz"
# Metz et al. 2020, "Using a thousand optimization tasks": the space of their Adam8p.
TASKSET_RANGES = {
    "learning_rate": (1e-8, 1e1),
    "beta1": (1e-4, 1.0),
    "beta2": (1e-6, 1.0),
    "epsilon": (1e-10, 1e3),
    "l1": (1e-8, 1e1),
    "l2": (1e-8, 1e1),
    "linear_decay": (1e-7, 1e-4),
    "exponential_decay": (1e-6, 1e-3),
}


@dataclass(frozen=True)
class Table:
    """Learning curves of n configurations over T epochs.

    Attributes:
        points: the configurations, encoded, (n, columns).
        scores: better the larger, (n, T); NaN from the epoch on that diverged.
        diverged: that epoch, (n,), or NEVER.
    """

    name: str
    space: Any
    encoding: Encoding
    points: Array
    scores: Array
    diverged: NDArray[np.int_]

    @property
    def epochs(self) -> int:
        """Return the epochs of a full training."""
        return self.scores.shape[1]

    def best_so_far(self) -> Array:
        """Return the best score up to each epoch, (n, T)."""
        filled = np.where(np.isnan(self.scores), -np.inf, self.scores)
        return np.maximum.accumulate(filled, axis=1)

    def scale(self) -> tuple[float, float]:
        """Return the scores of regret 0 (the best of all) and 1 (the median)."""
        final = self.best_so_far()[self.diverged == NEVER, -1]
        return float(self.best_so_far()[:, -1].max()), float(np.median(final))

    def regret(self, score: float) -> float:
        """Return the normalised regret of a score, between 0 and 1."""
        best, median = self.scale()
        return float(np.clip((best - score) / (best - median), 0.0, 1.0))


@dataclass
class Chooser:
    """Gives each proposal a recorded configuration."""

    table: Table
    mapping: Mapping

    def __post_init__(self) -> None:
        self.used = np.zeros(len(self.table.points), bool)
        self.repeats = 0

    def row(self, values: dict[str, Any]) -> int | None:
        """Return the nearest configuration, None where all have been used."""
        encoding = self.table.encoding
        point = encoding.encoded(encoding.positions(values)[None])[0]
        distances = ((self.table.points - point) ** 2).sum(1)
        if self.mapping == "unused":
            if self.used.all():
                return None
            distances[self.used] = np.inf
        row = int(distances.argmin())
        self.repeats += bool(self.used[row])
        self.used[row] = True
        return row


def taskset_space() -> kt.HyperParameters:
    space = kt.HyperParameters()
    for name, (least, most) in TASKSET_RANGES.items():
        name = f"one_minus_{name}" if name.startswith("beta") else name
        middle = float(np.sqrt(least * most))
        space.Float(name, least, most, sampling="log", default=middle)
    return space


def read_taskset(path: Path) -> Table:
    """Read a table of TaskSet; its first point, before any training, is left out."""
    data = np.load(path)
    names = [str(name) for name in data["names"]]
    configurations = []
    for row in data["hyperparameters"].astype(float):
        values = {}
        for name, value in zip(names, row, strict=True):
            least, most = TASKSET_RANGES[name]
            is_beta = name.startswith("beta")
            number = 1.0 - value if is_beta else value
            knob = f"one_minus_{name}" if is_beta else name
            values[knob] = float(np.clip(number, least, most))
        configurations.append(values)
    return make_table(
        path.stem, taskset_space(), configurations, -data["valid_loss"][:, 1:]
    )


def read_own(path: Path) -> Table:
    """Read the table that `record_curves.py` wrote."""
    data = np.load(path)
    space = kt.HyperParameters.from_config(json.loads(str(data["space"])))
    configurations = json.loads(str(data["configurations"]))
    return make_table(path.stem, space, configurations, data["val_accuracy"])


def make_table(
    name: str, space: Any, configurations: list[dict[str, Any]], scores: Any
) -> Table:
    encoding = Encoding(space)
    positions = np.array([encoding.positions(values) for values in configurations])
    broken = ~np.isfinite(scores)
    diverged = np.where(broken.any(1), broken.argmax(1) + 1, NEVER)
    clean = np.where(np.cumsum(broken, 1) > 0, np.nan, scores).astype(float)
    return Table(name, space, encoding, encoding.encoded(positions), clean, diverged)


def read_tables() -> list[Table]:
    """Read every table that is there."""
    tables = [read_taskset(path) for path in sorted(TASKSET.glob("*.npz"))]
    return [*tables, *([read_own(OWN)] if OWN.exists() else [])]
