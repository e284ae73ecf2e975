"""What finalize chooses is chosen by what the study is judged by."""

import numpy as np
import pytest
from test_ensemble import classifiers, segmenters

from search.finalizing.blending import Judge, choose_blend
from search.finalizing.ensemble import (
    average,
    quick_score,
    sampled,
    select,
    select_bagged,
)
from search.records import JUDGED
from search.scoring.evaluation import evaluate, fit_threshold, score

METRICS = [(task, metric) for task, known in JUDGED.items() for metric in known]
MAKE = {"classification": classifiers, "segmentation": segmenters}


def bold_and_shy():
    """Masks of a little foreground, and two models that err in unlike ways.

    `bold` finds all of it and as much beside (Dice 0.67, 0.90 of the pixels right),
    `shy` two fifths of it and nothing else (Dice 0.57, 0.94 right).
    """
    masks = np.zeros((6, 10, 20), np.uint8)
    masks[:, 0] = 1
    bold = np.full(masks.shape, 0.1, np.float32)
    bold[:, :2] = 0.9
    shy = np.full(masks.shape, 0.1, np.float32)
    shy[:, 0, :8] = 0.9
    return {"bold": bold, "shy": shy}, masks


def test_masks_are_chosen_by_the_objective_of_the_study():
    predictions, masks = bold_and_shy()
    best = {
        metric: choose_blend(
            Judge("segmentation", masks, None, metric), predictions
        ).best_single
        for metric in JUDGED["segmentation"]
    }
    assert list(best["dice"].weights) == ["bold"]
    assert list(best["foreground_iou"].weights) == ["bold"]
    assert list(best["pixel_accuracy"].weights) == ["shy"]


def test_labels_are_chosen_by_the_objective_of_the_study():
    labels = np.arange(8)
    # The true class first in half of the images, else last; or third in all of them.
    sure, third = np.full((2, 8, 8), 0.1)
    sure[labels, labels] = np.where(labels < 4, 0.9, 0.0)
    third[labels, labels] = 0.2
    for ahead in (1, 2):
        third[labels, (labels + ahead) % 8] = 0.3
    models = {"sure": sure, "third": third}
    predictions = {k: v / v.sum(axis=1, keepdims=True) for k, v in models.items()}
    for metric, expected in (("accuracy", "sure"), ("top5_accuracy", "third")):
        judge = Judge("classification", labels, None, metric)
        assert list(choose_blend(judge, predictions).best_single.weights) == [expected]


@pytest.mark.parametrize(("task", "metric"), METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_by_no_metric_is_an_ensemble_below_its_best_member(task, metric, seed):
    more = {"classes": 9} if task == "classification" else {}
    predictions, targets = MAKE[task](seed, **more)
    singles = [score(task, v, targets, metric) for v in predictions.values()]
    for weights in (
        select(predictions, targets, task, metric=metric),
        select_bagged(predictions, targets, task, metric=metric, bags=3)[0],
    ):
        together = score(task, average(predictions, weights), targets, metric)
        assert together >= max(singles)


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_the_quick_score_of_the_steps_is_the_score(task, metric):
    more = {"classes": 9} if task == "classification" else {}
    predictions, targets = MAKE[task](1, **more)
    library, truth, _ = sampled(predictions, targets, task)
    for name, probabilities in predictions.items():
        whole = score(task, probabilities, targets, metric)
        quick = quick_score(library[name], truth, metric)
        assert quick == pytest.approx(whole, abs=1e-6)
        assert whole[0] == evaluate(task, probabilities, targets)[metric]


@pytest.mark.parametrize("metric", JUDGED["segmentation"])
def test_the_threshold_is_the_best_by_the_objective(metric):
    rng = np.random.default_rng(0)
    masks = rng.choice(np.array([0, 1, 255], np.uint8), (5, 16, 16), p=[0.8, 0.1, 0.1])
    noise = rng.normal(0.35, 0.15, masks.shape)
    shares = (0.2 * (masks == 1) + noise).clip(0, 1).astype(np.float32)

    def at(threshold):
        return evaluate("segmentation", shares, masks, threshold=threshold)[metric]

    fitted = fit_threshold(shares, masks, metric=metric)
    best = max(at(t) for t in np.round(np.arange(0.05, 0.951, 0.01), 2))
    assert at(fitted) == pytest.approx(best, abs=1e-12)
    if metric == "pixel_accuracy":
        assert at(fitted) > at(fit_threshold(shares, masks))
