"""What every hypermodel has in common: plain values in, knobs, a compiled model out."""

import abc
import math
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import keras
import keras_tuner as kt
import numpy as np

from hypermodels import losses, metrics, optimizers
from hypermodels.augmentation import make_augmentation
from hypermodels.augmented_model import AugmentedModel, EpochRules
from hypermodels.errors import WeightsError
from hypermodels.optimizers import Values


class Network(NamedTuple):
    """A graph, and which of its layers came with weights learned elsewhere."""

    outputs: Any
    pretrained_layers: tuple[keras.layers.Layer, ...] = ()


class ImageHyperModel(kt.HyperModel, abc.ABC):
    """A search space of image models: `declare` is the space, `network` the graph.

    Images are (batch, height, width, 3) of any type, RGB 0-255. Works in a plain
    `keras_tuner.Tuner` too.

    Args:
        image_shape: (height, width, 3) of the arrays.
        num_classes: classes; segmentation has foreground and background.
        input_size: edge in pixels the network works at, if not that of the arrays; the
            model resizes inside.
        weights: of pretrained parts: `imagenet`, `none` or the path of a file.
        train_size: training images, for schedules.
        epochs: epochs of a trial's whole life, for schedules.
    """

    task: ClassVar[Literal["classification", "segmentation"]]
    objective: ClassVar[str]
    direction: ClassVar[Literal["max", "min"]] = "max"
    # Configurations known by name: knob -> value; what is left out is at its default.
    baselines: ClassVar[dict[str, Values]] = {}
    # Values no tuner draws, but which can be asked for by fixing the knob.
    on_request: ClassVar[dict[str, tuple[Any, ...]]] = {}

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int = 2,
        *,
        input_size: int | None = None,
        weights: str = "imagenet",
        train_size: int = 45_000,
        epochs: int = 30,
    ) -> None:
        super().__init__()
        self.image_shape = checked_shape(image_shape)
        self.num_classes = at_least(2, num_classes, "num_classes")
        self.input_size = input_size and at_least(8, input_size, "input_size")
        self.weights = checked_weights(weights)
        self.train_size = at_least(1, train_size, "train_size")
        self.epochs = at_least(1, epochs, "epochs")

    @property
    def working_shape(self) -> tuple[int, int]:
        """Height and width in pixels the network works at."""
        if self.input_size:
            return self.input_size, self.input_size
        return self.image_shape[0], self.image_shape[1]

    @abc.abstractmethod
    def draw(self, hp: kt.HyperParameters) -> None:
        """Declare every knob, the conditional ones within their scope."""

    @abc.abstractmethod
    def network(self, values: Values, images: Any) -> Network:
        """Return the graph from images, 0-255, to float32 probabilities."""

    def draw_batch_size(self, hp: kt.HyperParameters, *choices: int) -> None:
        """Declare the batch sizes that leave 4 steps an epoch, at least the least.

        Args:
            choices: ascending; the middle one is the default where it is left.
        """
        most = max(choices[0], self.train_size // 4)
        left = [size for size in choices if size <= most]
        default = min(left[-1], choices[len(choices) // 2])
        hp.Choice("batch_size", left, default=default)

    def declare(self, hp: kt.HyperParameters) -> Values:
        """Declare every knob and return the values of the active ones.

        Builds no graph: the space can be read cheaply.
        """
        self.draw(hp)
        return {
            knob.name: hp.values[knob.name]
            for knob in hp.space
            if hp.is_active(knob) and not knob.name.startswith("tuner/")
        }

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """Return the compiled model of one configuration."""
        values = self.declare(hp)
        images = keras.Input(self.image_shape, dtype="float32", name="images")
        network = self.network(values, images)
        model = AugmentedModel(
            images,
            network.outputs,
            augmentation=make_augmentation(
                self.task,
                values["augmentation"],
                mixing=values.get("mixing", "none"),
                erasing=values.get("erasing_probability", 0.0),
                num_classes=self.num_classes,
            ),
            rules=self.epoch_rules(values, network),
            name=type(self).__name__.lower(),
        )
        model.compile(
            optimizer=self.make_optimizer(values, network),
            loss=self.make_loss(values),
            metrics=self.make_metrics(),
        )
        return model

    def fit(
        self, hp: kt.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Train, with the batch size of the knob where `x` is an array."""
        images = args[0] if args else kwargs.get("x")
        if isinstance(images, np.ndarray) or keras.ops.is_tensor(images):
            kwargs.setdefault("batch_size", self.batch_size(hp.values))
        callbacks = [*(kwargs.pop("callbacks", None) or []), BetweenEpochs()]
        return model.fit(*args, callbacks=callbacks, **kwargs)

    def batch_size(self, values: Values) -> int:
        """Return the images per training step of one configuration."""
        return int(values["batch_size"])

    def steps_per_epoch(self, values: Values) -> int:
        """Return the training steps of one epoch."""
        return math.ceil(self.train_size / self.batch_size(values))

    def wait_epochs(self, values: Values) -> int:
        """Return the epochs in which only the head of a network learns."""
        fraction = values.get("head_first_fraction", 0.0)
        return max(1, round(fraction * self.epochs)) if fraction else 0

    def epoch_rules(self, values: Values, network: Network) -> EpochRules:
        """Return what changes between the epochs of a trial."""
        on_plateau = values["schedule"] == "reduce_on_plateau"
        wait_epochs = self.wait_epochs(values)
        norms = [
            layer
            for layer in network.pretrained_layers
            if isinstance(layer, keras.layers.BatchNormalization)
        ]
        return EpochRules(
            optimizers.plateau_patience(self.epochs) if on_plateau else None,
            tuple(norms) if wait_epochs else (),
            wait_epochs,
        )

    def make_optimizer(
        self, values: Values, network: Network
    ) -> keras.optimizers.Optimizer:
        """Make the optimiser; what is pretrained may be slower and start later."""
        epoch_steps = self.steps_per_epoch(values)
        steps = epoch_steps * self.epochs
        slow_part = None
        slow = [
            variable
            for layer in network.pretrained_layers
            for variable in layer.trainable_variables
        ]
        fraction = values.get(
            "backbone_rate_fraction", values.get("deep_backbone_rate_fraction")
        )
        if slow and fraction is not None:
            wait_steps = self.wait_epochs(values) * epoch_steps
            slow_part = optimizers.SlowPart(slow, fraction, wait_steps)
        return optimizers.make_optimizer(
            values,
            steps=steps,
            slow_part=slow_part,
            averaged_steps=epoch_steps if values.get("weight_averaging") else 0,
        )

    def make_loss(self, values: Values) -> losses.Loss:
        if self.task == "segmentation":
            return losses.SEGMENTATION_LOSSES[values["loss"]]
        return losses.LabelCrossEntropy(
            self.num_classes, values.get("label_smoothing", 0.0)
        )

    def make_metrics(self) -> list[keras.metrics.Metric]:
        if self.task == "segmentation":
            return metrics.segmentation_metrics()
        return metrics.classification_metrics(self.num_classes)


class BetweenEpochs(keras.callbacks.Callback):
    """Calls `AugmentedModel.begin_epoch` in a plain `fit`."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.history: dict[str, list[float | None]] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.begin_epoch(epoch, self.history)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)


def checked_shape(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    height, width, channels = image_shape if len(image_shape) == 3 else (0, 0, 0)
    if min(height, width) < 8 or channels != 3:
        raise ValueError(
            "Expected image_shape (height, width, 3) of at least 8 pixels. "
            f"Received: {tuple(image_shape)}."
        )
    return int(height), int(width), int(channels)


def at_least(smallest: int, value: int, name: str) -> int:
    if value < smallest:
        raise ValueError(f"Expected {name} >= {smallest}. Received: {value}.")
    return int(value)


def checked_weights(weights: str) -> str:
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise WeightsError(
            "Expected weights 'imagenet', 'none' or the path of a file. "
            f"Received: {weights!r}, where there is no file."
        )
    return str(weights)
