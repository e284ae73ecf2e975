"""Losses and metrics against plain numpy, void and empty foreground included."""

from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from hypermodels import losses, metrics

Array = NDArray[Any]


def make_masks(kind: str) -> Array:
    masks = np.random.default_rng(0).choice([0, 1, 255], (3, 6, 5)).astype("uint8")
    if kind == "all_void":
        masks[:] = 255
    if kind == "no_foreground":
        masks[masks == 1] = 0
    return masks


def make_probabilities() -> Array:
    drawn = np.random.default_rng(1).uniform(0.02, 0.98, (3, 6, 5, 1))
    return drawn.astype("float32")


def numpy_loss(name: str, masks: Array, probabilities: Array) -> float:
    valid = masks != 255
    truth = masks[valid].astype("float64")
    found = probabilities[..., 0][valid].astype("float64")
    right = np.where(truth == 1, found, 1 - found)
    hit = (found * truth).sum()
    extra, missed = found.sum() - hit, truth.sum() - hit
    pixels = max(1, valid.sum())
    values = {
        "cross_entropy": -np.log(right).sum() / pixels,
        "focal": -((1 - right) ** 2 * np.log(right)).sum() / pixels,
        "dice": 1 - (2 * hit + 2) / (found.sum() + truth.sum() + 2),
        "tversky": 1 - (hit + 1) / (hit + 0.3 * extra + 0.7 * missed + 1),
    }
    values["cross_entropy_dice"] = values["cross_entropy"] + values["dice"]
    return float(values[name])


@pytest.mark.parametrize("kind", ["mixed", "all_void", "no_foreground"])
@pytest.mark.parametrize("name", list(losses.SEGMENTATION_LOSSES))
def test_segmentation_losses_equal_numpy(name: str, kind: str) -> None:
    masks, probabilities = make_masks(kind), make_probabilities()
    received = float(losses.SEGMENTATION_LOSSES[name](masks, probabilities))
    assert received == pytest.approx(numpy_loss(name, masks, probabilities), abs=1e-5)
    if kind == "all_void":
        assert received == 0


def gradient(loss: losses.Loss, masks: Array, logits: Array) -> Array:
    def function(logits: Any) -> Any:
        return loss(masks, keras.ops.sigmoid(logits))

    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(logits))
    import tensorflow as tf

    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = function(variable)
    return np.asarray(tape.gradient(value, variable))


@pytest.mark.parametrize("name", list(losses.SEGMENTATION_LOSSES))
def test_gradients_are_finite_and_none_comes_from_void(name: str) -> None:
    logits = np.random.default_rng(2).normal(0, 30, (3, 6, 5, 1)).astype("float32")
    for kind in ("mixed", "all_void", "no_foreground"):
        masks = make_masks(kind)
        received = gradient(losses.SEGMENTATION_LOSSES[name], masks, logits)
        assert np.isfinite(received).all()
        assert (received[masks == 255] == 0).all()


def numpy_metrics(masks: Array, probabilities: Array) -> dict[str, float]:
    valid = masks != 255
    truth = masks[valid] == 1
    found = probabilities[..., 0][valid] >= 0.5
    hit, both = (truth & found).sum(), truth.sum() + found.sum()
    return {
        "dice": 2 * hit / both if both else 1.0,
        "foreground_iou": hit / (both - hit) if both else 1.0,
        "pixel_accuracy": (truth == found).mean() if valid.any() else 1.0,
    }


@pytest.mark.parametrize("kind", ["mixed", "all_void", "no_foreground"])
def test_segmentation_metrics_equal_numpy_over_all_batches(kind: str) -> None:
    masks, probabilities = make_masks(kind), make_probabilities()
    expected = numpy_metrics(masks, probabilities)
    for metric in metrics.segmentation_metrics():
        for image in range(3):
            part = slice(image, image + 1)
            metric.update_state(masks[part, ..., None], probabilities[part])
        assert float(metric.result()) == pytest.approx(expected[metric.name], abs=1e-6)
        metric.reset_state()


def test_nothing_to_find_and_nothing_found_is_a_dice_of_one() -> None:
    metric = metrics.Dice()
    metric.update_state(np.zeros((2, 4, 4)), np.zeros((2, 4, 4, 1)))
    assert float(metric.result()) == 1


def test_classification_takes_class_numbers_and_mixed_labels() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), 12).astype("float32")
    labels = rng.integers(0, 7, 12)
    soft = np.eye(7)[labels] * 0.7 + np.eye(7)[(labels + 1) % 7] * 0.3
    loss = losses.LabelCrossEntropy(7, 0.1)
    for given, target in ((labels, np.eye(7)[labels]), (soft, soft)):
        smooth = target * 0.9 + 0.1 / 7
        expected = -(smooth * np.log(probabilities)).sum(axis=1)
        np.testing.assert_allclose(loss(given, probabilities), expected, rtol=1e-4)
    order = np.argsort(-probabilities, axis=1)
    for metric in metrics.classification_metrics(7):
        best = 5 if metric.name == "top5_accuracy" else 1
        expected = (order[:, :best] == labels[:, None]).any(axis=1).mean()
        for given in (labels, labels[:, None], soft):
            metric.reset_state()
            metric.update_state(given, probabilities)
            assert float(metric.result()) == pytest.approx(expected)


def test_top5_accuracy_needs_six_classes() -> None:
    names = [metric.name for metric in metrics.classification_metrics(5)]
    assert names == ["accuracy"]
