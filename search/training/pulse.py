"""Signs of life during an epoch, and the checks that should not wait for its end."""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from search.errors import NotFiniteError, OutOfTimeError
from search.orders import Report

# Called with the stage that begins, or with what the user should know.
Pulse = Callable[[str], None]

SECONDS_BETWEEN_BEATS = 1.0
# So many steps may be under way on an accelerator: what it takes Python to hand over
# one is hidden, and a beat still says that the device goes on.
STEPS_AHEAD = 8


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


def make_pulse(pulse: Pulse, clock: TrialClock) -> Callable[[Any], Any]:
    """Return what makes the callbacks of a model's `fit`, which beat after its steps.

    At most once a second. Keras' own callbacks of a step read its logs first, so that
    an accelerator waits for Python after each; these read the loss of an earlier step.
    """
    import keras

    class StepPulses(keras.callbacks.CallbackList):
        """Beats, and ends an epoch that cannot end well; keeps the history."""

        def __init__(self, model: Any) -> None:
            super().__init__(add_history=True, model=model)
            self.last_beat = -math.inf
            self.under_way: deque[tuple[str, dict[str, Any]]] = deque()

        def on_train_batch_end(
            self, batch: int, logs: dict[str, Any] | None = None
        ) -> None:
            self.step("training", logs)

        def on_test_batch_end(
            self, batch: int, logs: dict[str, Any] | None = None
        ) -> None:
            self.step("validating", logs)

        def step(self, stage: str, logs: dict[str, Any] | None) -> None:
            """Check the clock and an earlier step; beat where a second has passed."""
            clock.check()
            begin_copy((logs or {}).get("loss"))
            self.under_way.append((stage, logs or {}))
            if len(self.under_way) > STEPS_AHEAD:
                self.wait_for(*self.under_way.popleft())
            now = time.monotonic()
            if now - self.last_beat >= SECONDS_BETWEEN_BEATS:
                self.last_beat = now
                pulse(stage)

        def wait_for(self, stage: str, logs: dict[str, Any]) -> None:
            """Read the loss of a step, which waits for it; one of training is checked.

            What is not finite on validation is recorded, and ends nothing.
            """
            if stage == "training":
                check_loss(logs)
            else:
                float(logs.get("loss", 0.0))

    return StepPulses


def begin_copy(value: Any) -> None:
    """Let an array of JAX come to the host when it is computed, not when it is read."""
    copy = getattr(value, "copy_to_host_async", None)
    if copy is not None:
        copy()


def check_loss(logs: dict[str, Any] | None) -> None:
    """Raise NotFiniteError where the running mean of the loss is not finite."""
    loss = float((logs or {}).get("loss", 0.0))
    if not math.isfinite(loss):
        raise NotFiniteError(f"loss = {loss}")
