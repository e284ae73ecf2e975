"""Optimisers and learning-rate schedules, as knobs and as what they make.

Schedules are functions of the training step over a trial's whole life (epochs x steps),
and `reduce_on_plateau` of its recorded history besides: a trial that is continued, or
promoted, goes on where it was.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner as kt

Values = dict[str, Any]

OPTIMIZERS: dict[str, type] = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}
SCHEDULES = ("cosine", "constant", "step", "one_cycle", "reduce_on_plateau")
# Keras' ReduceLROnPlateau.
PLATEAU_FACTOR = 0.1
PLATEAU_MIN_DELTA = 1e-4


def draw_optimizer(
    hp: kt.HyperParameters,
    choices: Sequence[str],
    learning_rate: float,
    sgd_learning_rate: float,
) -> None:
    """Declare the knobs of optimiser and schedule.

    Args:
        choices: optimisers, the default first.
        learning_rate: default of Adam, AdamW and RMSprop; the range is a factor of 20
            to either side.
        sgd_learning_rate: default of SGD (Nesterov momentum 0.9), likewise.
    """
    hp.Choice("optimizer", list(choices))
    adaptive = [name for name in choices if name != "sgd"]
    with hp.conditional_scope("optimizer", adaptive):
        draw_rate(hp, "learning_rate", learning_rate)
    if "adamw" in choices:
        with hp.conditional_scope("optimizer", ["adamw"]):
            hp.Float("weight_decay", 1e-4, 1e-1, sampling="log", default=1e-2)
    if "sgd" in choices:
        with hp.conditional_scope("optimizer", ["sgd"]):
            draw_rate(hp, "sgd_learning_rate", sgd_learning_rate)
            hp.Float("sgd_weight_decay", 1e-4, 5e-2, sampling="log", default=5e-3)
    hp.Choice("schedule", list(SCHEDULES))
    warmed_up = [name for name in SCHEDULES if name != "one_cycle"]
    with hp.conditional_scope("schedule", warmed_up):
        hp.Choice("warmup_fraction", [0.0, 0.05, 0.1], default=0.05)


def draw_rate(hp: kt.HyperParameters, name: str, default: float) -> None:
    """Declare a learning rate, log-uniform from default / 20 to default x 20."""
    hp.Float(name, default / 20, default * 20, sampling="log", default=default)


class TrialSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate over all `steps` of a trial.

    `cosine`: Loshchilov & Hutter 2017, to zero. `step`: a tenth from one half, a
    hundredth from three quarters of the steps (He et al. 2016, section 4.2).
    `one_cycle`: from 1/25 up to the peak in 30% of the steps, then by a cosine to zero
    (Smith & Topin 2018, with the numbers of PyTorch's OneCycleLR).
    `reduce_on_plateau`: times `scale`, which is set between epochs (`plateau_scale`).

    Peak and scale are a variable, so that neither is part of the graph: trials of one
    architecture can share it (`hypermodels.dials`).

    Args:
        peak: largest learning rate.
        warmup_fraction: share of the steps of a linear rise from zero.
    """

    def __init__(
        self, kind: str, peak: float, steps: int, warmup_fraction: float = 0.0
    ) -> None:
        super().__init__()
        self.kind = kind
        self.peak = peak
        self.scale = 1.0
        self.steps = steps
        self.warmup_fraction = 0.3 if kind == "one_cycle" else warmup_fraction
        self.rate = keras.Variable(peak, trainable=False, dtype="float32", name="rate")

    def set(self, peak: float, scale: float = 1.0) -> None:
        """Change what is a variable."""
        self.peak, self.scale = peak, scale
        self.rate.assign(peak * scale)

    def __call__(self, step: Any) -> Any:
        ops = keras.ops
        step = ops.cast(step, "float32")
        progress = ops.clip(step / self.steps, 0.0, 1.0)
        warmup = self.warmup_fraction
        if self.kind == "one_cycle":
            rise = 0.5 - 0.5 * ops.cos(math.pi * ops.minimum(progress / warmup, 1.0))
            rise = 0.04 + 0.96 * rise
        elif warmup:
            rise = ops.minimum((step + 1.0) / (warmup * self.steps), 1.0)
        else:
            rise = 1.0
        return ops.convert_to_tensor(self.rate) * rise * self.shape(progress)

    def shape(self, progress: Any) -> Any:
        """Return the decay at `progress` (0-1 of all steps), 1 before it sets in."""
        ops = keras.ops
        if self.kind in ("constant", "reduce_on_plateau"):
            return ops.ones_like(progress)
        if self.kind == "step":
            late = ops.where(progress < 0.75, 0.1, 0.01)
            return ops.where(progress < 0.5, 1.0, late)
        start = self.warmup_fraction
        decay = ops.maximum(progress - start, 0.0) / (1.0 - start)
        return 0.5 + 0.5 * ops.cos(math.pi * decay)

    def get_config(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "peak": self.peak,
            "steps": self.steps,
            "warmup_fraction": self.warmup_fraction,
        }


