"""What is on disk after every save is all that the driver knows."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation import SimulatedWorkers
from test_driver import TUNERS, driver, study, toy_space

from search.bookkeeping import journal
from search.bookkeeping.journal import asked_state
from search.bookkeeping.state import read_state
from search.driving.driver import Driver
from search.errors import InputError
from search.oracles import make_oracle
from search.orders import Outcome
from search.records import Trial


def all_tuners(test: Any) -> Any:
    """Run a test with each; scikit-learn's model does not always converge."""
    calm = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
    return calm(pytest.mark.parametrize("tuner", TUNERS)(test))


class Mixed(SimulatedWorkers):
    """Some configurations are too large, some fail, some orders crash once or twice."""

    def wait(self, report: Any) -> Any:
        order = self.running[-1]
        if random.Random(f"large{sorted(order.values.items())}").random() < 0.2:
            self.running.pop()
            return Outcome(order.order_id, "INFEASIBLE", message="too large")
        return super().wait(report)


def plain(value: Any) -> Any:
    """Return a value as JSON would give it back."""
    return json.loads(json.dumps(value))


def known(searching: Driver) -> Any:
    """Return all that a driver knows but the time, which passes."""
    now = searching.knowledge()
    oracle = {**now.oracle, "tried_so_far": sorted(now.oracle["tried_so_far"])}
    asked = {key: asked_state(trial) for key, trial in now.asked.items()}
    trials = [vars(trial) for trial in now.trials.values()]
    return plain([oracle, asked, now.roots, trials])


def on_disk(searching: Driver) -> Any:
    """Return the same of what a restart would read."""
    state, notes = read_state(searching.paths)
    assert state is not None and notes == []
    oracle = {**state.oracle, "tried_so_far": sorted(state.oracle["tried_so_far"])}
    trials = [vars(trial) for trial in state.trials]
    return plain([oracle, state.asked, state.roots, trials])


def checking(searching: Driver) -> list[int]:
    """Compare after every save; return a list that grows by an entry each."""
    save, saves = searching.save, [0]

    def checked() -> None:
        save()
        assert on_disk(searching) == known(searching)
        saves[0] += 1

    searching.save = checked  # type: ignore[method-assign]
    return saves


@pytest.mark.parametrize("smallest_journal", [2000, 10**6])
@all_tuners
def test_after_every_save_the_disk_holds_all_that_the_driver_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tuner: str, smallest_journal: int
) -> None:
    monkeypatch.setattr("search.bookkeeping.journal.SMALLEST_JOURNAL", smallest_journal)
    workers = Mixed(capacity=3, failing=0.1, crashing=0.3)
    searching = driver(tmp_path, study(tuner, trials=30), workers)
    saves = checking(searching)
    trials = searching.search()
    states = {trial.state for trial in trials}
    assert states >= {"COMPLETED", "INFEASIBLE"}
    assert saves[0] > 2 * len(trials)
    # The same goes for a search that went on from its files.
    again = driver(tmp_path, study(tuner, trials=40), workers.next_life(None))
    checking(again)
    assert [t.values for t in again.search()][: len(trials)] == [
        t.values for t in trials
    ]


def ended(oracle: Any, place: int, status: str = "FAILED") -> None:
    trial = list(oracle.trials.values())[place]
    trial.status = status
    oracle.end_trial(trial)


def ended_again(oracle: Any) -> None:
    ended(oracle, 1)


def ended_with_other_values(oracle: Any) -> None:
    list(oracle.trials.values())[2].hyperparameters.values["depth"] = 77
    ended(oracle, 2, "COMPLETED")


def a_new_score(oracle: Any) -> None:
    oracle.update_trial(next(iter(oracle.trials)), {"val_accuracy": 0.125}, step=3)


def a_shorter_order(oracle: Any) -> None:
    oracle.end_order.pop()


def another_order(oracle: Any) -> None:
    oracle.start_order = oracle.start_order[::-1]


