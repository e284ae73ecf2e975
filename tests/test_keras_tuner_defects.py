"""What goes wrong in keras-tuner 1.4.8, each measured there, and must be right here.

Tested elsewhere, under names that say so:

- a promoted trial restarts its optimizer and its learning rate: test_training
- kill -9 costs all epochs of a trial; a restart loses or repeats trials: test_driver
- a worker that dies leaves its trial running for ever; hangs, swells or leaks:
  test_worker_processes
- state files are rewritten in place, and one truncated file ends it all; a full disk:
  test_state
- failed trials take the places of a rung, and a small space stops early: test_brackets
- changed settings of a search are ignored: test_driver
- a first epoch of NaN hides all later scores: test_files
- every checkpoint is kept for ever: test_driver
- out of memory is a failure like any other: test_accumulation
"""

from pathlib import Path
from typing import Any

import pytest
from simulation import Killed, SimulatedWorkers
from test_driver import driver, study, toy_space

from search.errors import InputError
from search.orders import Outcome
from search.records import Trial, ranked, read_records
from search.search import check_success


class FailsAtFirst(SimulatedWorkers):
    """Fails the first trials, each in its own way."""

    fails_first = 8

    def wait(self, report: Any) -> Any:
        order = self.running[-1]
        if int(order.order_id) >= self.fails_first:
            return super().wait(report)
        self.running.pop()
        kinds = ("out of memory", "not finite", "bug", "timeout")
        kind = kinds[int(order.order_id) % 4]
        return Outcome(
            order.order_id, "FAILED", failure=kind, message=f"{kind} {order.values}"
        )


@pytest.mark.parametrize("tuner", ["random", "hyperband", "kt-bayesian"])
def test_failures_in_a_row_end_no_search(tmp_path: Path, tuner: str) -> None:
    """There: the third one in a row raises, again at every resume."""
    of = study(tuner, trials=12)
    trials = driver(tmp_path, of, FailsAtFirst()).search()
    assert [t.state for t in trials[:8]] == ["FAILED"] * 8
    assert len(ranked(trials, "max")) == 4
    assert max(t.epochs for t in trials) == 9


def test_a_failure_keeps_its_kind_and_message_and_the_oracle_knows(
    tmp_path: Path,
) -> None:
    """There: the text is lost between processes, and the kind is not known at all."""
    searching = driver(tmp_path, study("random", trials=9), FailsAtFirst())
    searching.search()
    for trial in read_records(searching.paths.trials, Trial)[:8]:
        assert trial.failure and str(trial.message).startswith(trial.failure)
    asked = list(searching.oracle.trials.values())[:8]
    assert {a.status for a in asked} == {"FAILED"}
    assert all(a.message for a in asked)


@pytest.mark.parametrize("tuner", ["random", "hyperband", "kt-bayesian"])
def test_a_kill_in_the_first_trial_loses_no_search(tmp_path: Path, tuner: str) -> None:
    """There: nothing is found again before the first trial has ended."""
    of = study(tuner, trials=4)
    workers = SimulatedWorkers(dies_after=0)
    searching = driver(tmp_path, of, workers)
    with pytest.raises(Killed):
        searching.search()
    (begun,) = read_records(searching.paths.trials, Trial)
    trials = driver(tmp_path, of, workers.next_life(None)).search()
    assert trials[0].values == begun.values
    assert len(trials) == 4


def test_a_changed_range_is_refused_by_the_name_of_the_knob(tmp_path: Path) -> None:
    """There: the old range is searched on, and nothing is said."""
    import keras_tuner

    of = study("random", trials=3)
    driver(tmp_path, of, SimulatedWorkers()).search()
    other = keras_tuner.HyperParameters()
    for knob in toy_space().space:
        if knob.name == "depth":
            knob = keras_tuner.engine.hyperparameters.Int("depth", 1, 99)
        other.merge([knob])
    with pytest.raises(InputError, match=r"the knob depth as it was.*another range"):
        driver(tmp_path, of, SimulatedWorkers(), other).search()


def test_a_search_in_which_nothing_succeeded_says_so(tmp_path: Path) -> None:
    """There: it returns normally, and a failed trial is its best."""
    workers = FailsAtFirst()
    workers.fails_first = 99
    of = study("random", trials=4)
    trials = driver(tmp_path, of, workers).search()
    with pytest.raises(RuntimeError, match=r"none of 4 trials.*1 out of memory"):
        check_success(of, trials)
    check_success(of, [])


def test_a_trial_of_a_dead_driver_is_told_once(tmp_path: Path) -> None:
    """There: a chief that comes back has the trial both ended and to be run again."""
    of = study("random", trials=6)
    for answers in range(1, 6):
        workers = SimulatedWorkers(capacity=2, dies_after=answers)
        folder = tmp_path / str(answers)
        with pytest.raises(Killed):
            driver(folder, of, workers).search()
        trials = driver(folder, of, workers.next_life(None)).search()
        assert len(trials) == 6
        assert sum(workers.trained.values()) == 6 * 9
