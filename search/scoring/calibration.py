"""Temperature scaling and what it is judged by: NLL, Brier score, calibration error.

One parameter a model (Guo et al. 2017), fitted on validation. The order of the
probabilities never changes: neither the arg-max nor, with the threshold moved along,
the mask.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Task

Array = NDArray[Any]
# temperature -> (images,) loss of each
Losses = Callable[[float], Array]

# Keras' own epsilon of cross-entropies.
EPSILON = 1e-7
# Foreground probabilities are stored as float16, which rounds 0.9998 to 1.
PIXEL_EPSILON = 5e-4
BINS = 15
TEMPERATURES = (0.05, 20.0)
# Pixels a temperature is fitted on; a regular sample of more.
FITTED_PIXELS = 1_000_000
FOLDS = 5


def scaled(task: Task, probabilities: Array, temperature: float) -> Array:
    """Return probabilities at a temperature as float64; their order stays.

    Classification: softmax(log p / temperature) over the last axis. Segmentation:
    sigmoid(logit(p) / temperature) of each foreground probability.
    """
    exact = np.asarray(probabilities, np.float64)
    if temperature == 1:
        return exact
    if task == "segmentation":
        return np.asarray(1 / (1 + np.exp(-pixel_logits(exact) / temperature)))
    logits = np.log(np.maximum(exact, EPSILON)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def pixel_logits(probabilities: Array) -> Array:
    """Return log(p / (1 - p)) of foreground probabilities, kept finite."""
    inside = np.clip(
        np.asarray(probabilities, np.float64), PIXEL_EPSILON, 1 - PIXEL_EPSILON
    )
    return np.asarray(np.log(inside / (1 - inside)))


def fit_temperature(task: Task, probabilities: Array, targets: Array) -> float:
    """Return the temperature with the lowest NLL, 0.05–20, if it can be trusted.

    Trusted is one whose like, fitted on four fifths of the images, lowers the NLL of
    the last fifth by more than a standard error (over images: the pixels of one are
    alike). Otherwise 1, so nothing is changed by the chance of a few images.

    Args:
        probabilities: (images, classes), or foreground (images, height, width).
        targets: labels, or masks with 255 where nothing counts.
    """
    losses = pixel_losses if task == "segmentation" else label_losses
    at = losses(probabilities, targets)
    everything = np.arange(len(targets))
    best = best_temperature(at, everything)
    if at(best).sum() >= at(1.0).sum():
        return 1.0
    gains = np.zeros(len(targets))
    for held_out in [everything[number::FOLDS] for number in range(FOLDS)]:
        others = np.setdiff1d(everything, held_out)
        if not len(others):
            break
        fitted = best_temperature(at, others)
        gains[held_out] = (at(1.0) - at(fitted))[held_out]
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return best if gains.mean() > error else 1.0


def best_temperature(at: Losses, images: Array) -> float:
    """Return the temperature with the lowest sum of losses over some images."""
    # Half a second to import, which listing verbs need not wait for.
    from scipy import optimize

    best = optimize.minimize_scalar(
        lambda log_temperature: at(float(np.exp(log_temperature)))[images].sum(),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(best.x))


def label_losses(probabilities: Array, labels: Array) -> Losses:
    """Return the function temperature -> (images,) NLL of each label."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), EPSILON))
    rows = np.arange(len(labels))

    def losses(temperature: float) -> Array:
        scores = logits / temperature
        scores -= scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scores).sum(axis=1))
        return np.asarray(log_sums - scores[rows, labels])

    return losses


def pixel_losses(probabilities: Array, masks: Array) -> Losses:
    """Return the function temperature -> (images,) NLL, summed over known pixels."""
    images = len(masks)
    step = stride_of(masks, FITTED_PIXELS)
    truth = masks.reshape(images, -1)[:, ::step]
    logits = pixel_logits(probabilities.reshape(images, -1)[:, ::step])
    signed, counted = np.where(truth == 1, -logits, logits), truth <= 1

    def losses(temperature: float) -> Array:
        return np.asarray((np.logaddexp(0, signed / temperature) * counted).sum(axis=1))

    return losses


def stride_of(masks: Array, most: int) -> int:
    """Return the step of a regular sample of about so many pixels.

    It shares no divisor with a row: it would meet the same columns only.
    """
    stride = 1 + masks.size // most
    while stride > 1 and np.gcd(stride, masks.shape[-1]) > 1:
        stride += 1
    return stride


def bins_of(confidence: Array) -> Array:
    """Return the bin of each confidence (0–1), from 0 to `BINS` − 1."""
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.digitize(confidence, inner_edges, right=True)


def confidence_gaps(confidence: Array, correct: Array) -> tuple[Array, Array]:
    """Return the bin of each confidence, and how far it is from what happened."""
    return bins_of(confidence), correct - confidence
