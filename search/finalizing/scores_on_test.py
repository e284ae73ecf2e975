"""Every number of the test set, once it is open: scores, intervals and comparisons."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.finalizing.blending import Calibrated, Judge, Predictions, errors_by_class
from search.finalizing.ensemble import average
from search.records import Metrics
from search.scoring.intervals import Column, Columns, intervals, mcnemar, point
from search.scoring.original_resolution import boundary_column, original_columns

Array = NDArray[Any]


@dataclass(frozen=True)
class TestScores:
    """Scores blends on the test set.

    Attributes:
        originals: masks at the size of their image (segmentation).
        copies: rows of test images that are also in train or validation.
    """

    __test__ = False  # not a test of pytest's

    judge: Judge
    originals: Iterable[Array]
    copies: list[int]

    def columns(self, predictions: Predictions, blend: Calibrated) -> Columns:
        """Return every metric of a blend as sums over test images."""
        columns = self.judge.columns(predictions, blend)
        if self.judge.task == "classification":
            return columns
        mean = average(predictions, blend.weights)
        fitted = (blend.temperature, blend.threshold)
        return {
            **columns,
            **boundary_column(mean, self.judge.targets, *fitted),
            **original_columns(mean, self.originals, *fitted),
        }

    def compared(self, ensemble: Columns, single: Columns) -> dict[str, Any]:
        """Return intervals of both models and of their difference."""
        result = intervals(ensemble, single)
        if self.judge.task == "classification":
            result["mcnemar"] = mcnemar(right(ensemble), right(single))
        return result

    def without_copies(self, columns: Columns) -> Metrics:
        """Return the metrics without the images that were also trained on."""
        kept = np.ones(len(self.judge.targets), bool)
        kept[self.copies] = False
        return point(
            {
                name: Column(column.parts[kept], column.size[kept], column.empty)
                for name, column in columns.items()
            }
        )

    def errors(
        self, predictions: Predictions, blends: dict[str, Calibrated], names: list[str]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return accuracy by class and confusions; nothing for segmentation."""
        if self.judge.task == "segmentation":
            return [], []
        means = {
            model: average(predictions, blend.weights)
            for model, blend in blends.items()
        }
        return errors_by_class(means, np.asarray(self.judge.targets), names)


def right(columns: Columns) -> Array:
    """Return which images were classified right."""
    return np.asarray(columns["accuracy"].parts == 1)
