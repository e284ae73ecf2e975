"""Metrics of both tasks, under the names they have in every log.

Those of segmentation leave void pixels (255) out and are accumulated over all pixels of
a split, not averaged over images. Where there is nothing to find and nothing was found
they are 1.
"""

import abc
from typing import Any

import keras

from hypermodels.losses import one_hot_labels, split_void

THRESHOLD = 0.5


class PixelCounts(keras.metrics.Metric, abc.ABC):
    """Counts of true and false positives and negatives over valid pixels."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.true_positives = self.count("true_positives")
        self.false_positives = self.count("false_positives")
        self.false_negatives = self.count("false_negatives")
        self.true_negatives = self.count("true_negatives")

    def count(self, name: str) -> Any:
        return self.add_variable((), "zeros", name=name, dtype="float32")

    def update_state(
        self, masks: Any, probabilities: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch; `sample_weight` is ignored, validity is in the mask."""
        ops = keras.ops
        truth, probabilities, valid = split_void(masks, probabilities)
        found = ops.cast(probabilities >= THRESHOLD, "float32") * valid
        hit = ops.sum(found * truth)
        extra, missed = ops.sum(found) - hit, ops.sum(truth) - hit
        self.true_positives.assign_add(hit)
        self.false_positives.assign_add(extra)
        self.false_negatives.assign_add(missed)
        self.true_negatives.assign_add(ops.sum(valid) - hit - extra - missed)

    @abc.abstractmethod
    def result(self) -> Any:
        """Return the metric of the counts, 0-1."""


def ratio(part: Any, whole: Any) -> Any:
    """Divide; 1 where the whole is 0."""
    ops = keras.ops
    return ops.where(whole > 0, part / ops.maximum(whole, 1.0), 1.0)


class Dice(PixelCounts):
    """Dice coefficient (F1) of the foreground."""

    def __init__(self) -> None:
        super().__init__(name="dice")

    def result(self) -> Any:
        twice = 2.0 * self.true_positives
        return ratio(twice, twice + self.false_positives + self.false_negatives)


class ForegroundIoU(PixelCounts):
    """Intersection over union of the foreground."""

    def __init__(self) -> None:
        super().__init__(name="foreground_iou")

    def result(self) -> Any:
        union = self.true_positives + self.false_positives + self.false_negatives
        return ratio(self.true_positives, union)


class PixelAccuracy(PixelCounts):
    """Share of the valid pixels that are right."""

    def __init__(self) -> None:
        super().__init__(name="pixel_accuracy")

    def result(self) -> Any:
        right = self.true_positives + self.true_negatives
        return ratio(right, right + self.false_positives + self.false_negatives)


def segmentation_metrics() -> list[keras.metrics.Metric]:
    """Make `dice`, `foreground_iou` and `pixel_accuracy`."""
    return [Dice(), ForegroundIoU(), PixelAccuracy()]


def classification_metrics(num_classes: int) -> list[keras.metrics.Metric]:
    """Make `accuracy`, and `top5_accuracy` from 6 classes on.

    A mixed label counts as its largest class.
    """
    ops = keras.ops

    def accuracy(labels: Any, probabilities: Any) -> Any:
        truth = ops.argmax(one_hot_labels(labels, num_classes), axis=-1)
        return ops.cast(truth == ops.argmax(probabilities, axis=-1), "float32")

    def top5_accuracy(labels: Any, probabilities: Any) -> Any:
        truth = ops.argmax(one_hot_labels(labels, num_classes), axis=-1)
        return ops.cast(ops.in_top_k(truth, probabilities, k=5), "float32")

    functions = [accuracy, top5_accuracy] if num_classes > 5 else [accuracy]
    return [
        keras.metrics.MeanMetricWrapper(function, name=function.__name__)
        for function in functions
    ]
