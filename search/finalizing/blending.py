"""Which members are blended, and how the blend is calibrated: all on validation."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.finalizing.ensemble import BAGS, average, select_bagged
from search.records import Metrics, Task
from search.scoring.calibration import fit_temperature
from search.scoring.evaluation import columns_of, evaluate, fit_threshold, score
from search.scoring.intervals import Column

Predictions = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibrated:
    """A blend of members with what was fitted to it on validation.

    Attributes:
        weights: member id -> share; they sum to 1.
        temperature: of the probabilities.
        threshold: of the foreground probability (segmentation).
    """

    weights: dict[str, float]
    temperature: float = 1.0
    threshold: float = 0.5


@dataclass(frozen=True)
class Choices:
    """What was decided on validation, before the test set was opened.

    Attributes:
        tta: the same blends calibrated with test-time augmentation, by the same names.
        student: the distilled network, calibrated.
        refit_epochs: member id -> epochs on train + validation.
        selection: how the members were chosen.
    """

    ensemble: Calibrated
    best_single: Calibrated
    tta: dict[str, Calibrated] = field(default_factory=dict)
    student: Calibrated | None = None
    refit_epochs: dict[str, int] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)

    @property
    def members(self) -> list[str]:
        """Every member that is handed over."""
        return list(dict.fromkeys([*self.ensemble.weights, *self.best_single.weights]))


@dataclass(frozen=True)
class Judge:
    """Scores blends on one split.

    Attributes:
        targets: labels, or masks with 255 where nothing counts.
        coarse: (classes,) coarse class of each class, where there are such.
        metric: `Study.metric`, by which is chosen; better the larger.
    """

    task: Task
    targets: NDArray[Any]
    coarse: NDArray[Any] | None
    metric: str

    def metrics(self, predictions: Predictions, blend: Calibrated) -> Metrics:
        """Evaluate a calibrated blend."""
        return evaluate(
            self.task,
            average(predictions, blend.weights),
            self.targets,
            temperature=blend.temperature,
            threshold=blend.threshold,
            coarse=self.coarse,
        )

    def columns(self, predictions: Predictions, blend: Calibrated) -> dict[str, Column]:
        """Return the same metrics as sums over images."""
        return columns_of(
            self.task,
            average(predictions, blend.weights),
            self.targets,
            temperature=blend.temperature,
            threshold=blend.threshold,
            coarse=self.coarse,
        )

    def calibrated(
        self, predictions: Predictions, weights: dict[str, float]
    ) -> Calibrated:
        """Fit the temperature, and for segmentation then the threshold, of a blend."""
        blend = average(predictions, weights)
        temperature = fit_temperature(self.task, blend, self.targets)
        if self.task == "classification":
            return Calibrated(weights, temperature)
        threshold = fit_threshold(blend, self.targets, temperature, self.metric)
        return Calibrated(weights, temperature, threshold)

    def before_and_after(
        self, predictions: Predictions, blend: Calibrated
    ) -> dict[str, Metrics]:
        """Return what calibration is judged by, without and with the temperature."""
        plain = Calibrated(blend.weights, 1.0, blend.threshold)
        return {
            name: {
                key: value
                for key, value in self.metrics(predictions, choice).items()
                if key in ("nll", "brier", "ece")
            }
            for name, choice in (("before", plain), ("after", blend))
        }


def choose_blend(judge: Judge, validation: Predictions) -> Choices:
    """Choose the best single member and a blend that is no worse by the judge's metric.

    Args:
        judge: of the validation split.
        validation: member id -> probabilities; of equals the first is the best single.
    """
    task, targets, metric = judge.task, judge.targets, judge.metric
    best = max(
        validation, key=lambda key: score(task, validation[key], targets, metric)
    )
    single = judge.calibrated(validation, {best: 1.0})
    weights, method = select_bagged(validation, targets, task, metric=metric)
    blend = judge.calibrated(validation, weights)
    scores = [
        judge.metrics(validation, choice).get(metric) or 0.0
        for choice in (blend, single)
    ]
    if scores[0] < scores[1]:
        blend, method = single, "best single"
    selection = {
        "method": method,
        "bags": BAGS,
        "seed": 0,
        "candidates": len(validation),
    }
    return Choices(blend, single, selection=selection)


def errors_by_class(
    probabilities: dict[str, NDArray[Any]],
    labels: NDArray[Any],
    class_names: list[str],
    most_pairs: int = 20,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the accuracy of each class, and the pairs most often confused.

    Args:
        probabilities: `ensemble` and `best_single` -> (images, classes).

    Returns:
        A row a class; and the ensemble's most frequent errors, most frequent first.
    """
    found = {model: values.argmax(axis=1) for model, values in probabilities.items()}
    classes = []
    for number, name in enumerate(class_names):
        own = labels == number
        accuracies = {
            model: float((answer[own] == number).mean()) if own.any() else None
            for model, answer in found.items()
        }
        classes.append({"class": name, "images": int(own.sum()), **accuracies})
    pairs = np.zeros((len(class_names), len(class_names)), np.int64)
    np.add.at(pairs, (labels, found["ensemble"]), 1)
    np.fill_diagonal(pairs, 0)
    order = np.argsort(-pairs, axis=None, kind="stable")[:most_pairs]
    confusions = [
        {
            "true": class_names[row],
            "predicted": class_names[column],
            "images": int(pairs[row, column]),
        }
        for row, column in zip(*np.unravel_index(order, pairs.shape), strict=True)
        if pairs[row, column]
    ]
    return classes, confusions
