"""What a student is trained on."""

import numpy as np
import pytest

from search.finalizing.blending import Calibrated
from search.finalizing.distillation import soft_targets, student_of
from search.finalizing.finalists import Member

BLEND = Calibrated({"a": 0.5, "b": 0.5}, temperature=2.0)


def test_labels_are_half_the_truth_and_half_the_ensemble():
    predictions = {"a": np.array([[0.9, 0.1]]), "b": np.array([[0.7, 0.3]])}
    soft = soft_targets("classification", predictions, BLEND, np.array([1]))
    root = np.sqrt([0.8, 0.2])
    np.testing.assert_allclose(soft, [0.5 * root / root.sum() + [0, 0.5]], rtol=1e-6)
    assert soft.dtype == np.float32


def test_masks_keep_their_void_and_their_truth_stays_on_its_side():
    masks = np.array([[[0, 1, 255]]], np.uint8)
    predictions = {name: np.full((1, 1, 3), 0.9, np.float16) for name in "ab"}
    soft = soft_targets("segmentation", predictions, BLEND, masks)
    teacher = 1 / (1 + 9**-0.5)
    expected = [0.5 * teacher, 0.5 + 0.5 * teacher, 255]
    np.testing.assert_allclose(soft[0, 0], expected, rtol=1e-3)


def test_a_student_has_the_knobs_and_the_seed_of_the_best_single_model():
    single = Member("0003-seed1", "finalist", "0003", 1, {"stages": 2})
    student = student_of(single, BLEND)
    assert (student.values, student.seed) == (single.values, single.seed)
    assert student.member_id.startswith("student-of-0003-seed1-")
    assert student == student_of(single, BLEND)


def test_another_ensemble_has_another_student():
    """It would be found trained, on what the ensemble before had said."""
    single = Member("0003-seed1", "finalist", "0003", 1, {"stages": 2})
    blends = [BLEND, Calibrated({"a": 0.5, "c": 0.5}, 2.0), Calibrated({"a": 1.0})]
    assert len({student_of(single, blend).member_id for blend in blends}) == 3


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_a_mask_loss_of_hard_masks_is_what_it_was(truth):
    """Soft masks are new; on hard ones every loss is the plain cross-entropy."""
    from hypermodels.losses import cross_entropy

    probabilities = np.random.default_rng(0).uniform(0.01, 0.99, (2, 4, 4, 1))
    masks = np.full((2, 4, 4), truth, np.float32)
    right = probabilities if truth else 1 - probabilities
    value = float(np.asarray(cross_entropy(masks, probabilities.astype(np.float32))))
    assert value == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_a_soft_mask_is_learned_as_its_probability():
    from hypermodels.losses import cross_entropy

    masks = np.full((1, 2, 2), 0.3, np.float32)

    def loss(probability):
        values = np.full((1, 2, 2, 1), probability, np.float32)
        return float(np.asarray(cross_entropy(masks, values)))

    grid = np.linspace(0.05, 0.95, 19)
    assert grid[np.argmin([loss(p) for p in grid])] == pytest.approx(0.3)
