"""The tuners: what they propose, learn and refuse, here and in a plain keras-tuner."""

import json
import math
import random
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest

from search.oracles.bayesian import BayesianOptimization
from search.oracles.bohb import Bohb
from search.oracles.encoding import Encoding, configuration_key
from search.oracles.grid import GridSearch
from search.oracles.hyperband import Hyperband
from search.oracles.priorband import Priorband, near_default
from search.oracles.random_search import RandomSearch
from search.oracles.sampling import new_values
from search.oracles.surrogate import (
    MOST_MORE_EARLIER,
    MOST_OBSERVED,
    Known,
    Surrogate,
    normal_scores,
    told_earlier,
)
from search.spaces import default_values

OBJECTIVE = keras_tuner.Objective("val_loss", "min")


def declare(hp: keras_tuner.HyperParameters) -> None:
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Int("depth", 1, 5)
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    hp.Choice("activation", ["relu", "gelu", "silu"])
    hp.Choice("batch_size", [16, 32, 64])
    hp.Boolean("residual")
    hp.Choice("optimizer", ["adam", "sgd"])
    hp.Fixed("task", "toy")
    with hp.conditional_scope("optimizer", ["sgd"]):
        hp.Float("momentum", 0.0, 0.99)
        hp.Boolean("nesterov")
    with hp.conditional_scope("residual", [True]):
        hp.Int("width", 8, 64, step=8)


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    declare(hp)
    return hp


def loss(values: dict[str, Any]) -> float:
    """Return a loss that is best near 0.01, depth 4, silu, sgd, momentum 0.9."""
    rate = math.log10(values["learning_rate"]) + 2.0
    return (
        rate**2
        + 0.1 * (values["depth"] - 4) ** 2
        + 0.5 * (values["activation"] != "silu")
        + (2.0 * abs(values.get("momentum", 0.0) - 0.9))
    )


def run(oracle: Any, fails: Any = None, most: int = 200) -> list[dict[str, Any]]:
    """Ask and tell until the oracle stops; return what was new, in order."""
    found = []
    for number in range(most):
        trial = oracle.create_trial(f"worker{number}")
        if trial.status == "STOPPED":
            break
        values = trial.hyperparameters.values
        if "tuner/trial_id" not in values:
            found.append({k: v for k, v in values.items() if "tuner/" not in k})
        if fails is not None and fails(values):
            trial.status = "FAILED"
        else:
            oracle.update_trial(trial.trial_id, {"val_loss": loss(values)})
            trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return found


def make(kind: Any, seed: int = 1, **options: Any) -> Any:
    if issubclass(kind, Hyperband):
        budget = {"max_epochs": 9}
    else:
        budget = {"max_trials": options.pop("trials", 40)}
    oracle = kind(
        objective=OBJECTIVE,
        hyperparameters=space(),
        seed=seed,
        max_consecutive_failed_trials=10**6,
        **budget,
        **options,
    )
    oracle.verbose = 0
    oracle.save = oracle._save_trial = lambda *arguments: None
    return oracle


KINDS = [RandomSearch, GridSearch, BayesianOptimization, Hyperband, Bohb, Priorband]


@pytest.mark.parametrize("kind", KINDS)
def test_no_configuration_is_proposed_twice(kind: Any) -> None:
    found = [configuration_key(values) for values in run(make(kind))]
    assert len(found) >= 15
    assert len(set(found)) == len(found)


def test_positions_and_values_are_the_same_configuration() -> None:
    encoding = Encoding(space())
    rng = np.random.default_rng(0)
    settled = encoding.settled(rng.random((300, len(encoding.knobs))))
    for row in settled:
        values = encoding.values(row)
        np.testing.assert_allclose(encoding.positions(values), row, atol=1e-9)
        assert ("momentum" in values) == (values["optimizer"] == "sgd")


