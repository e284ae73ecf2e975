"""Which finalists are blended, and how the blend is calibrated: all on validation."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from search.ensemble import average, select
from search.evaluation import evaluate, fit_temperature, fit_threshold, score
from search.records import Metrics, Task

Predictions = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibrated:
    """A blend of finalists with what was fitted to it on validation.

    Attributes:
        weights: finalist id -> share; they sum to 1.
        temperature: of the probabilities (classification).
        threshold: of the foreground probability (segmentation).
    """

    weights: dict[str, float]
    temperature: float = 1.0
    threshold: float = 0.5


@dataclass(frozen=True)
class Choices:
    """What was decided on validation, before the test set was opened."""

    ensemble: Calibrated
    best_single: Calibrated


def choose_blend(
    task: Task, validation: Predictions, targets: NDArray[Any], metric: str
) -> Choices:
    """Choose the best single finalist and a blend that is no worse by `metric`.

    Args:
        validation: finalist id -> probabilities on validation.
        targets: labels, or masks with 255 where nothing counts.
    """
    best = max(validation, key=lambda key: score(task, validation[key], targets))
    single = calibrated(task, validation, {best: 1.0}, targets)
    weights = select(validation, targets, task)
    blend = calibrated(task, validation, weights, targets)
    scores = [
        metrics_of(task, validation, choice, targets)[metric] or 0.0
        for choice in (blend, single)
    ]
    return Choices(blend if scores[0] >= scores[1] else single, single)


def calibrated(
    task: Task,
    validation: Predictions,
    weights: dict[str, float],
    targets: NDArray[Any],
) -> Calibrated:
    """Fit the temperature (classification) or the threshold of a blend."""
    blend = average(validation, weights)
    if task == "classification":
        return Calibrated(weights, temperature=fit_temperature(blend, targets))
    return Calibrated(weights, threshold=fit_threshold(blend, targets))


def metrics_of(
    task: Task, predictions: Predictions, choice: Calibrated, targets: NDArray[Any]
) -> Metrics:
    """Evaluate a calibrated blend on a split."""
    return evaluate(
        task,
        average(predictions, choice.weights),
        targets,
        temperature=choice.temperature,
        threshold=choice.threshold,
    )
