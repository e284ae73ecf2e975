"""Metrics against plain NumPy, and the properties users rely on."""

from dataclasses import replace

import numpy as np
import pytest

from search.scoring import calibration, columns
from search.scoring.calibration import fit_temperature, stride_of
from search.scoring.columns import classification_columns
from search.scoring.evaluation import agreement, evaluate, fit_threshold, score
from search.studies import Study


def some_probabilities(images, classes, seed=0, sharpness=2.0):
    logits = np.random.default_rng(seed).normal(size=(images, classes)) * sharpness
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def some_masks(shape, seed=0):
    return np.random.default_rng(seed).choice(
        np.array([0, 1, 255], np.uint8), size=shape, p=[0.6, 0.3, 0.1]
    )


def plain_dice(chosen, truth, counted):
    chosen, truth = chosen[counted], truth[counted]
    total = chosen.sum() + truth.sum()
    return 2 * (chosen & truth).sum() / total if total else 1.0


def test_classification_metrics_equal_plain_numpy(monkeypatch):
    monkeypatch.setattr(columns, "CHUNK_VALUES", 70)
    probabilities = some_probabilities(200, 10)
    labels = np.random.default_rng(1).integers(0, 10, 200)
    metrics = evaluate("classification", probabilities, labels)
    best_five = np.argsort(-probabilities, axis=1)[:, :5]
    one_hot = np.eye(10)[labels]
    assert metrics["accuracy"] == np.mean(probabilities.argmax(1) == labels)
    assert metrics["top5_accuracy"] == np.mean((best_five == labels[:, None]).any(1))
    true = probabilities[np.arange(200), labels]
    assert metrics["nll"] == pytest.approx(-np.log(true).mean(), rel=1e-6)
    brier = ((probabilities - one_hot) ** 2).sum(1).mean()
    assert metrics["brier"] == pytest.approx(brier, rel=1e-6)
    assert list(metrics) == ["accuracy", "top5_accuracy", "nll", "brier", "ece"]


def test_calibration_error_equals_plain_bins():
    probabilities = some_probabilities(500, 4)
    labels = np.random.default_rng(1).integers(0, 4, 500)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += abs(right[inside].mean() - confidence[inside].mean()) * (
                inside.mean()
            )
    ece = evaluate("classification", probabilities, labels)["ece"]
    assert ece == pytest.approx(expected, abs=1e-6)


def test_perfect_and_constant_predictions():
    labels = np.arange(8)
    perfect = evaluate("classification", np.eye(8), labels)
    assert perfect == {
        "accuracy": 1.0,
        "top5_accuracy": 1.0,
        "nll": 0.0,
        "brier": 0.0,
        "ece": 0.0,
    }
    constant = evaluate("classification", np.full((8, 8), 1 / 8), labels)
    assert constant["accuracy"] == 1 / 8
    assert constant["top5_accuracy"] == 5 / 8
    assert constant["ece"] == pytest.approx(0.0)


def test_coarse_classes_are_those_of_the_calibrated_model():
    """Two small shares outweigh the largest only where the temperature flattens."""
    probabilities = np.array([[0.6, 0.2, 0.2]])
    coarse = np.array([0, 1, 1])
    found = [
        classification_columns(probabilities, np.array([0]), temperature, coarse)
        for temperature in (1.0, 4.0)
    ]
    assert [columns["coarse_accuracy"].parts[0] for columns in found] == [1.0, 0.0]


def test_top5_is_left_out_where_it_says_nothing():
    labels = np.zeros(3, int)
    assert "top5_accuracy" not in evaluate("classification", np.eye(5)[:3], labels)


