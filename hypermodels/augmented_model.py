"""A functional Keras model that augments its batches and changes between its epochs.

Augmentation inside the compiled step costs no second pipeline, runs where the network
runs, and its random state is a variable of the model: the arrays of `model.variables`
and `model.optimizer.variables`, assigned to a fresh model, continue a training exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from hypermodels.optimizers import plateau_scale
from hypermodels.resident import dialled_step, gathered

History = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class EpochRules:
    """What changes between epochs, as functions of the epoch and the history.

    Attributes:
        plateau_patience: epochs without a smaller `val_loss` that reduce the learning
            rate, where the schedule is `reduce_on_plateau`.
        waiting: batch normalisations of a backbone that learns later than the head;
            meanwhile they use, and keep, their pretrained statistics.
        wait_epochs: how long it waits.
    """

    plateau_patience: int | None = None
    waiting: tuple[keras.layers.BatchNormalization, ...] = ()
    wait_epochs: int = 0


class AugmentedModel(keras.Model):
    """A functional model; `augmentation` sees training batches only.

    Args:
        inputs, outputs: as of `keras.Model`.
        augmentation: layer `(images, targets) -> (images, targets)`, or None. It is no
            part of the graph: `inference_model` holds built-in layers only.
        rules: what `begin_epoch` changes.

    Attributes:
        is_augmenting: False where the images that come are augmented already.
        dialled: variables that no state holds and trials set (`hypermodels.dials`).
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        augmentation: keras.layers.Layer | None = None,
        rules: EpochRules | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, outputs, **kwargs)
        self.augmentation = augmentation
        self.rules = rules or EpochRules()
        self.train_function: Any
        self.test_function: Any
        self.is_augmenting = True
        self.dialled: tuple[keras.Variable, ...] = ()
        self.traced_with: tuple[bool, float] | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Keras would make `dialled` part of the state, and look for variables in all
        # arrays of `_jax_state`, which is set after each step.
        if name in ("_jax_state", "dialled"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def make_train_function(self, force: bool = False) -> None:
        """Make what trains a step; on JAX `dialled` are arguments of it."""
        if not self.dialled or keras.backend.backend() != "jax":
            super().make_train_function(force)
        elif self.train_function is None or force:
            self.train_function = dialled_step(self.train_step, self.dialled)

    def make_test_function(self, force: bool = False) -> None:
        """Make what evaluates a batch, likewise: the loss may have a dial."""
        if not self.dialled or keras.backend.backend() != "jax":
            super().make_test_function(force)
        elif self.test_function is None or force:
            self.test_function = dialled_step(self.test_step, self.dialled)

    def train_step(self, *arguments: Any) -> Any:
        """Augment a batch, then train on it.

        Args:
            arguments: `(data,)`, or `(state, data)` on JAX, where variables are passed
                in and out instead of being assigned.
        """
        *state, data = arguments
        data = gathered(data)
        if self.augmentation is None or not self.is_augmenting:
            return super().train_step(*state, data)
        if not state:
            return super().train_step(self._augmented(data))
        trainable, non_trainable, *rest = state[0]
        variables = self.non_trainable_variables
        with keras.StatelessScope(
            state_mapping=list(zip(variables, non_trainable, strict=True))
        ) as scope:
            data = self._augmented(data)
        non_trainable = [
            value if (new := scope.get_current_value(variable)) is None else new
            for variable, value in zip(variables, non_trainable, strict=True)
        ]
        return super().train_step((trainable, non_trainable, *rest), data)

    def test_step(self, *arguments: Any) -> Any:
        """Evaluate a batch; the arguments are those of `train_step`."""
        *state, data = arguments
        return super().test_step(*state, gathered(data))

    def begin_epoch(self, epoch: int, history: History) -> None:
        """Set what depends on the epoch; to be called before each one.

        Args:
            epoch: epochs finished before, over the trial's whole life.
            history: Keras' logs of these epochs.
        """
        self.part_averages()
        waits, scale = epoch < self.rules.wait_epochs, 1.0
        self._set_waiting(waits)
        if self.rules.plateau_patience is not None:
            losses = history.get("val_loss", [])
            scale = plateau_scale(losses, self.rules.plateau_patience)
            schedule = self.optimizer.trial_schedule
            schedule.set(schedule.peak, scale)
        # On JAX a learning rate that is no dial is part of the graph. Compared is what
        # the graph was traced with: layers and optimizer may be another model's, too.
        is_constant = keras.backend.backend() == "jax" and not self.dialled
        traced_with = waits, scale if is_constant else 1.0
        if self.train_function is not None and self.traced_with != traced_with:
            self.make_train_function(force=True)
        self.traced_with = traced_with

    def part_averages(self) -> None:
        """Give averages of weights memory of their own; to be called after each `fit`.

        Keras 3.15 leaves weights and averages in one buffer on JAX, which the next
        `fit` would donate twice, and `predict` free.
        """
        if self.optimizer.use_ema:
            for variable in self.optimizer.variables:
                variable.assign(keras.ops.copy(variable))

    def _set_waiting(self, waits: bool) -> None:
        """Put the waiting normalisations into inference mode, or out of it."""
        for layer in self.rules.waiting:
            layer.trainable = not waits
            # The optimiser knows these; it holds their step at zero meanwhile.
            for variable in (layer.gamma, layer.beta):
                if variable is not None:
                    variable.trainable = True

    def _augmented(self, data: Any) -> Any:
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        if self.augmentation is not None:
            images, targets = self.augmentation(images, targets)
        return keras.utils.pack_x_y_sample_weight(images, targets, weights)

    def inference_model(self) -> keras.Model:
        """Return the same layers as a plain model, which loads without this package."""
        return keras.Model(self.inputs[0], self.outputs[0], name=self.name)
