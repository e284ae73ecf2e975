"""Losses of both tasks; those of segmentation leave void pixels out.

Masks are (batch, height, width) or (batch, height, width, 1) of any type, 0 background,
1 foreground (between them: its probability), 255 void; probabilities (batch, height,
width, 1). A batch that is all void has loss 0 and gradient 0. Sums run over the pixels
of the whole batch.
"""

from collections.abc import Callable
from typing import Any

import keras

from hypermodels.augmentation import VOID

Loss = Callable[[Any, Any], Any]
EPSILON = 1e-7


def split_void(masks: Any, probabilities: Any) -> tuple[Any, Any, Any]:
    """Return truth, probabilities and validity, each (pixels,) float32."""
    ops = keras.ops
    masks = ops.reshape(ops.cast(masks, "float32"), (-1,))
    probabilities = ops.reshape(ops.cast(probabilities, "float32"), (-1,))
    valid = ops.cast(ops.not_equal(masks, VOID), "float32")
    return masks * valid, probabilities, valid


def pixel_cross_entropy(truth: Any, probabilities: Any) -> tuple[Any, Any]:
    """Return the probability of what is true and the cross-entropy, per pixel."""
    ops = keras.ops
    wrong = 1.0 - probabilities
    right = truth * probabilities + (1.0 - truth) * wrong
    loss = truth * ops.log(ops.clip(probabilities, EPSILON, 1.0))
    loss += (1.0 - truth) * ops.log(ops.clip(wrong, EPSILON, 1.0))
    return ops.clip(right, EPSILON, 1.0), -loss


def mean_over_valid(values: Any, valid: Any) -> Any:
    """Average over the valid pixels; 0 where there is none."""
    ops = keras.ops
    return ops.sum(values * valid) / ops.maximum(ops.sum(valid), 1.0)


def cross_entropy(masks: Any, probabilities: Any) -> Any:
    """Binary cross-entropy, in nats a pixel."""
    truth, probabilities, valid = split_void(masks, probabilities)
    return mean_over_valid(pixel_cross_entropy(truth, probabilities)[1], valid)


def focal(masks: Any, probabilities: Any) -> Any:
    """Cross-entropy times (1 - p)^2: Lin et al. 2017, eq. 4, without class weight."""
    truth, probabilities, valid = split_void(masks, probabilities)
    right, loss = pixel_cross_entropy(truth, probabilities)
    return mean_over_valid((1.0 - right) ** 2 * loss, valid)


def tversky(masks: Any, probabilities: Any, false_positives: float = 0.3) -> Any:
    """One minus the soft Tversky index: Salehi et al. 2017, alpha 0.3 and beta 0.7.

    Args:
        false_positives: weight of false positives; false negatives have the rest. At
            0.5 this is the soft Dice loss (Milletari et al. 2016 without the squares).
    """
    ops = keras.ops
    truth, probabilities, valid = split_void(masks, probabilities)
    hit = ops.sum(probabilities * truth)
    extra = ops.sum(probabilities * valid) - hit
    missed = ops.sum(truth) - hit
    wrong = false_positives * extra + (1.0 - false_positives) * missed
    # One pixel of smoothing: finite without foreground, 0 without any valid pixel.
    return wrong / (hit + wrong + 1.0)


def dice(masks: Any, probabilities: Any) -> Any:
    """One minus the soft Dice coefficient."""
    return tversky(masks, probabilities, false_positives=0.5)


def cross_entropy_dice(masks: Any, probabilities: Any) -> Any:
    """Cross-entropy plus soft Dice, the loss of nnU-Net (Isensee et al. 2021)."""
    return cross_entropy(masks, probabilities) + dice(masks, probabilities)


SEGMENTATION_LOSSES: dict[str, Loss] = {
    "cross_entropy_dice": cross_entropy_dice,
    "cross_entropy": cross_entropy,
    "dice": dice,
    "focal": focal,
    "tversky": tversky,
}


def one_hot_labels(labels: Any, num_classes: int) -> Any:
    """Return labels as (batch, num_classes) float32.

    Args:
        labels: class numbers, (batch,) or (batch, 1), or mixed labels, which pass.
    """
    ops = keras.ops
    if len(labels.shape) == 2 and labels.shape[-1] == num_classes:
        return ops.cast(labels, "float32")
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.one_hot(labels, num_classes, dtype="float32")


class LabelCrossEntropy:
    """Cross-entropy, in nats an image, of class numbers and mixed labels alike.

    Args:
        smoothing: share of each label spread evenly over the classes (Szegedy et al.
            2016, section 7); a number, or a variable.
    """

    def __init__(self, num_classes: int, smoothing: Any = 0.0) -> None:
        self.num_classes = num_classes
        self.smoothing = smoothing

    def __call__(self, labels: Any, probabilities: Any) -> Any:
        labels = one_hot_labels(labels, self.num_classes)
        spread = self.smoothing / self.num_classes
        labels = labels * (1.0 - self.smoothing) + spread
        return keras.ops.categorical_crossentropy(labels, probabilities)