def a_forgotten_trial(oracle: Any) -> None:
    del oracle._run_times[list(oracle.trials)[3]]


def a_count_that_no_trial_tells_of(oracle: Any) -> None:
    oracle._run_times["another"] = 3


def forgotten_hashes(oracle: Any) -> None:
    oracle._tried_so_far.pop()


def other_containers(oracle: Any) -> None:
    """What keras-tuner does where it reads a state."""
    state = json.loads(json.dumps({**oracle.get_state(), "tried_so_far": ["a", "b"]}))
    oracle.set_state(state)


def one_more_wish(oracle: Any) -> None:
    oracle.first.append({"depth": 3})


CHANGES = [
    ended_again,
    ended_with_other_values,
    a_new_score,
    a_shorter_order,
    another_order,
    a_forgotten_trial,
    a_count_that_no_trial_tells_of,
    forgotten_hashes,
    other_containers,
    one_more_wish,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_in_place_of_what_only_grows_is_written(
    tmp_path: Path, change: Callable[[Any], None]
) -> None:
    searching = driver(tmp_path, study("random", trials=6), SimulatedWorkers())
    searching.search()
    before = on_disk(searching)
    change(searching.oracle)
    searching.save()
    assert searching.paths.journal.exists()
    assert on_disk(searching) == known(searching) != before
    # What is written next builds on it.
    searching.roster.record(Trial("0009", values={"depth": 2}))
    ended_again(searching.oracle)
    searching.save()
    assert on_disk(searching) == known(searching)


def test_a_hash_that_two_trials_had_is_forgotten_on_disk_too(tmp_path: Path) -> None:
    """Where one of them gets another, keras-tuner forgets the hash of both."""
    searching = driver(tmp_path, study("random", trials=6), SimulatedWorkers())
    searching.search()
    trials = list(searching.oracle.trials.values())
    for place in (3, 4):
        trials[place].hyperparameters.values = dict(trials[2].hyperparameters.values)
        ended(searching.oracle, place)
    searching.save()
    assert on_disk(searching) == known(searching)
    trials[4].hyperparameters.values["depth"] = 77
    ended(searching.oracle, 4)
    searching.save()
    assert on_disk(searching) == known(searching)


@all_tuners
def test_keras_tuner_says_which_trials_it_has_changed(tuner: str) -> None:
    """All that it keeps by trial; the journal looks at nothing else of the others."""
    oracle = make_oracle(study(tuner, trials=30), toy_space())

    def by_trial() -> dict[str, Any]:
        state = oracle.get_state()
        return {
            key: plain(
                [
                    asked_state(trial),
                    state["run_times"].get(key),
                    state["id_to_hash"].get(key),
                ]
            )
            for key, trial in oracle.trials.items()
        }

    for number in range(20):
        before, oracle.unsaved = by_trial(), {}
        asked = oracle.create_trial(f"question{number}")
        if asked.status != "RUNNING":
            break
        check_said(oracle, before, by_trial())
        before, oracle.unsaved = by_trial(), {}
        asked.status = "COMPLETED"
        oracle.update_trial(asked.trial_id, {"val_accuracy": number % 7 / 7})
        oracle.end_trial(asked)
        check_said(oracle, before, by_trial())
    assert len(oracle.trials) > 5


def check_said(oracle: Any, before: dict[str, Any], now: dict[str, Any]) -> None:
    changed = {key for key in now if now[key] != before.get(key)}
    assert changed and changed <= set(oracle.unsaved)
    assert len(oracle.unsaved) == 1
    assert len(set(now) - set(before)) <= 1


@pytest.mark.parametrize("kept", [{1, 2}, np.zeros(2)])
def test_what_a_tuner_keeps_and_json_does_not_know_is_told(kept: Any) -> None:
    with pytest.raises(InputError, match="`get_state` of the tuner"):
        journal.plain({"kept": kept})
