"""Knobs as a report draws them: which differ, and where their values lie on an axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from search.records import Trial, Value

# A knob with at most so many values is drawn in steps.
MOST_STEPS = 6
LOG_FROM_RATIO = 30
# Where a trial crosses the axis of a knob that is not active in it.
OFF = -0.24
SPREAD = 0.05


@dataclass(frozen=True)
class Knob:
    """A knob that differs between trials. `kind`: steps, linear or log."""

    name: str
    kind: str
    values: list[Value]

    def position(self, value: Value) -> float:
        """Return where a value lies on the knob's axis."""
        return float(self.values.index(value) if self.kind == "steps" else value)


def varied_knobs(trials: Sequence[Trial]) -> list[Knob]:
    """Return the knobs with more than one value, in the order trials name them."""
    names = dict.fromkeys(name for trial in trials for name in trial.values)
    knobs = [make_knob(name, trials) for name in names]
    return [knob for knob in knobs if len(knob.values) > 1]


def make_knob(name: str, trials: Sequence[Trial]) -> Knob:
    """Return a knob with its distinct values, in order."""
    drawn = [trial.values[name] for trial in trials if name in trial.values]
    values = list(dict.fromkeys(drawn))
    if any(isinstance(value, bool | str) for value in values):
        return Knob(name, "steps", sorted(values, key=str))
    values.sort()
    is_whole = all(isinstance(value, int) for value in values)
    is_repeated = len(values) <= max(3, len(drawn) / 2)
    if len(values) <= MOST_STEPS and (is_whole or is_repeated):
        return Knob(name, "steps", values)
    low, high = float(values[0]), float(values[-1])
    is_log = low > 0 and high / low >= LOG_FROM_RATIO
    return Knob(name, "log" if is_log else "linear", values)


def knob_height(knob: Knob, trial: Trial, number: int) -> float:
    """Return where a trial crosses a knob's axis, 0–1, or below where not active.

    Args:
        number: of the trial; equal values are spread a little by it.
    """
    spread = (number * 0.618 % 1 - 0.5) * SPREAD
    if knob.name not in trial.values:
        return OFF + spread
    share = share_of(knob, trial.values[knob.name])
    return share + (spread if knob.kind == "steps" else 0)


def share_of(knob: Knob, value: Value) -> float:
    """Return where a value lies between the lowest and the highest, 0–1."""
    places = [knob.position(own) for own in knob.values]
    place, low, high = knob.position(value), min(places), max(places)
    if knob.kind == "log":
        place, low, high = math.log(place), math.log(low), math.log(high)
    return (place - low) / (high - low)


def named_heights(knob: Knob, has_off: bool) -> list[tuple[float, Value]]:
    """Return the heights of an axis that are named, and the names."""
    ends = knob.values if knob.kind == "steps" else [knob.values[0], knob.values[-1]]
    named = [(share_of(knob, value), value) for value in ends]
    return [*named, *([(OFF, "off")] if has_off else [])]
