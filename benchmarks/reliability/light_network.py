"""A network of NumPy in the place of Keras', with all that makes resuming hard.

Softmax regression with momentum, a decaying rate counted in steps, dropout of inputs
whose random state is a variable. Building a Keras network takes seconds, so that most
kills hit that; an epoch of this one takes milliseconds, so that they hit everything.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.training.streams import Stream

CLASSES = 10
POOL = 8


class Array:
    """What a checkpoint takes for a variable."""

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value, float)
        self.shape = self.value.shape

    def assign(self, value: NDArray[Any]) -> None:
        self.value = np.array(value)


class LightModel:
    """What `search.training.loop` takes for a compiled Keras model."""

    layers: tuple[Any, ...] = ()
    jit_compile = True  # there is nothing to make faster

    def __init__(self, order: Any) -> None:
        rng = np.random.default_rng(order.seed)
        values = order.values
        self.rate = 1e-3 + float(values.get("learning_rate", 0.01))
        self.dropout = float(values.get("dropout_rate", 0.1))
        inputs = (32 // POOL) ** 2 * 3
        self.weights = Array(0.01 * rng.normal(size=(inputs, CLASSES)))
        self.random_state = Array(order.seed)
        self.variables = [self.weights, self.random_state]
        self.speed = Array(np.zeros(self.weights.shape))
        self.steps = Array(0)
        self.optimizer = SimpleNamespace(
            variables=[self.speed, self.steps], learning_rate=self.rate
        )

    def count_params(self) -> int:
        return self.weights.value.size

    def begin_epoch(self, epoch: int, history: Any) -> None:
        pass

    def fit(
        self,
        source: Stream,
        *,
        validation_data: Stream,
        callbacks: Any,
        **unused: Any,
    ) -> Any:
        """Train an epoch and return what Keras would."""
        losses = []
        for step in range(len(source)):
            images, labels = source.batch(step)
            losses.append(self.step(features(images), np.ravel(labels)))
            callbacks.on_train_batch_end(step, {"loss": losses[-1]})
        right = []
        for step in range(len(validation_data)):
            images, labels = validation_data.batch(step)
            guesses = np.argmax(features(images) @ self.weights.value, axis=-1)
            right.append(guesses == np.ravel(labels))
        accuracy = float(np.mean(np.concatenate(right)))
        history = {"loss": [float(np.mean(losses))], "val_accuracy": [accuracy]}
        return SimpleNamespace(history=history)

    def step(self, inputs: NDArray[Any], labels: NDArray[Any]) -> float:
        """Update the weights by a batch and return its loss."""
        rng = np.random.default_rng(int(self.random_state.value))
        self.random_state.assign(np.asarray(self.random_state.value + 1))
        inputs = inputs * (rng.random(inputs.shape) >= self.dropout)
        scores = inputs @ self.weights.value
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        places = np.arange(len(labels)), labels.astype(int)
        loss = -np.log(scores[places]).mean()
        scores[places] -= 1
        rate = self.rate / (1 + 0.1 * float(self.steps.value))
        gradient = inputs.T @ scores / len(labels)
        self.speed.assign(0.9 * self.speed.value - rate * gradient)
        self.weights.assign(self.weights.value + self.speed.value)
        self.steps.assign(np.asarray(self.steps.value + 1))
        return float(loss)


def features(images: NDArray[Any]) -> NDArray[Any]:
    """Return the mean colours of squares of the images, (images, inputs)."""
    side = images.shape[1] // POOL
    squares = np.asarray(images, float).reshape(-1, side, POOL, side, POOL, 3)
    return squares.mean(axis=(2, 4)).reshape(len(images), -1) / 255
