"""Several objectives: what dominates what, and which trials are shown and retrained."""

import random
from itertools import pairwise

import pytest

from search.errors import InputError
from search.finalizing.finalists import choose
from search.records import Trial
from search.scoring.pareto import (
    best_first,
    checked_objectives,
    direction_of,
    front,
    told_metrics,
)
from search.studies import Study

STUDY = Study(
    "two",
    "classification",
    "shapes",
    "convnet",
    further_objectives=["latency_ms", "parameters"],
)


def trial(name: str, score: float | None, latency: float, parameters: int) -> Trial:
    return Trial(
        name,
        "FAILED" if score is None else "COMPLETED",
        score,
        best_epoch=None if score is None else 1,
        epochs=1,
        parameters=parameters,
        measured={"latency_ms": latency},
        history={"val_accuracy": [score], "val_loss": [0.5]},
    )


TRIALS = [
    trial("accurate", 0.9, 4.0, 900),
    trial("fast", 0.7, 1.0, 500),
    trial("small", 0.6, 2.0, 100),
    trial("beaten", 0.6, 2.0, 200),
    trial("middle", 0.8, 2.0, 500),
    trial("broken", None, 0.1, 1),
]


def test_the_front_holds_what_no_other_beats_in_every_objective() -> None:
    assert front(TRIALS, STUDY) == ["accurate", "middle", "fast", "small"]


def test_with_one_objective_there_is_no_front() -> None:
    assert front(TRIALS, Study("one", "classification", "shapes", "convnet")) == []


def test_finalists_are_spread_over_the_front() -> None:
    chosen = [c.trial_id for c in choose(TRIALS, STUDY, top=3, seeds=1)]
    assert chosen[0] == "accurate"
    assert set(chosen[1:]) == {"fast", "small"}
    assert "latency_ms" in choose(TRIALS, STUDY, top=1, seeds=1)[0].chosen_because


def test_the_tuner_is_told_every_objective() -> None:
    assert told_metrics(TRIALS[1], STUDY) == {
        "val_accuracy": 0.7,
        "latency_ms": 1.0,
        "parameters": 500,
    }


def dominates(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
    pairs = list(zip(left, right, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_comes_before_what_dominates_it(seed: int) -> None:
    rng = random.Random(seed)
    points = [tuple(rng.randrange(5) for _ in range(3)) for _ in range(40)]
    order = best_first(points)
    assert sorted(order) == list(range(40))
    for early, late in pairwise(order):
        assert not dominates(points[late], points[early])


def test_one_objective_is_ordered_by_its_value() -> None:
    assert best_first([(0.1,), (0.5,), (0.3,)]) == [1, 2, 0]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_one_of_the_points_whatever_order_they_are_given_in(
    seed: int,
) -> None:
    rng = random.Random(seed)
    points = [tuple(rng.randrange(4) for _ in range(2)) for _ in range(30)]
    expected = [points[i] for i in best_first(points)]
    for _ in range(5):
        rng.shuffle(points)
        assert [points[i] for i in best_first(points)] == expected


@pytest.mark.parametrize(
    "name",
    [
        *("loss", "hinge", "squared_hinge", "categorical_hinge", "poisson"),
        *("log_cosh", "logcosh", "false_positives", "false_negatives"),
        *("kl_divergence", "mean_absolute_error"),
    ],
)
def test_metrics_that_are_better_small_are_minimised(name: str) -> None:
    assert direction_of(f"val_{name}") == "min"


@pytest.mark.parametrize(
    "name",
    ["accuracy", "true_positives", "true_negatives", "precision", "auc", "mean_io_u"],
)
def test_metrics_that_are_better_large_are_maximised(name: str) -> None:
    assert direction_of(f"val_{name}") == "max"


@pytest.mark.parametrize(
    "objectives",
    [["latency_ms"], ["val_accuracy", "speed"], ["val_loss", "val_loss"]],
)
def test_objectives_that_cannot_be_are_refused(objectives: list[str]) -> None:
    with pytest.raises(InputError):
        checked_objectives(objectives)
