"""Configurations as points: positions in [0, 1] a knob, and columns for a distance.

Positions are keras-tuner's own (`value_to_prob`), but for Floats with steps (`steps`):
uniform where the knob is drawn uniformly, so log-sampled knobs are straight. NaN stands
for an inactive knob.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.oracles.steps import is_stepped, step_count, step_index, step_value

Array = NDArray[np.float64]
# Two values of an unordered choice are as far apart as the ends of a range.
ONE_HOT = np.sqrt(0.5)
# Digits in which two values differ, if they are two: not by rounding alone.
DIGITS = 12


class Encoding:
    """The space of a search as vectors.

    An ordered knob is one column, its position; an unordered choice one column a value.
    An inactive knob stands in the middle of its range, or on none of its values: how
    much its being inactive means is told by the knob that it depends on.

    Attributes:
        knobs: of the declared space, in order.
        sizes: number of values of each, 0 where continuous.
        searched: the knobs with more than one value.
        columns: of each column, the place in `searched` of its knob.
    """

    def __init__(self, space: Any) -> None:
        self.space = space
        self.knobs = list(space.space)
        self.sizes = np.array([number_of_values(knob) for knob in self.knobs], int)
        self.searched = [k for k, size in enumerate(self.sizes) if size != 1]
        self.unordered = [
            self.sizes[k] > 2 and not getattr(self.knobs[k], "ordered", True)
            for k in self.searched
        ]
        self.columns = np.array(
            [
                place
                for place, k in enumerate(self.searched)
                for _ in range(self.sizes[k] if self.unordered[place] else 1)
            ],
            int,
        )
        self.conditions = [
            [self.parents(condition) for condition in knob.conditions]
            for knob in self.knobs
        ]

    def parents(self, condition: Any) -> list[tuple[int, Any]]:
        """Return the knobs a condition looks at, each with the condition."""
        return [
            (k, condition)
            for k, knob in enumerate(self.knobs)
            if knob.name == condition.name
        ]

    def meets(self, condition: Any, k: int, positions: Array) -> NDArray[np.bool_]:
        """Return where a knob at settled positions (m,) meets a condition.

        Of the few values of a knob each is looked at once; a knob of too many to count
        has another value at every position.
        """
        places, where = np.unique(positions, return_inverse=True)
        met = [
            not math.isnan(place) and value_at(self.knobs[k], place) in condition.values
            for place in places
        ]
        return np.array(met, bool)[where]

    def positions(self, values: dict[str, Any]) -> Array:
        """Return the positions of a configuration, (knobs,)."""
        result = np.full(len(self.knobs), np.nan)
        active: dict[str, Any] = {}
        for k, knob in enumerate(self.knobs):
            is_active = all(c.is_active(active) for c in knob.conditions)
            if is_active and knob.name in values:
                active[knob.name] = values[knob.name]
                result[k] = position_of(knob, values[knob.name])
        return result

    def values(
        self, positions: Array, given: Mapping[int, Any] | None = None
    ) -> dict[str, Any]:
        """Return the configuration at positions (knobs,); inactive knobs are left out.

        Args:
            positions: of inactive and of given knobs they may be anything.
            given: the place of a knob -> its value, whatever its position.
        """
        given = given or {}
        result: dict[str, Any] = {}
        for k, (knob, position) in enumerate(zip(self.knobs, positions, strict=True)):
            if all(condition.is_active(result) for condition in knob.conditions):
                value = given[k] if k in given else value_at(knob, position)
                result[knob.name] = value
        return result

    def settled(self, draws: Array) -> Array:
        """Return (m, knobs) uniform draws as positions, those of inactive knobs NaN."""
        result = draws.copy()
        discrete = self.sizes > 0
        sizes = self.sizes[discrete]
        index = np.minimum(np.floor(draws[:, discrete] * sizes), sizes - 1)
        result[:, discrete] = (index + 0.5) / sizes
        for k, conditions in enumerate(self.conditions):
            for parents in conditions:
                met = np.zeros(len(draws), bool)
                for parent, condition in parents:
                    met |= self.meets(condition, parent, result[:, parent])
                result[~met, k] = np.nan
        return result

    def encoded(self, positions: Array) -> Array:
        """Return (m, columns) for positions (m, knobs)."""
        blocks = []
        for place, k in enumerate(self.searched):
            column = positions[:, k]
            if self.unordered[place]:
                index = np.nan_to_num(column * self.sizes[k], nan=-1.0).astype(int)
                index[np.isnan(column)] = -1
                hot = index[:, None] == np.arange(self.sizes[k])
                blocks.append(hot * ONE_HOT)
            else:
                blocks.append(np.nan_to_num(column, nan=0.5)[:, None])
        return np.concatenate(blocks, 1) if blocks else np.zeros((len(positions), 0))


def configuration_key(values: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the knobs and values in order, without keras-tuner's own entries.

    Configurations that differ by rounding alone have the same key.
    """
    return tuple(
        (name, comparable(values[name]))
        for name in sorted(values)
        if not name.startswith("tuner/")
    )


def comparable(value: Any) -> Any:
    """Return a value without what rounding has made of its last digits."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def number_of_values(knob: Any) -> int:
    """Return how many values a knob has; 0 = too many to count."""
    kind = type(knob).__name__
    if kind == "Fixed":
        return 1
    if kind == "Boolean":
        return 2
    if kind == "Choice":
        return len(knob.values)
    if knob.min_value == knob.max_value:
        return 1
    if is_stepped(knob):
        return step_count(knob)
    if knob.step is not None:
        return len(list(knob.values))
    if kind == "Int" and knob.sampling == "linear":
        return int(knob.max_value - knob.min_value + 1)
    return 0


def value_at(knob: Any, position: float) -> Any:
    """Return the value at a position; Fixed has one."""
    if type(knob).__name__ == "Fixed":
        return knob.value
    within = min(max(float(position), 0.0), 1.0 - 1e-12)
    if is_stepped(knob):
        return step_value(knob, math.floor(within * step_count(knob)))
    return knob.prob_to_value(within)


def position_of(knob: Any, value: Any) -> float:
    """Return the position of a value."""
    if type(knob).__name__ == "Fixed":
        return 0.5
    if is_stepped(knob):
        return (step_index(knob, value) + 0.5) / step_count(knob)
    return float(knob.value_to_prob(value))


def stacked(rows: Sequence[Array], width: int) -> Array:
    """Return rows as (n, width), also where there are none."""
    return np.array(rows, float).reshape(len(rows), width)
