"""A functional Keras model that augments its training batches inside the step.

Augmentation inside the compiled step costs no second pipeline, runs where the network
runs, and its random state is a variable of the model: the arrays of `model.variables`
and `model.optimizer.variables`, assigned to a fresh model, continue a training exactly.
"""

from typing import Any

import keras


class AugmentedModel(keras.Model):
    """A functional model; `augmentation` sees training batches only.

    Args:
        inputs, outputs: as of `keras.Model`.
        augmentation: layer `(images, targets) -> (images, targets)`, or None. It is no
            part of the graph: `inference_model` holds built-in layers only.
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        augmentation: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inputs, outputs, **kwargs)
        self.augmentation = augmentation

    def train_step(self, *arguments: Any) -> Any:
        """Augment a batch, then train on it.

        Args:
            arguments: `(data,)`, or `(state, data)` on JAX, where variables are passed
                in and out instead of being assigned.
        """
        *state, data = arguments
        if self.augmentation is None:
            return super().train_step(*arguments)
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

    def _augmented(self, data: Any) -> Any:
        images, targets, weights = keras.utils.unpack_x_y_sample_weight(data)
        if self.augmentation is not None:
            images, targets = self.augmentation(images, targets)
        return keras.utils.pack_x_y_sample_weight(images, targets, weights)

    def inference_model(self) -> keras.Model:
        """Return the same layers as a plain model, which loads without this package."""
        return keras.Model(self.inputs[0], self.outputs[0], name=self.name)