def plateau_scale(losses: Sequence[float | None], patience: int) -> float:
    """Return the learning rate over its peak after epochs with these losses.

    A tenth each time the loss has not fallen for `patience` epochs: what Keras'
    ReduceLROnPlateau does, as a function of the history alone.
    """
    least, waited, scale = math.inf, 0, 1.0
    for loss in losses:
        if loss is not None and loss < least - PLATEAU_MIN_DELTA:
            least, waited = loss, 0
            continue
        waited += 1
        if waited >= patience:
            scale, waited = scale * PLATEAU_FACTOR, 0
    return scale


def plateau_patience(epochs: int) -> int:
    """Return a tenth of a trial's epochs, at least 2."""
    return max(2, round(epochs / 10))


@dataclass(frozen=True)
class SlowPart:
    """The pretrained part of a network and how it is trained.

    Attributes:
        variables: its trainable variables.
        rate_fraction: its learning rate as a fraction of the rest's.
        wait_steps: training steps in which it does not move (head first).
    """

    variables: Sequence[keras.Variable]
    rate_fraction: float
    wait_steps: int


def slowed(base: type, part: SlowPart) -> type:
    """Return a subclass of an optimiser class that trains `part` more slowly.

    Keras' MultiOptimizer has no learning rate that callbacks could log; here the one
    learning rate stays the new layers', and the pretrained layers follow it.
    """
    slow = {id(variable) for variable in part.variables}

    class Slowed(base):
        slow_part = part

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.slow_places = {
                place for place, each in enumerate(variables) if id(each) in slow
            }

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> Any:
            if self._get_variable_index(variable) in self.slow_places:
                moves = keras.ops.cast(self.iterations >= part.wait_steps, "float32")
                factor = moves * part.rate_fraction
                learning_rate = learning_rate * keras.ops.cast(
                    factor, learning_rate.dtype
                )
            return super().update_step(gradient, variable, learning_rate)

    return Slowed


def make_optimizer(
    values: Values,
    *,
    steps: int,
    slow_part: SlowPart | None = None,
    averaged_steps: int = 0,
) -> keras.optimizers.Optimizer:
    """Make the optimiser of a trial.

    Args:
        values: knob values, those of `draw_optimizer` among them.
        steps: training steps of the whole trial.
        slow_part: pretrained variables; they are not decayed towards zero either.
        averaged_steps: 0, or the steps of an epoch, at whose end the weights become
            their exponential average over its last fifth.
    """
    options = settings(values, steps)
    if averaged_steps:
        options |= {
            "use_ema": True,
            "ema_momentum": max(0.0, 1.0 - 5.0 / averaged_steps),
            "ema_overwrite_frequency": averaged_steps,
        }
    base = OPTIMIZERS[values["optimizer"]]
    optimizer = (slowed(base, slow_part) if slow_part else base)(**options)
    optimizer.trial_schedule = options["learning_rate"]
    if "weight_decay" in options:
        # Goyal et al. 2017, section 5.1: neither scales nor biases are decayed.
        optimizer.exclude_from_weight_decay(
            var_list=list(slow_part.variables) if slow_part else None,
            var_names=["bias", "gamma", "beta"],
        )
    return optimizer


def settings(values: Values, steps: int) -> dict[str, Any]:
    """Return the arguments of the optimiser that are knobs."""
    prefix = "sgd_" if values["optimizer"] == "sgd" else ""
    rate = TrialSchedule(
        values["schedule"],
        values[f"{prefix}learning_rate"],
        steps,
        values.get("warmup_fraction", 0.0),
    )
    options: dict[str, Any] = {"learning_rate": rate}
    if prefix:
        options |= {"momentum": 0.9, "nesterov": True}
    if f"{prefix}weight_decay" in values:
        options["weight_decay"] = values[f"{prefix}weight_decay"]
    return options
