"""Intervals: they hold what they promise, and pairs are told from singles."""

import numpy as np
import pytest
from scipy import stats

from search.scoring.calibration import BINS, confidence_gaps
from search.scoring.columns import classification_columns, count_pixels, overlap_columns
from search.scoring.evaluation import evaluate
from search.scoring.intervals import Column, interval, intervals, mcnemar, point


def hits(right):
    return {"accuracy": Column(np.asarray(right, float), np.ones(len(right)))}


def test_the_interval_of_an_accuracy_is_that_of_the_binomial():
    right = np.arange(400) < 300
    low, high = intervals(hits(right), hits(right))["ensemble"]["accuracy"]
    expected = stats.binom.interval(0.95, 400, 0.75)
    assert low == pytest.approx(expected[0] / 400, abs=0.008)
    assert high == pytest.approx(expected[1] / 400, abs=0.008)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        right = rng.random(100) < 0.7
        bounds = intervals(hits(right), hits(right), resamples=400, seed=seed)
        low, high = bounds["ensemble"]["accuracy"]
        held += low <= 0.7 <= high
    assert 180 <= held <= 199


def test_a_difference_on_the_same_images_is_surer_than_either_score():
    rng = np.random.default_rng(1)
    single = rng.random(1000) < 0.6
    ensemble = single.copy()
    ensemble[rng.choice(np.flatnonzero(~single), 30, replace=False)] = True
    compared = intervals(hits(ensemble), hits(single))
    difference = compared["difference"]["accuracy"]
    assert difference["value"] == pytest.approx(0.03)
    low, high = difference["interval"]
    assert 0 < low < 0.03 < high
    width = np.diff(compared["ensemble"]["accuracy"])[0]
    assert high - low < width / 2


def test_of_a_model_and_itself_there_is_no_difference():
    right = hits(np.arange(50) % 3 == 0)
    compared = intervals(right, right)
    assert compared["difference"]["accuracy"] == {"value": 0.0, "interval": [0.0, 0.0]}


def test_resamples_of_images_not_of_pixels():
    """One image that is all wrong moves Dice as a whole."""
    masks = np.ones((20, 4, 4), np.uint8)
    found = np.ones((20, 4, 4), np.float32)
    found[0] = 0
    columns = overlap_columns(count_pixels(found, masks, 0.5))
    low, high = intervals(columns, columns)["ensemble"]["dice"]
    assert high == 1.0
    assert low < 0.95  # as if the image was drawn three times or more


def test_the_point_is_what_evaluate_says():
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(7), 60)
    labels = rng.integers(0, 7, 60)
    columns = classification_columns(probabilities, labels, 1.3)
    metrics = evaluate("classification", probabilities, labels, temperature=1.3)
    assert point(columns) == metrics
    bounds = intervals(columns, columns)["ensemble"]
    for name in ("accuracy", "top5_accuracy", "nll", "brier"):
        low, high = bounds[name]
        assert low < metrics[name] < high


def test_what_cannot_be_measured_has_no_interval():
    assert interval(np.array([0.1, np.nan])) is None


def calibrated(rng, images, shift):
    """A classifier whose probability of being right is `shift` below its confidence."""
    confidence = rng.beta(5, 2, images)
    right = rng.random(images) < np.clip(confidence - shift, 0, 1)
    bins, gaps = confidence_gaps(confidence, right)
    spread = np.zeros((images, BINS))
    spread[np.arange(images), bins] = gaps
    return {"ece": Column(spread, np.ones(images))}


def test_the_interval_of_a_calibration_error_is_not_above_it():
    rng = np.random.default_rng(0)
    truth = point(calibrated(rng, 500_000, 0.03))["ece"]
    held = above = 0
    for seed in range(60):
        columns = calibrated(rng, 1000, 0.03)
        low, high = intervals(columns, columns, 400, seed)["ensemble"]["ece"]
        held += low <= truth <= high
        old = intervals(columns, columns, 400, seed, mirrored=())
        above += truth < old["ensemble"]["ece"][0]
        assert low >= 0
    assert held >= 48
    assert above >= 40  # by percentiles: higher than what it is to hold


def test_the_difference_of_calibration_errors_is_reflected_too():
    rng = np.random.default_rng(1)
    first, second = calibrated(rng, 400, 0.0), calibrated(rng, 400, 0.1)
    new = intervals(first, second)["difference"]["ece"]
    old = intervals(first, second, mirrored=())["difference"]["ece"]
    low, high = old["interval"]
    assert new["value"] == old["value"]
    mirrored = [2 * new["value"] - high, 2 * new["value"] - low]
    assert new["interval"] == pytest.approx(mirrored)


def test_a_calibration_error_of_nothing_but_chance_has_no_interval():
    """Reflected, all of it lies below zero: [0, 0] would be certain of it."""
    parts = np.zeros((12, BINS))
    parts[:, 0] = [0.5, -0.5] * 6
    columns = {"ece": Column(parts, np.ones(12))}
    assert point(columns)["ece"] == 0.0
    assert intervals(columns, columns)["ensemble"]["ece"] is None


def test_a_handful_of_images_has_no_interval():
    found = intervals(hits([True] * 9), hits([True] * 8 + [False]))
    assert found["ensemble"]["accuracy"] is None
    assert found["difference"]["accuracy"]["interval"] is None
    assert found["difference"]["accuracy"]["value"] == pytest.approx(1 / 9)
    enough = intervals(hits([True] * 10), hits([True] * 9 + [False]))
    assert enough["best_single"]["accuracy"] is not None


def test_mcnemar_is_the_exact_binomial_test():
    first = np.array([True] * 12 + [False] * 3 + [True] * 30)
    second = np.array([False] * 12 + [True] * 3 + [True] * 30)
    result = mcnemar(first, second)
    assert (result["only_ensemble_right"], result["only_best_single_right"]) == (12, 3)
    assert result["p_value"] == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert mcnemar(first, first)["p_value"] == 1.0


def test_coarse_classes_are_judged_by_summed_probability():
    coarse = np.array([0, 0, 1])
    probabilities = np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    labels = np.array([1, 0])
    columns = classification_columns(probabilities, labels, coarse=coarse)
    # The first image's best class is wrong, yet most of it says the right coarse one.
    assert point(columns)["accuracy"] == 0.0
    assert point(columns)["coarse_accuracy"] == 0.5
