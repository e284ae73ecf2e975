"""Greedy selection: never worse than the best single model, and reproducible."""

import numpy as np
import pytest

from search.finalizing import ensemble
from search.finalizing.ensemble import average, select
from search.scoring.evaluation import score


def classifiers(seed, members=6, images=150, classes=5):
    """Members that see the truth through noise of different strength."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    predictions = {}
    for number in range(members):
        logits = np.eye(classes)[labels] * rng.uniform(0.5, 2.5)
        powers = np.exp(logits + rng.normal(size=(images, classes)))
        predictions[f"trial{number}"] = powers / powers.sum(axis=1, keepdims=True)
    return predictions, labels


def segmenters(seed, members=4, images=6, edge=12):
    rng = np.random.default_rng(seed)
    masks = rng.choice(np.array([0, 1, 255], np.uint8), (images, edge, edge))
    predictions = {
        f"trial{number}": (
            (masks == 1) * rng.uniform(0.1, 0.5) + 0.7 * rng.random(masks.shape)
        ).astype(np.float16)
        for number in range(members)
    }
    return predictions, masks


CASES = [("classification", classifiers), ("segmentation", segmenters)]


@pytest.mark.parametrize(("task", "make"), CASES)
@pytest.mark.parametrize("seed", range(8))
def test_the_ensemble_is_never_below_its_best_member(task, make, seed):
    predictions, targets = make(seed)
    weights = select(predictions, targets, task)
    together = score(task, average(predictions, weights), targets)
    singles = [
        score(task, average(predictions, {name: 1.0}), targets) for name in predictions
    ]
    assert together >= max(singles)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert all(weight > 0 for weight in weights.values())


@pytest.mark.parametrize(("task", "make"), CASES)
def test_members_that_err_differently_win_together(task, make):
    gains = 0
    for seed in range(8):
        predictions, targets = make(seed)
        weights = select(predictions, targets, task)
        together = score(task, average(predictions, weights), targets)
        gains += together[0] > max(
            score(task, values, targets)[0] for values in predictions.values()
        )
    assert gains >= 6


@pytest.mark.parametrize(("task", "make"), CASES)
def test_the_answer_does_not_depend_on_the_order_of_the_models(task, make):
    predictions, targets = make(3)
    backwards = dict(reversed(predictions.items()))
    assert select(predictions, targets, task) == select(backwards, targets, task)


def test_no_more_members_than_asked_for():
    predictions, labels = classifiers(1, members=9)
    for most in (1, 2, 3):
        weights = select(predictions, labels, "classification", max_members=most)
        assert len(weights) <= most
    assert list(select(predictions, labels, "classification", max_members=1)) == [
        max(predictions, key=lambda k: score("classification", predictions[k], labels))
    ]


def test_copies_of_one_model_are_one_member():
    predictions, labels = classifiers(2, members=1)
    copies = {"b": predictions["trial0"], "a": predictions["trial0"]}
    assert select(copies, labels, "classification") == {"a": 1.0}


def test_average_is_the_weighted_mean():
    first, second = np.full((2, 3), 0.2, np.float16), np.full((2, 3), 0.6)
    mean = average({"a": first, "b": second}, {"a": 0.25, "b": 0.75})
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, 0.5, rtol=1e-3)


@pytest.mark.parametrize("rounds", [2, 20])
@pytest.mark.parametrize("seed", range(12))
def test_a_misleading_sample_of_pixels_still_keeps_the_promise(
    seed, rounds, monkeypatch
):
    monkeypatch.setattr(ensemble, "SAMPLED_PIXELS", 12)
    predictions, masks = segmenters(seed)
    weights = select(predictions, masks, "segmentation", rounds=rounds)
    together = score("segmentation", average(predictions, weights), masks)
    singles = [score("segmentation", v, masks) for v in predictions.values()]
    assert together >= max(singles)


@pytest.mark.parametrize("seed", range(4))
def test_the_steps_are_those_of_the_paper(seed):
    predictions, labels = classifiers(seed)

    def quality(order):
        mean = np.mean([predictions[name] for name in order], axis=0)
        true = mean[np.arange(len(labels)), labels]
        return np.mean(mean.argmax(1) == labels), np.log(true).mean()

    order = [max(predictions, key=lambda name: quality([name]))]
    while len(order) < 8:
        order.append(max(predictions, key=lambda name: quality([*order, name])))
    prefixes = [order[:count] for count in range(1, 9)]
    best = max(prefixes, key=quality)
    weights = select(predictions, labels, "classification", max_members=6, rounds=8)
    assert weights == {
        name: pytest.approx(best.count(name) / len(best)) for name in set(best)
    }


def test_memory_maps_are_read_in_place(tmp_path):
    predictions, masks = segmenters(0)
    expected = select(predictions, masks, "segmentation")
    for name, values in predictions.items():
        np.save(tmp_path / f"{name}.npy", values)
    mapped = {
        name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in predictions
    }
    assert select(mapped, masks, "segmentation") == expected


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match="0 predictions"):
        select({}, np.zeros(3, int), "classification")


@pytest.mark.parametrize(("task", "make"), CASES)
def test_bags_are_of_whole_images(task, make, monkeypatch):
    predictions, targets = make(0)
    seen = []
    monkeypatch.setattr(
        ensemble, "steps", lambda bag, truth, *rest: seen.append((bag, truth)) or []
    )
    monkeypatch.setattr(ensemble, "weights_of_votes", lambda votes, most: {})
    monkeypatch.setattr(ensemble, "select", lambda *given, **options: {})
    monkeypatch.setattr(ensemble, "weighted_score", lambda *given: 0.0)
    ensemble.select_bagged(predictions, targets, task, bags=5)
    library, _, image_of = ensemble.sampled(predictions, targets, task)
    name = min(predictions)  # of equals the first is the best, so in every bag
    blocks = {
        library[name][image_of == image].tobytes() for image in range(len(targets))
    }
    assert len(seen) == 5
    for bag, truth in seen:
        rest, count = bag[name].tobytes(), 0
        assert len(bag[name]) == len(truth)
        while rest:
            block = next(block for block in blocks if rest.startswith(block))
            rest, count = rest[len(block) :], count + 1
        assert count == len(targets)
