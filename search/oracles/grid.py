"""Grid search: every combination in turn, the default first, none twice.

keras-tuner's own forgets, when it is stopped, which combinations come next.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from search.oracles.memory import RememberingOracle, Values
from search.oracles.steps import is_stepped, step_values


class GridSearch(RememberingOracle):
    """Try all combinations; of a range without steps keras-tuner's ten values."""

    def __init__(self, objective: Any = None, **oracle_options: Any) -> None:
        super().__init__(objective=objective, **oracle_options)
        self._left: Iterator[Values] | None = None
        self._knobs = 0

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return values and status, as keras-tuner asks for them."""
        for _ in self.news():
            pass
        values = self.requested() or self.next_combination()
        if values is None:
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": values}

    def next_combination(self) -> Values | None:
        """Return the next combination that was not tried, None after the last."""
        space = self.hyperparameters.space
        if self._left is None or len(space) != self._knobs:  # a plain Tuner may extend
            self._left, self._knobs = combinations(space), len(space)
        return next((values for values in self._left if self.is_new(values)), None)

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state of `get_state`; what was tried is passed over."""
        super().set_state(state)
        self._left = None


def combinations(
    knobs: Sequence[Any], chosen: Values | None = None
) -> Iterator[Values]:
    """Yield all combinations of active knobs, the last knob's values fastest."""
    chosen = chosen or {}
    if not knobs:
        yield chosen
        return
    knob, *others = knobs
    if all(condition.is_active(chosen) for condition in knob.conditions):
        for value in values_of(knob):
            yield from combinations(others, chosen | {knob.name: value})
    else:
        yield from combinations(others, chosen)


def values_of(knob: Any) -> list[Any]:
    """Return the values of a knob, its default first."""
    values = step_values(knob) if is_stepped(knob) else knob.values
    return [knob.default, *(value for value in values if value != knob.default)]
