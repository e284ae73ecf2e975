"""Temperature scaling and what it is judged by: NLL, Brier score, calibration error.

One parameter a model (Guo et al. 2017), fitted on validation. The order of the
probabilities never changes: neither the arg-max nor, with the threshold moved along,
the mask.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.records import Task

Array = NDArray[Any]

# Keras' own epsilon of cross-entropies.
EPSILON = 1e-7
# Foreground probabilities are stored as float16, which rounds 0.9998 to 1.
PIXEL_EPSILON = 5e-4
BINS = 15
TEMPERATURES = (0.05, 20.0)
# Pixels a temperature is fitted on; a regular sample of more.
FITTED_PIXELS = 1_000_000


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
    """Return the temperature with the lowest NLL, 0.05–20; 1 where none is lower.

    Args:
        probabilities: (images, classes), or foreground (images, height, width).
        targets: labels, or masks with 255 where nothing counts.
    """
    # Half a second to import, which listing verbs need not wait for.
    from scipy import optimize

    nll = pixel_nll if task == "segmentation" else label_nll
    at = nll(probabilities, targets)
    best = optimize.minimize_scalar(
        lambda log_temperature: at(float(np.exp(log_temperature))),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(best.x)) if best.fun < at(1.0) else 1.0


def label_nll(probabilities: Array, labels: Array) -> Any:
    """Return the function temperature -> mean NLL of labels."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), EPSILON))
    rows = np.arange(len(labels))

    def nll(temperature: float) -> float:
        scores = logits / temperature
        scores -= scores.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scores).sum(axis=1))
        return float(np.mean(log_sums - scores[rows, labels]))

    return nll


def pixel_nll(probabilities: Array, masks: Array) -> Any:
    """Return the function temperature -> mean NLL of pixels that are not void."""
    chosen = np.arange(0, masks.size, 1 + masks.size // FITTED_PIXELS)
    truth = np.take(masks, chosen)
    counted = truth <= 1
    logits = pixel_logits(np.take(probabilities, chosen)[counted])
    signed = np.where(truth[counted] == 1, -logits, logits)

    def nll(temperature: float) -> float:
        return float(np.mean(np.logaddexp(0, signed / temperature)))

    return nll if len(signed) else lambda temperature: 0.0


def confidence_gaps(confidence: Array, correct: Array) -> tuple[Array, Array]:
    """Return the bin of each confidence, and how far it is from what happened."""
    inner_edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    return bins, correct - confidence
