"""What must hold for any predictions at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from search.finalizing.ensemble import average, select, select_bagged
from search.scoring.boundaries import boundary_f
from search.scoring.calibration import fit_temperature, scaled
from search.scoring.evaluation import evaluate, fit_threshold, score
from search.scoring.original_resolution import boundary_column, original_columns

QUICK = settings(max_examples=40, deadline=None)
fractions = st.floats(0.0, 1.0, width=32)


@st.composite
def classifiers(draw):
    """Predictions of one to five models, and labels."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(2, 6))
    raw = st.floats(2**-10, 1.0, width=32)
    predictions = {}
    for number in range(draw(st.integers(1, 5))):
        values = draw(arrays.arrays(np.float32, (images, classes), elements=raw))
        predictions[f"m{number}"] = values / values.sum(axis=1, keepdims=True)
    labels = draw(arrays.arrays(np.int32, images, elements=st.integers(0, classes - 1)))
    return predictions, labels


@st.composite
def segmenters(draw):
    """Predictions of one to four models, and masks with void."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    predictions = {
        f"m{number}": draw(arrays.arrays(np.float32, shape, elements=fractions))
        for number in range(draw(st.integers(1, 4)))
    }
    masks = draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 255])))
    return predictions, masks


def check_promise(predictions, targets, task):
    singles = [score(task, values, targets) for values in predictions.values()]
    for weights in (
        select(predictions, targets, task),
        select_bagged(predictions, targets, task, bags=3)[0],
    ):
        assert sum(weights.values()) == pytest.approx(1.0)
        assert all(weight > 0 for weight in weights.values())
        together = score(task, average(predictions, weights), targets)
        assert together >= max(singles)


@QUICK
@given(classifiers())
def test_an_ensemble_of_classifiers_is_never_below_its_best_member(case):
    check_promise(*case, "classification")


@QUICK
@given(segmenters())
def test_an_ensemble_of_segmenters_is_never_below_its_best_member(case):
    predictions, masks = case
    if (masks == 255).all():
        return
    check_promise(predictions, masks, "segmentation")


@QUICK
@given(classifiers(), st.floats(0.05, 20))
def test_a_temperature_never_changes_the_class(case, temperature):
    predictions, labels = case
    values = predictions["m0"]
    at = scaled("classification", values, temperature)
    best = np.asarray(values, np.float64).argmax(axis=1)
    rows = np.arange(len(values))
    np.testing.assert_allclose(at[rows, best], at.max(axis=1), rtol=1e-12)
    fitted = fit_temperature("classification", values, labels)
    before = evaluate("classification", values, labels)
    after = evaluate("classification", values, labels, temperature=fitted)
    assert after["accuracy"] == before["accuracy"]
    assert after["nll"] <= before["nll"] + 1e-9


@QUICK
@given(segmenters(), st.floats(0.05, 20))
def test_a_temperature_never_changes_the_order_of_pixels(case, temperature):
    values = np.sort(case[0]["m0"].ravel())
    assert (np.diff(scaled("segmentation", values, temperature)) >= 0).all()


@QUICK
@given(segmenters(), st.randoms(use_true_random=False))
def test_void_is_never_counted_by_any_metric(case, chance):
    predictions, masks = case
    values = predictions["m0"]
    void = masks == 255
    changed = np.where(void, chance.random(), values).astype(np.float32)
    for fit in (fit_threshold, lambda p, m: fit_temperature("segmentation", p, m)):
        assert fit(values, masks) == fit(changed, masks)
    scores = [
        evaluate("segmentation", p, masks, temperature=1.7, threshold=0.4)
        for p in (values, changed)
    ]
    assert scores[0] == scores[1]
    for first, second, mask in zip(values, changed, masks, strict=True):
        assert boundary_f(first >= 0.5, mask) == boundary_f(second >= 0.5, mask)
    for columns in (boundary_column, original_columns):
        at = [columns(p, masks, 1.0, 0.5) for p in (values, changed)]
        for name, column in at[0].items():
            np.testing.assert_array_equal(column.parts, at[1][name].parts)
