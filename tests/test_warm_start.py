"""`--start-from`: what is taken over from earlier studies, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from simulation import SimulatedWorkers
from test_driver import driver
from test_driver import study as toy_study

from search.beginning.study_record import record_study
from search.errors import InputError
from search.oracles import check_tellable, make_oracle
from search.oracles.warm_start import BEST_AGAIN, best_first, warm_start
from search.paths import StudyPaths, study_paths
from search.records import State, Trial, Values, write_records
from search.spaces import default_values
from search.studies import Study


def space() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-2)
    hp.Int("depth", 1, 5, default=2)
    hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        hp.Float("momentum", 0.0, 0.99, default=0.9)
    return hp


def study(**options: Any) -> Study:
    return Study("new", "classification", "shapes", "convnet", epochs=9, **options)


def paths(tmp_path: Path, name: str = "new") -> StudyPaths:
    return study_paths(name, tmp_path / "results", tmp_path / "logs")


def trained(
    name: str,
    state: State,
    curve: list[float | None],
    values: Values | None = None,
    message: str | None = None,
) -> Trial:
    best = max(score for score in curve if score is not None)
    return Trial(
        name,
        state,
        best,
        curve.index(best) + 1,
        epochs=len(curve),
        values=values or {},
        message=message,
        history={"val_accuracy": curve},
    )


def earlier_study(tmp_path: Path, name: str = "old") -> None:
    of = Study(name, "classification", "shapes", "convnet")
    record_study(paths(tmp_path, name), of, {}, "mark", "command")
    values = [
        {"learning_rate": 0.01, "depth": 4, "width": 64},
        {"learning_rate": 0.02, "depth": 9},
        {"learning_rate": 0.03, "optimizer": "sgd"},
        {"learning_rate": 0.04},
        {"learning_rate": 0.05},
    ]
    trials = [
        trained(f"{i}", "COMPLETED", [0.5, *[0.9 - i / 10] * 8], each)
        for i, each in enumerate(values)
    ]
    trials.append(trained("5", "PAUSED", [0.4], {"depth": 1}))
    trials.append(Trial("6", "FAILED", None, values={"depth": 3}))
    write_records(paths(tmp_path, name).trials, trials)


def test_the_best_of_an_earlier_study_are_tried_first(tmp_path: Path) -> None:
    earlier_study(tmp_path)
    told = warm_start(study(start_from=["old"]), paths(tmp_path), space(), {})
    assert told.first[:2] == [
        {"learning_rate": 0.01, "depth": 4, "optimizer": "adam"},
        {"learning_rate": 0.02, "depth": 2, "optimizer": "adam"},
    ]
    assert told.first[2]["momentum"] == 0.9
    assert len(told.first) == BEST_AGAIN


def test_what_a_narrowed_knob_has_not_is_told_of_no_other(tmp_path: Path) -> None:
    earlier_study(tmp_path)
    of = study(start_from=["old"], narrowed={"depth": "3..5"})
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log", default=1e-2)
    hp.Int("depth", 3, 5, default=3)
    told = warm_start(of, paths(tmp_path), hp, {})
    depths = {values["depth"] for values, _ in told.earlier}
    assert depths and depths <= {3, 4, 5}
    assert any("depth is narrowed" in note for note in told.notes)


def test_all_its_results_are_told_best_first(tmp_path: Path) -> None:
    earlier_study(tmp_path)
    told = warm_start(study(start_from=["old"]), paths(tmp_path), space(), {})
    scores = [score for _, score in told.earlier]
    assert len(scores) == 6
    assert scores == sorted(scores, reverse=True)
    assert told.earlier[-1][0]["depth"] == 1


def test_every_earlier_study_is_heard_in_turn(tmp_path: Path) -> None:
    earlier_study(tmp_path)
    earlier_study(tmp_path, "older")
    both = warm_start(study(start_from=["old", "older"]), paths(tmp_path), space(), {})
    alone = warm_start(study(start_from=["old"]), paths(tmp_path), space(), {})
    assert both.earlier[::2] == both.earlier[1::2] == alone.earlier


def test_trials_are_compared_after_as_many_epochs_as_both_were_trained() -> None:
    stale = "stopped early: no better val_accuracy for 3 epochs"
    trials = [
        trained("full", "COMPLETED", [0.5, 0.6, *[0.9] * 7]),
        trained("slow", "COMPLETED", [0.3, 0.4, *[0.6] * 7]),
        trained("stopped", "COMPLETED", [0.95, 0.7, 0.7, 0.7], message=stale),
        trained("short", "COMPLETED", [0.4]),  # its search ended before its turn
        trained("failed", "FAILED", [0.99]),
        trained("not a number", "PAUSED", [None, 0.41]),
    ]
    order = ["stopped", "full", "short", "not a number", "slow"]
    of = study(objective="val_accuracy")
    assert [trial.trial_id for trial in best_first(trials, of)] == order
    losses = [
        replace(
            trial,
            score=1 - (trial.score or 0),
            history={"val_loss": [s and 1 - s for s in trial.history["val_accuracy"]]},
        )
        for trial in trials
    ]
    lower = study(objective="val_loss", direction="min")
    assert [trial.trial_id for trial in best_first(losses, lower)] == order


def test_baselines_take_defaults_and_keep_out_of_other_spaces(tmp_path: Path) -> None:
    baselines = {"deep": {"depth": 5}, "elsewhere": {"depth": 50}}
    told = warm_start(
        study(start_from=["baselines"]), paths(tmp_path), space(), baselines
    )
    assert told.first == [{"learning_rate": 0.01, "depth": 5, "optimizer": "adam"}]
    assert "elsewhere" in told.notes[0]


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    earlier_study(tmp_path)
    other = keras_tuner.HyperParameters()
    other.Int("unknown", 1, 3)
    with pytest.raises(InputError, match="knob in common"):
        warm_start(study(start_from=["old"]), paths(tmp_path), other, {})
    with pytest.raises(InputError):
        warm_start(study(start_from=["missing"]), paths(tmp_path), space(), {})
    with pytest.raises(InputError):
        warm_start(study(start_from=["baselines"]), paths(tmp_path), space(), {})
    with pytest.raises(InputError):
        check_tellable(study(start_from=["old"], tuner="kt-bayesian"))


@pytest.mark.parametrize(
    "tuner", ["random", "bayesian", "hyperband", "bohb", "priorband"]
)
def test_a_tuner_starts_with_what_it_was_told(tmp_path: Path, tuner: str) -> None:
    earlier_study(tmp_path)
    of = study(start_from=["old"], tuner=tuner)
    told = warm_start(of, paths(tmp_path), space(), {})
    oracle = make_oracle(of, space(), told)
    asked = [oracle.create_trial(f"worker{i}").hyperparameters.values for i in range(4)]
    plain = [{k: v for k, v in each.items() if "tuner/" not in k} for each in asked]
    assert plain[1:] == told.first
    restored = make_oracle(of, space())
    restored.trials = oracle.trials
    restored.set_state(
        oracle.get_state()
        | {"display": {"search_start": None, "trial_start": {}, "trial_number": {}}}
    )
    assert restored.first == told.first
    assert restored.earlier == told.earlier


@pytest.mark.parametrize("tuner", ["bayesian", "bohb", "priorband"])
def test_the_default_comes_first_however_much_was_told(
    tmp_path: Path, tuner: str
) -> None:
    earlier_study(tmp_path)
    told = warm_start(study(start_from=["old"]), paths(tmp_path), space(), {})
    much = replace(told, earlier=told.earlier * 3)  # enough for a model
    for seed in range(5):
        of = study(start_from=["old"], tuner=tuner, seed=seed)
        first = make_oracle(of, space(), much).create_trial("worker").hyperparameters
        known = {k: v for k, v in first.values.items() if "tuner/" not in k}
        assert known == default_values(space())


def test_several_objectives_order_promotions_by_fronts() -> None:
    oracle = make_oracle(study(tuner="bohb", further_objectives=["flops"]), space())
    costs = [(0.5, 9.0), (0.9, 9.0), (0.6, 1.0), (0.4, 9.0), (0.3, 9.0), (0.2, 9.0)]
    costs += [(0.1, 9.0), (0.0, 9.0)]
    asked = [oracle.create_trial(f"worker{i}") for i in range(len(costs))]
    for trial, (accuracy, flops) in zip(asked, costs, strict=True):
        metrics = {"val_accuracy": accuracy, "flops": flops}
        oracle.update_trial(trial.trial_id, metrics)
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    names = [oracle.create_trial(f"later{i}").hyperparameters.values for i in range(2)]
    promoted = {values.get("tuner/trial_id") for values in names}
    assert promoted == {asked[1].trial_id, asked[2].trial_id}


def test_a_search_that_has_begun_needs_no_earlier_study_any_more(
    tmp_path: Path,
) -> None:
    new, asked = paths(tmp_path, "toy"), study(start_from=["gone"])
    with pytest.raises(InputError, match="gone"):
        warm_start(asked, new, space(), {})
    new.oracle.parent.mkdir(parents=True)
    new.oracle.write_text("{")  # nothing is left of what the tuner was told
    with pytest.raises(InputError, match="gone"):
        warm_start(asked, new, space(), {})
    new.oracle.unlink()
    driver(tmp_path, toy_study("random", trials=2), SimulatedWorkers(1)).run()
    told = warm_start(asked, new, space(), {})
    assert told.first == [] and "goes on with what it was told" in told.notes[0]