def test_a_condition_on_a_number_of_too_many_values_to_count() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("layers", 1, 9, sampling="log")
    with hp.conditional_scope("layers", [1, 2, 5]):
        hp.Float("width", 0.0, 1.0)
    encoding = Encoding(hp)
    settled = encoding.settled(np.random.default_rng(0).random((300, 2)))
    configurations = [encoding.values(row) for row in settled]
    for values, row in zip(configurations, settled, strict=True):
        assert ("width" in values) == (values["layers"] in (1, 2, 5))
        assert np.isnan(row[1]) == ("width" not in values)
    assert {values["layers"] for values in configurations} == set(range(1, 10))


def test_unordered_choices_are_equally_far_apart() -> None:
    encoding = Encoding(space())
    base = encoding.values(np.full(len(encoding.knobs), 0.5))
    points = encoding.encoded(
        np.array(
            [
                encoding.positions(base | {"activation": a})
                for a in ("relu", "gelu", "silu")
            ]
        )
    )
    apart = [np.linalg.norm(points[i] - points[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(apart, 1.0)


@pytest.mark.parametrize("kind", [BayesianOptimization, Bohb, Priorband])
def test_the_model_finds_better_configurations_than_chance(kind: Any) -> None:
    better = 0
    for seed in range(1, 6):
        modelled = [loss(values) for values in run(make(kind, seed))]
        drawn = [loss(values) for values in run(make(RandomSearch, seed))]
        count = min(len(modelled), len(drawn))
        better += np.median(modelled[12:count]) < np.median(drawn[12:count])
    assert better == 5


def wide() -> keras_tuner.HyperParameters:
    """Return a space of 16 knobs with four values each; 1 is the default."""
    hp = keras_tuner.HyperParameters()
    for number in range(16):
        hp.Choice(f"knob{number}", [0, 1, 2, 3], ordered=False, default=1)
    return hp


def near_share(better: int, counted: range) -> float:
    """Return the share of configurations near the default one.

    Args:
        better: value of each knob that is good; 1 is the default.
        counted: which configurations.
    """
    near = []
    for seed in range(1, 5):
        oracle = make(Priorband, seed)
        oracle.hyperparameters = wide()
        for number in range(100):
            trial = oracle.create_trial(f"worker{number}")
            values = trial.hyperparameters.values
            if trial.status == "STOPPED":
                break
            count = [sum(values[f"knob{n}"] == v for n in range(16)) for v in range(4)]
            if "tuner/trial_id" not in values and number in counted:
                near.append(count[1] >= 10)
            oracle.update_trial(trial.trial_id, {"val_loss": -float(count[better])})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    return float(np.mean(near))


def test_the_first_draws_are_near_the_default() -> None:
    assert near_share(better=1, counted=range(1, 9)) > 0.3
    assert near_share(better=2, counted=range(1, 9)) > 0.3


def test_draws_leave_a_bad_default() -> None:
    assert near_share(better=0, counted=range(15, 100)) < 0.1


def decayed() -> keras_tuner.HyperParameters:
    """Return a space whose defaults do not come back exactly from their positions."""
    hp = keras_tuner.HyperParameters()
    for number, default in enumerate((0.01, 0.03, 0.003)):
        hp.Float(f"decay{number}", 1e-5, 1e-1, sampling="log", default=default)
    return hp


def test_what_is_near_the_default_has_its_very_values() -> None:
    encoding, rng = Encoding(decayed()), np.random.default_rng(0)
    default = default_values(encoding.space)
    kept = 0
    for _ in range(100):
        values = near_default(encoding, rng, lambda new: new != default) or {}
        differ = [name for name in default if values[name] != default[name]]
        assert differ
        assert all(abs(values[n] / default[n] - 1) > 1e-9 for n in differ)
        kept += 3 - len(differ)
    assert kept > 100


def test_the_default_configuration_is_trained_once() -> None:
    for seed in range(1, 6):
        oracle = make(Priorband, seed)
        oracle.hyperparameters = decayed()
        found = []
        for number in range(20):
            trial = oracle.create_trial(f"worker{number}")
            values = trial.hyperparameters.values
            if "tuner/trial_id" not in values:
                found.append([values[f"decay{k}"] for k in range(3)])
            oracle.update_trial(trial.trial_id, {"val_loss": float(number)})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
        away = np.abs(np.array(found) / found[0] - 1).max(1)
        assert (away[1:] > 1e-9).all()


def test_what_cannot_be_trained_is_learned() -> None:
    oracle = make(BayesianOptimization)
    run(oracle, fails=lambda values: values["depth"] >= 4)
    known, encoding = oracle.known(), oracle.encoding
    points = [encoding.positions(known.ranked[0] | {"depth": d}) for d in (1, 2, 5)]
    chances = oracle.surrogate.feasibility(known, encoding.encoded(np.array(points)))
    assert min(chances[:2]) > 0.9
    assert chances[2] < 0.2


@pytest.mark.parametrize("kind", [BayesianOptimization, Bohb, Priorband])
def test_what_cannot_be_trained_is_avoided(kind: Any) -> None:
    """Where two of five depths fail, chance proposes them in two fifths of trials."""

    def fails(values: dict[str, Any]) -> bool:
        return int(values["depth"]) >= 4

    options = {"trials": 60} if kind is BayesianOptimization else {}
    late = [
        values
        for seed in (1, 2, 3, 4)
        for values in run(make(kind, seed, **options), fails)[15:]
    ]
    assert len(late) >= 40
    assert sum(map(fails, late)) < 0.2 * len(late)


def test_failures_by_chance_do_not_mislead() -> None:
    rng = random.Random(3)
    found = run(make(BayesianOptimization), fails=lambda v: rng.random() < 0.3)
    assert min(loss(values) for values in found) < 0.6


def test_pending_configurations_are_not_proposed_again_nearby() -> None:
    encoding = Encoding(space())
    drawn = [
        new_values(encoding, 0, number, lambda new: True) or {} for number in range(30)
    ]
    ranked = sorted(drawn, key=loss)

    point = encoding.positions(ranked[0])[None]

    def promise(pending: list[dict[str, Any]]) -> float:
        known = Known(ranked, pending=pending)
        rng = np.random.default_rng(0)
        return float(Surrogate(encoding).promise(known, point, rng)[0])

    assert promise([ranked[0]]) < promise([])


def test_streams_of_neighbouring_seeds_share_nothing() -> None:
    seen = [
        {configuration_key(values) for values in run(make(RandomSearch, seed))[1:]}
        for seed in (1, 2, 11)
    ]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_the_first_random_draws_are_evenly_spread() -> None:
    rates = sorted(
        math.log10(values["learning_rate"])
        for values in run(make(RandomSearch, trials=65))[1:]
    )
    gaps = np.diff(rates)
    assert len(rates) == 64
    assert gaps.max() < 3 * 3 / 64


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_space_is_exhausted_and_then_stopped(kind: Any) -> None:
    small = keras_tuner.HyperParameters()
    small.Int("depth", 1, 3)
    small.Boolean("residual")
    oracle = make(kind)
    oracle.hyperparameters = small
    found = []
    for number in range(100):
        trial = oracle.create_trial(f"worker{number}")
        if trial.status == "STOPPED":
            break
        if "tuner/trial_id" not in trial.hyperparameters.values:
            found.append(trial.hyperparameters.values["depth"])
        oracle.update_trial(trial.trial_id, {"val_loss": float(number)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert len(found) == 6
    assert trial.status == "STOPPED"


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_asked_for_comes_right_after_the_default(kind: Any) -> None:
    wanted = new_values(Encoding(space()), 5, 3, lambda new: True) or {}
    found = run(make(kind, first=[wanted]), most=3)
    assert found[1] == wanted


@pytest.mark.parametrize("kind", [BayesianOptimization, Bohb, Priorband])
def test_results_of_an_earlier_study_guide_the_first_proposals(kind: Any) -> None:
    encoding = Encoding(space())
    drawn = [
        new_values(encoding, 9, number, lambda new: True) or {} for number in range(60)
    ]
    ranked = sorted(drawn, key=loss)
    earlier = [(values, 2.0 - 4.0 * i / 60) for i, values in enumerate(ranked)]

    def median(**options: Any) -> float:
        runs = [run(make(kind, seed, **options), most=10)[1:] for seed in (1, 2, 3)]
        return float(np.median([loss(values) for found in runs for values in found]))

    assert median(earlier=earlier) < 0.9 * median()


def test_earlier_results_are_told_evenly_and_by_the_ranks_they_have_then() -> None:
    encoding = Encoding(space())
    drawn = [
        new_values(encoding, 9, number, lambda new: True) or {} for number in range(100)
    ]
    scores = normal_scores(100)
    earlier = list(zip(drawn, map(float, scores), strict=True))
    told = told_earlier(earlier, own=0)
    assert told == drawn[5::10]  # the middle of each tenth
    inputs, targets = Surrogate(encoding).observed(
        Known([], earlier=earlier), np.random.default_rng(0)
    )
    own = normal_scores(MOST_MORE_EARLIER)
    np.testing.assert_allclose(targets, own / own.std())
    np.testing.assert_array_equal(
        inputs, encoding.encoded(np.array([encoding.positions(v) for v in told]))
    )
    assert told_earlier(earlier[:7], own=0) == drawn[:7]
    # Studies that are told in turn are sorted by their scores.
    assert told_earlier(earlier[1::2] + earlier[::2], own=90) == drawn


@pytest.mark.parametrize("own", [0, 50, 150, 195, 200, 300])
def test_with_earlier_results_the_model_is_no_larger(own: int) -> None:
    encoding = Encoding(space())
    drawn = [
        new_values(encoding, 9, number, lambda new: True) or {} for number in range(500)
    ]
    known = Known(drawn[:own], earlier=[(values, 0.0) for values in drawn[300:]])
    inputs, targets = Surrogate(encoding).observed(known, np.random.default_rng(0))
    assert len(inputs) == len(targets)
    assert len(inputs) == min(2 * own + MOST_MORE_EARLIER, MOST_OBSERVED)


@pytest.mark.parametrize("kind", [BayesianOptimization, Bohb, Priorband])
def test_a_knob_found_after_a_reload_does_not_stop_the_model(kind: Any) -> None:
    before = make(kind)
    run(before, most=25)
    after = make(kind)
    after.trials = before.trials
    nothing: dict[str, Any] = {}
    display = {"search_start": None, "trial_start": nothing, "trial_number": nothing}
    state = json.loads(json.dumps(before.get_state() | {"display": display}))
    after.set_state(state)
    after.hyperparameters.Float("late", 0.0, 1.0)
    found = run(after, most=15)
    assert any("late" in values for values in found)
    fit = after.surrogate.quality.fit
    assert len(fit.lengthscales) == len(Encoding(after.hyperparameters).searched)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_keras_tuner_can_use_it(kind: Any, tmp_path: Path) -> None:
    class Recorded(keras_tuner.Tuner):
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            return loss(trial.hyperparameters.values)

    budget = {"max_epochs": 3} if issubclass(kind, Hyperband) else {"max_trials": 12}
    oracle = kind(objective=None, seed=1, **budget)
    tuner = Recorded(
        oracle=oracle,
        hypermodel=lambda hp: declare(hp),
        directory=tmp_path,
        project_name="plain",
        executions_per_trial=1,
    )
    tuner.search(verbose=0)
    best = tuner.get_best_hyperparameters()[0].values
    # the first combinations of a grid differ in the last knobs only
    assert kind is GridSearch or loss(best) < 5.0
