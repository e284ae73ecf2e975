"""Signs of life during an epoch, and the checks that should not wait for its end."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.errors import NotFiniteError, OutOfTimeError
from search.orders import Report

# Called with the stage that begins, or with what the user should know.
Pulse = Callable[[str], None]

SECONDS_BETWEEN_BEATS = 1.0


def silent(stage: str) -> None:
    """Give no sign of life."""


Act = Callable[[], None]


def at_once(act: Act) -> None:
    """Do what could wait until the order is answered."""
    act()


@dataclass(frozen=True)
class Link:
    """What a training is connected to while it runs.

    Attributes:
        report: called after every finished epoch, once it is safely on disk.
        is_stopped: asked after every epoch; True ends the order with PAUSED.
        pulse: called with the stage that begins, often enough to be missed.
        later: takes what can wait until the order is answered.
    """

    report: Report
    is_stopped: Callable[[], bool]
    pulse: Pulse = silent
    later: Callable[[Act], None] = at_once


class TrialClock:
    """Counts the time a trial has trained, over all its lives.

    Args:
        spent: seconds of its finished epochs.
        limit: seconds a trial may train, or None.
    """

    def __init__(self, spent: float, limit: float | None) -> None:
        self._began = time.monotonic() - spent
        self._limit = limit

    def check(self) -> None:
        """Raise OutOfTimeError where the limit is passed."""
        spent = time.monotonic() - self._began
        if self._limit is not None and spent >= self._limit:
            raise OutOfTimeError(
                f"trained for {spent:.3g} s, more than --trial-timeout"
                f" {self._limit:.3g} s"
            )


def make_pulse(pulse: Pulse, clock: TrialClock) -> Any:
    """Make the Keras callback that beats after a step, at most once a second.

    The loss is looked at as often: reading it at every step would make an accelerator
    wait.
    """
    import keras

    class StepPulse(keras.callbacks.Callback):
        """Beats, and ends an epoch that cannot end well."""

        def __init__(self) -> None:
            super().__init__()
            self.last_beat = -math.inf

        def on_train_batch_end(
            self, batch: int, logs: dict[str, Any] | None = None
        ) -> None:
            if self.is_due():
                pulse("training")
                check_loss(logs)

        def on_test_batch_end(
            self, batch: int, logs: dict[str, Any] | None = None
        ) -> None:
            if self.is_due():
                pulse("validating")

        def is_due(self) -> bool:
            """Return whether a second has passed; check the clock at every step."""
            clock.check()
            now = time.monotonic()
            if now - self.last_beat < SECONDS_BETWEEN_BEATS:
                return False
            self.last_beat = now
            return True

    return StepPulse()


def check_loss(logs: dict[str, Any] | None) -> None:
    """Raise NotFiniteError where the running mean of the loss is not finite."""
    loss = float((logs or {}).get("loss", 0.0))
    if not math.isfinite(loss):
        raise NotFiniteError(f"loss = {loss}")
