"""Oracles whose state the driver keeps, and what of it has changed."""

from typing import Any

import numpy as np


class KeptInMemory:
    """Mixed into an oracle whose state the driver keeps.

    keras-tuner rewrites its files in place, so that a kill leaves them truncated and
    the search unreadable; the driver writes the same state whole instead.

    Attributes:
        unsaved: ids of the trials that changed since the driver saved them last.
    """

    _tried_so_far: set[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.unsaved: dict[str, None] = {}
        super().__init__(*arguments, **options)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return what the tuner answers, NumPy's numbers as Python's."""
        answer: dict[str, Any] = super().populate_space(trial_id)  # type: ignore[misc]
        for name, value in (answer.get("values") or {}).items():
            if isinstance(value, np.generic):
                answer["values"][name] = value.item()
        return answer

    def save(self) -> None:
        """Write nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Note the trial: keras-tuner calls this whenever one has begun or changed.

        That is at the end of `create_trial`, `update_trial` and `end_trial`, when all
        that it keeps by trial id has been brought up to date.
        """
        self.unsaved[trial.trial_id] = None

    def _check_consecutive_failures(self) -> None:
        """End nothing: the driver decides when failures end a search."""

    def get_state(self) -> dict[str, Any]:
        """Return keras-tuner's state, the hashes as the set they are.

        keras-tuner makes a list of them, which takes longer the more there are.
        """
        tried, self._tried_so_far = self._tried_so_far, set()
        try:
            state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        finally:
            self._tried_so_far = tried
        return state | {"tried_so_far": tried}
