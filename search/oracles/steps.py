"""The values of a Float with steps, counted from its minimum.

keras-tuner divides floats and drops the remainder: of 0 to 0.5 in steps of 0.1 it never
has 0.5, it writes the fourth value 0.30000000000000004, and it takes 0.3 for the third.
"""

import math
from typing import Any

# Of a step: what float arithmetic may be off.
TOLERANCE = 1e-9
# Decimal places of a value beyond the first of its step.
PLACES = 12


def is_stepped(knob: Any) -> bool:
    """Return whether a knob is a Float whose values are a fixed distance apart.

    Those of an Int are exact, and keras-tuner rounds where they are a factor apart.
    """
    is_float = type(knob).__name__ == "Float" and (knob.step or 0) > 0
    return is_float and knob.sampling == "linear"


def step_count(knob: Any) -> int:
    """Return how many values a stepped knob has, the maximum included if it is one."""
    steps: float = (knob.max_value - knob.min_value) / knob.step
    return math.floor(steps + TOLERANCE) + 1


def step_value(knob: Any, index: int) -> float:
    """Return the value at an index, counted from 0."""
    places = PLACES - math.floor(math.log10(knob.step))
    value = round(knob.min_value + index * knob.step, places)
    return float(min(max(value, knob.min_value), knob.max_value))


def step_index(knob: Any, value: float) -> int:
    """Return the index of the value that is nearest."""
    steps: float = (value - knob.min_value) / knob.step
    return min(max(round(steps), 0), step_count(knob) - 1)


def step_values(knob: Any) -> list[float]:
    """Return all values of a stepped knob, the smallest first."""
    return [step_value(knob, index) for index in range(step_count(knob))]