def test_a_certain_and_wrong_prediction_has_a_finite_nll():
    nll = evaluate("classification", np.eye(3), np.array([1, 2, 0]))["nll"]
    assert nll == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_temperature_never_changes_the_arg_max(temperature):
    probabilities = some_probabilities(500, 7, sharpness=8.0)
    labels = np.random.default_rng(1).integers(0, 7, 500)
    scaled = calibration.scaled("classification", probabilities, temperature)
    np.testing.assert_array_equal(scaled.argmax(1), probabilities.argmax(1))
    np.testing.assert_allclose(scaled.sum(1), 1.0, rtol=1e-6)
    plain = evaluate("classification", probabilities, labels)
    cooled = evaluate("classification", probabilities, labels, temperature=temperature)
    assert cooled["accuracy"] == plain["accuracy"]


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(true_temperature):
    probabilities = some_probabilities(20_000, 5)
    honest = calibration.scaled("classification", probabilities, true_temperature)
    draws = np.random.default_rng(3).random((20_000, 1))
    labels = (honest.cumsum(1) < draws).sum(1).clip(0, 4)
    assert fit_temperature("classification", probabilities, labels) == pytest.approx(
        true_temperature, rel=0.1
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_fitted_temperature_is_never_worse_than_none(seed):
    probabilities = some_probabilities(30, 5, seed)
    labels = np.random.default_rng(seed + 10).integers(0, 5, 30)
    fitted = fit_temperature("classification", probabilities, labels)
    before = evaluate("classification", probabilities, labels)
    after = evaluate("classification", probabilities, labels, temperature=fitted)
    assert after["nll"] <= before["nll"]


def right_by_chance(images, seed, temperature=1.0):
    """Foreground probabilities, and masks whose whole images go wrong together."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (images, 8, 8))
    honest = 1 / (1 + np.exp(-logits / temperature - rng.normal(0, 1, (images, 1, 1))))
    masks = (rng.random(logits.shape) < honest).astype(np.uint8)
    masks[:, 0] = 255
    return (1 / (1 + np.exp(-logits))).astype(np.float32), masks


def test_a_temperature_of_masks_is_only_kept_where_it_helps_other_images():
    probabilities, masks = right_by_chance(400, 0, temperature=2.5)
    fitted = fit_temperature("segmentation", probabilities, masks)
    assert 2.0 < fitted < 3.5
    # A thousand equal pixels are one image that went wrong, not a thousand proofs.
    one = np.full((3, 40, 40), 0.9, np.float32)
    masks = np.ones((3, 40, 40), np.uint8)
    masks[0] = 0
    assert fit_temperature("segmentation", one, masks) == 1.0


def test_one_image_fits_no_temperature():
    assert fit_temperature("classification", np.array([[0.9, 0.1]]), [1]) == 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_segmentation_metrics_equal_plain_numpy(dtype, monkeypatch):
    monkeypatch.setattr(columns, "CHUNK_VALUES", 200)
    masks = some_masks((7, 9, 11))
    probabilities = np.random.default_rng(1).random((7, 9, 11)).astype(dtype)
    metrics = evaluate("segmentation", probabilities, masks, threshold=0.37)
    chosen, truth = probabilities.astype(np.float32) >= 0.37, masks == 1
    counted = masks != 255
    assert metrics["dice"] == pytest.approx(plain_dice(chosen, truth, counted))
    overlap = (chosen & truth & counted).sum() / ((chosen | truth) & counted).sum()
    assert metrics["foreground_iou"] == pytest.approx(overlap)
    assert metrics["pixel_accuracy"] == pytest.approx((chosen == truth)[counted].mean())
    each = [plain_dice(*image) for image in zip(chosen, truth, counted, strict=True)]
    assert metrics["dice_per_image"] == pytest.approx(np.mean(each))
    everything = np.ones_like(truth)
    assert metrics["all_foreground_dice"] == pytest.approx(
        plain_dice(everything, truth, counted)
    )
    assert metrics["all_background_pixel_accuracy"] == pytest.approx(
        1 - truth[counted].mean()
    )


def test_void_is_never_counted():
    masks = some_masks((4, 8, 8))
    probabilities = np.random.default_rng(1).random((4, 8, 8))
    changed = np.where(masks == 255, 1 - probabilities, probabilities)
    assert evaluate("segmentation", probabilities, masks) == evaluate(
        "segmentation", changed, masks
    )
    assert fit_threshold(probabilities, masks) == fit_threshold(changed, masks)


def test_an_image_that_is_all_void_changes_nothing():
    masks, more = some_masks((3, 6, 6)), np.full((1, 6, 6), 255, np.uint8)
    probabilities = np.random.default_rng(1).random((4, 6, 6))
    assert evaluate("segmentation", probabilities[:3], masks) == evaluate(
        "segmentation", probabilities, np.concatenate([masks, more])
    )


def test_nothing_to_measure_is_none_and_not_a_number():
    masks = np.full((2, 4, 4), 255, np.uint8)
    metrics = evaluate("segmentation", np.zeros((2, 4, 4)), masks)
    assert set(metrics.values()) == {None}


def test_nothing_there_and_nothing_found_is_right():
    masks = np.zeros((2, 4, 4), np.uint8)
    right = evaluate("segmentation", np.zeros((2, 4, 4)), masks)
    assert right["dice"] == right["dice_per_image"] == 1.0
    assert right["foreground_iou"] == right["foreground_iou_per_image"] == 1.0
    wrong = np.zeros((2, 4, 4))
    wrong[0, 0, 0] = 1.0
    metrics = evaluate("segmentation", wrong, masks)
    assert metrics["dice"] == 0.0
    assert metrics["dice_per_image"] == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_fitted_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    masks = some_masks((5, 16, 16), seed)
    probabilities = (0.25 * (masks == 1) + rng.random(masks.shape) * 0.6) ** 1.5
    probabilities = probabilities.astype(np.float16)

    def dice_at(threshold):
        return evaluate("segmentation", probabilities, masks, threshold=threshold)[
            "dice"
        ]

    fitted = fit_threshold(probabilities, masks)
    best = max(dice_at(t) for t in np.round(np.arange(0.05, 0.951, 0.01), 2))
    assert dice_at(fitted) == pytest.approx(best, abs=1e-12)


def test_a_pixel_on_the_threshold_is_foreground():
    masks = np.array([[[1, 0]]], np.uint8)
    on_it = np.array([[[0.5, 0.25]]], np.float16)
    assert evaluate("segmentation", on_it, masks)["dice"] == 1.0
    assert fit_threshold(on_it, masks) == 0.5


def test_of_equal_thresholds_the_nearest_to_a_half_is_taken():
    masks = np.array([[[0, 1]]], np.uint8)
    assert fit_threshold(np.array([[[0.1, 0.9]]]), masks) == 0.5
    assert fit_threshold(np.array([[[0.1, 0.3]]]), masks) == 0.3
    assert fit_threshold(np.array([[[0.7, 0.9]]]), masks) == 0.71


def test_score_is_accuracy_before_likelihood():
    labels = np.array([0, 1])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    unsure = np.array([[0.6, 0.4], [0.4, 0.6]])
    wrong = np.array([[0.99, 0.01], [0.51, 0.49]])
    ranked = [score("classification", p, labels) for p in (sure, unsure, wrong)]
    assert ranked == sorted(ranked, reverse=True)


def test_predictions_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        evaluate("classification", np.ones((3, 2)), np.zeros(4, int))
    with pytest.raises(ValueError, match="segmentation"):
        evaluate("segmentation", np.ones((3, 2, 2, 1)), np.zeros((3, 2, 2)))


def test_agreement_tells_the_largest_difference_and_the_equal_decisions():
    reference = np.array([[0.6, 0.4], [0.3, 0.7]])
    outputs = np.array([[0.45, 0.55], [0.3, 0.7]])
    difference, same = agreement("classification", reference, outputs)
    assert (round(difference, 6), same) == (0.15, 0.5)
    assert agreement("segmentation", reference, outputs, threshold=0.42)[1] == 0.75
    broken = np.array([[np.nan, 0.4], [0.3, 0.7]])
    assert agreement("classification", reference, broken) == (float("inf"), 0.0)


def test_a_search_by_loss_is_judged_by_what_predictions_tell():
    of = Study("s", "segmentation", "shapes", "unet", objective="val_loss")
    assert of.metric == "dice"
    assert replace(of, objective="val_foreground_iou").metric == "foreground_iou"
    assert replace(of, task="classification").metric == "accuracy"


@pytest.mark.parametrize("width", [96, 192, 100, 224])
def test_a_sample_of_pixels_meets_all_columns(width):
    masks = np.zeros((20, width, width), np.uint8)
    for most in (1000, 5000, 60_000, 300_000):
        step = stride_of(masks, most)
        columns = set(np.arange(0, masks.size, step) % width)
        assert len(columns) == width
        assert masks.size // step <= most + 1
