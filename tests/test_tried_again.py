"""A promoted training that fails goes on while it gets further."""

from pathlib import Path
from typing import Any, ClassVar

import keras_tuner
import pytest
from simulation import SimulatedWorkers
from test_driver import driver, study

from search.errors import StorageError
from search.oracles.bohb import Bohb
from search.orders import Outcome
from search.records import Trial, read_records

HALVING = ["bohb", "hyperband", "kt-hyperband"]


class Fails(SimulatedWorkers):
    """One order to go on fails, in one way, as often as it is given."""

    failure = "crashed"
    times = 1
    failed: str | None = None

    def wait(self, report: Any) -> Outcome:
        order = self.running[0]
        done = self.trained.get(order.order_id, 0)
        if done and self.failed in (None, order.order_id) and self.times:
            self.failed, self.times = order.order_id, self.times - 1
            self.attempts[order.order_id, order.epochs] += 1
            self.running.clear()
            outcome = self.outcome(order, "FAILED", done)
            return Outcome(**vars(outcome) | {"failure": self.failure})
        outcome = super().wait(report)
        assert outcome is not None
        return outcome


def failing(failure: str, times: int) -> Fails:
    workers = Fails()
    workers.failure, workers.times = failure, times
    return workers


@pytest.mark.parametrize("tuner", HALVING)
@pytest.mark.parametrize(
    "failure", ["bug", "crashed", "killed", "hung", "out of memory"]
)
def test_what_fails_once_goes_on_from_its_checkpoint(
    tmp_path: Path, tuner: str, failure: str
) -> None:
    of = study(tuner)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    workers = failing(failure, 1)
    trials = driver(tmp_path / "failing", of, workers).search()
    noted = [trial for trial in trials if trial.notes]
    assert [trial.trial_id for trial in noted] == [workers.failed]
    epoch = min(e for (i, e), n in workers.attempts.items() if i == workers.failed)
    assert noted[0].notes == [
        f"{failure} in epoch {epoch + 1}: worker crashed; tried again"
    ]
    assert [Trial(**vars(t) | {"notes": []}) for t in trials] == whole


@pytest.mark.parametrize("tuner", HALVING)
def test_what_fails_twice_in_one_epoch_has_failed(tmp_path: Path, tuner: str) -> None:
    workers = failing("crashed", 99)
    trials = driver(tmp_path, study(tuner), workers).search()
    failed = [trial for trial in trials if trial.state == "FAILED"]
    assert [trial.trial_id for trial in failed] == [workers.failed]
    assert failed[0].failure == "crashed"
    assert workers.times == 97


@pytest.mark.parametrize("tuner", HALVING)
def test_what_fails_in_epoch_after_epoch_goes_on(tmp_path: Path, tuner: str) -> None:
    class EveryEpoch(Fails):
        """Each attempt of an order to go on crashes in its second epoch."""

        def wait(self, report: Any) -> Outcome:
            order = self.running[0]
            done = self.trained.get(order.order_id, 0)
            if not done or done + 1 == order.epochs:
                return SimulatedWorkers.wait(self, report)
            self.running.clear()
            self.trained[order.order_id] = done + 1
            outcome = self.outcome(order, "FAILED", done + 1)
            return Outcome(**vars(outcome) | {"failure": self.failure})

    of = study(tuner)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    trials = driver(tmp_path / "failing", of, EveryEpoch()).search()
    assert max(len(trial.notes) for trial in trials) >= 2
    assert [Trial(**vars(t) | {"notes": []}) for t in trials] == whole


@pytest.mark.parametrize("failure", ["not finite", "timeout"])
def test_what_tells_of_the_configuration_is_not_tried_again(
    tmp_path: Path, failure: str
) -> None:
    workers = failing(failure, 99)
    trials = driver(tmp_path, study("bohb"), workers).search()
    assert [t.trial_id for t in trials if t.state == "FAILED"] == [workers.failed]
    assert not any(trial.notes for trial in trials)
    assert workers.times == 98


def test_a_new_configuration_that_fails_is_not_tried_again(tmp_path: Path) -> None:
    workers = SimulatedWorkers(failing=0.3)
    trials = driver(tmp_path, study("bohb"), workers).search()
    assert any(trial.state == "FAILED" for trial in trials)
    assert not any(trial.notes for trial in trials)


def test_a_search_whose_state_is_lost_knows_what_was_tried_again(
    tmp_path: Path,
) -> None:
    of = study("hyperband")
    searching = driver(tmp_path, of, SimulatedWorkers(crashing=0.5))
    whole = searching.search()
    assert {len(trial.notes) for trial in whole} >= {0, 1}
    assert "FAILED" in {trial.state for trial in whole}
    for path in (searching.paths.oracle, searching.paths.oracle_copy):
        path.unlink()
    searching.paths.journal.unlink(missing_ok=True)
    workers = SimulatedWorkers(crashing=0.5)
    again = driver(tmp_path, of, workers).search()
    assert not workers.attempts
    assert {t.trial_id: vars(t) | {"seconds": 0} for t in again} == {
        t.trial_id: vars(t) | {"seconds": 0} for t in whole
    }


def test_a_pause_is_no_further_attempt(tmp_path: Path) -> None:
    class Full(Fails):
        """Pauses the second attempt, as where the disk fails."""

        def wait(self, report: Any) -> Outcome:
            if self.failed == self.running[0].order_id:
                order = self.running.pop()
                return Outcome(order.order_id, "PAUSED", failure="storage")
            return super().wait(report)

    searching = driver(tmp_path, study("bohb"), Full())
    with pytest.raises(StorageError):
        searching.search()
    workers = failing("crashed", 99)
    workers.trained = searching.executor.trained
    workers.failed = searching.executor.failed
    trials = driver(tmp_path, study("bohb"), workers).search()
    assert workers.times == 98
    failed = [trial for trial in trials if trial.state == "FAILED"]
    assert [len(trial.notes) for trial in failed] == [1]
    assert trials == read_records(searching.paths.trials, Trial)


def test_a_plain_keras_tuner_tries_again_by_its_own_argument(tmp_path: Path) -> None:
    class Crashes(keras_tuner.Tuner):
        """Every other promoted training fails at its first attempt."""

        crashed: ClassVar[set[str]] = set()

        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            values = trial.hyperparameters.values
            is_new = trial.trial_id not in self.crashed
            if "tuner/trial_id" in values and is_new and int(trial.trial_id) % 2:
                self.crashed.add(trial.trial_id)
                raise RuntimeError("worker crashed")
            return float(values["width"])

    oracle = Bohb(objective=None, max_epochs=9, seed=1, max_retries_per_trial=1)
    tuner = Crashes(
        oracle=oracle,
        hypermodel=lambda hp: hp.Float("width", 0.0, 1.0) and None,
        directory=tmp_path,
        project_name="plain",
    )
    tuner.search(verbose=0)
    assert Crashes.crashed
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}
