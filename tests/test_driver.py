"""The driver: what it records, how it goes on after a kill, what failures do."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulation import Killed, SimulatedWorkers

from search.beginning.study_record import record_study
from search.driving.budgets import WallTime
from search.driving.driver import Driver, RepeatedBugError
from search.driving.roster import Roster
from search.errors import InputError, StorageError
from search.oracles import halving_plan, make_oracle, planned
from search.orders import Order, Outcome
from search.paths import StudyPaths
from search.records import State, Trial, ranked, read_records
from search.studies import Study
from search.watching.live import Quiet


def toy_space() -> Any:
    import keras_tuner

    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    space.Int("depth", 1, 5)
    space.Choice("optimizer", ["adam", "sgd"])
    with space.conditional_scope("optimizer", ["sgd"]):
        space.Float("momentum", 0.0, 0.99)
    return space


def study(tuner: str, **options: Any) -> Study:
    return Study(
        "toy",
        "classification",
        "shapes",
        "convnet",
        tuner=tuner,
        **({"epochs": 9} | options),
    )


def driver(
    tmp_path: Path,
    of: Study,
    workers: SimulatedWorkers,
    space: Any = None,
    **options: Any,
) -> Driver:
    return Driver(
        study=of,
        paths=StudyPaths(tmp_path / "results", tmp_path / "logs", of.name),
        data_folder=tmp_path,
        oracle=make_oracle(of, toy_space() if space is None else space),
        executor=workers,
        watcher=Quiet(),
        **options,
    )


TUNERS = [
    "random",
    "grid",
    "bayesian",
    "bohb",
    "priorband",
    "hyperband",
    "kt-hyperband",
    "kt-bayesian",
]
OF_KILLED = {"random": 8, "grid": 8, "bayesian": 14, "bohb": 16, "priorband": 16}
OWN_END = ("bohb", "priorband", "hyperband", "kt-hyperband")


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_tuner_runs_to_its_end_and_leaves_records(
    tmp_path: Path, tuner: str
) -> None:
    of = study(tuner, trials=None if tuner in OWN_END else 6)
    searching = driver(tmp_path, of, SimulatedWorkers(capacity=2))
    trials = searching.search()
    assert trials == read_records(searching.paths.trials, Trial)
    assert {trial.state for trial in trials} == {"COMPLETED"}
    assert all("tuner/" not in name for trial in trials for name in trial.values)
    assert searching.executor.is_closed
    if tuner not in OWN_END:
        assert len(trials) == 6


@pytest.mark.parametrize("tuner", ["hyperband", "bohb", "priorband"])
def test_a_halving_tuner_spends_what_it_promises(tmp_path: Path, tuner: str) -> None:
    of = study(tuner)
    workers = SimulatedWorkers(capacity=2)
    trials = driver(tmp_path, of, workers).search()
    most, epochs = planned(of) or (0, 0)
    assert sum(workers.trained.values()) == epochs
    assert len(trials) <= most
    assert tuner != "hyperband" or len(trials) == most
    assert max(trial.epochs for trial in trials) == 9


def test_the_first_trial_is_the_default_configuration(tmp_path: Path) -> None:
    for tuner in ("random", "bayesian", "hyperband", "bohb", "priorband"):
        trials = driver(tmp_path / tuner, study(tuner), SimulatedWorkers()).search()
        assert trials[0].values == {
            "learning_rate": 1e-4,
            "depth": 1,
            "optimizer": "adam",
        }


def test_inactive_knobs_are_not_among_the_values(tmp_path: Path) -> None:
    for trial in driver(tmp_path, study("random"), SimulatedWorkers()).search():
        assert ("momentum" in trial.values) == (trial.values["optimizer"] == "sgd")


@pytest.mark.parametrize(
    ("tuner", "total"),
    [
        *((tuner, None) for tuner in TUNERS if tuner != "kt-bayesian"),
        ("bohb", 45),
        ("priorband", 45),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_search_killed_again_and_again_ends_as_if_it_were_not(
    tmp_path: Path, tuner: str, total: int | None, seed: int
) -> None:
    trials_of = OF_KILLED.get(tuner)
    of = study(tuner, seed=seed, trials=trials_of, total_epochs=total)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers(crashing=0.3)).search()
    workers = SimulatedWorkers(crashing=0.3, dies_after=seed)
    lives = 0
    while True:
        lives += 1
        searching = driver(tmp_path / "killed", of, workers)
        try:
            trials = searching.search()
            break
        except Killed:
            json.loads(searching.paths.trials.read_text())
            workers = workers.next_life(dies_after=(seed + lives) % 4)
    assert lives > 3
    assert trials == whole


class TwoObjectives(SimulatedWorkers):
    """Networks of few sizes, so that many trials are alike in an objective."""

    def outcome(self, order: Order, state: State, epochs: int) -> Outcome:
        outcome = super().outcome(order, state, epochs)
        return replace(outcome, parameters=1000 * order.values["depth"])

    def score(self, order: Order, epoch: int) -> float:
        return round(super().score(order, epoch), 1)


@pytest.mark.parametrize("tuner", ["bayesian", "hyperband", "bohb", "priorband"])
@pytest.mark.parametrize("seed", range(4))
def test_a_search_for_several_objectives_ends_the_same_when_killed(
    tmp_path: Path, tuner: str, seed: int
) -> None:
    of = study(tuner, seed=seed, trials=24, further_objectives=["parameters"])
    whole = driver(tmp_path / "whole", of, TwoObjectives()).search()
    workers, lives = TwoObjectives(dies_after=seed), 0
    while True:
        lives += 1
        try:
            trials = driver(tmp_path / "killed", of, workers).search()
            break
        except Killed:
            workers = workers.next_life(dies_after=(seed + lives) % 4)
    assert lives > 3
    assert trials == whole


def test_a_cluster_that_grows_gets_more_orders_before_the_next_one_ends(
    tmp_path: Path,
) -> None:
    class Growing(SimulatedWorkers):
        """Gets a second place while its only order runs."""

        most_running = 0

        def wait(self, report: Any) -> Any:
            self.most_running = max(self.most_running, len(self.running))
            if self.capacity == 1:
                self.capacity = 2
                return None
            return super().wait(report)

    workers = Growing()
    driver(tmp_path, study("random", trials=2), workers).search()
    assert workers.most_running == 2


def test_a_killed_search_repeats_no_finished_epoch(tmp_path: Path) -> None:
    of = study("hyperband")
    workers = SimulatedWorkers(capacity=2, dies_after=3)
    with pytest.raises(Killed):
        driver(tmp_path, of, workers).search()
    workers = workers.next_life(None)
    driver(tmp_path, of, workers).search()
    planned_epochs = planned(of)
    assert planned_epochs is not None
    assert sum(workers.trained.values()) == planned_epochs[1]


def test_failures_are_records_and_the_search_goes_on(tmp_path: Path) -> None:
    of = study("hyperband", epochs=27)
    trials = driver(tmp_path, of, SimulatedWorkers(capacity=2, failing=0.3)).search()
    failed = [trial for trial in trials if trial.state == "FAILED"]
    assert failed
    assert all(trial.message and trial.failure == "bug" for trial in failed)
    reached = [trial for trial in trials if trial.epochs == 27]
    assert len(reached) >= 4


@pytest.mark.parametrize("tuner", ["random", "bayesian", "hyperband"])
def test_infeasible_configurations_are_replaced(tmp_path: Path, tuner: str) -> None:
    class Small(SimulatedWorkers):
        def wait(self, report: Any) -> Any:
            if self.running[-1].values["depth"] > 3:
                order = self.running.pop()
                return Outcome(
                    order.order_id, "INFEASIBLE", failure="infeasible", message="large"
                )
            return super().wait(report)

    of = study(tuner, trials=9)
    trials = driver(tmp_path, of, Small()).search()
    infeasible = [trial for trial in trials if trial.state == "INFEASIBLE"]
    assert infeasible
    assert len(trials) - len(infeasible) == 9
    assert max(trial.epochs for trial in trials) == 9


def test_a_space_of_infeasible_configurations_ends(tmp_path: Path) -> None:
    class NoneFits(SimulatedWorkers):
        def wait(self, report: Any) -> Any:
            order = self.running.pop()
            return Outcome(order.order_id, "INFEASIBLE", failure="infeasible")

    for tuner in ("random", "hyperband"):
        of = study(tuner, trials=2, epochs=3)
        trials = driver(tmp_path / tuner, of, NoneFits()).search()
        assert {trial.state for trial in trials} == {"INFEASIBLE"}


def test_the_same_bug_and_nothing_else_ends_the_search(tmp_path: Path) -> None:
    class Broken(SimulatedWorkers):
        def wait(self, report: Any) -> Any:
            order = self.running.pop()
            return Outcome(
                order.order_id,
                "FAILED",
                failure="bug",
                message="ValueError: no",
                traceback="Traceback … ValueError: no",
            )

    with pytest.raises(RepeatedBugError, match="Traceback"):
        driver(tmp_path, study("random"), Broken()).search()


def test_a_small_space_is_exhausted_and_the_search_stops(tmp_path: Path) -> None:
    import keras_tuner

    space = keras_tuner.HyperParameters()
    space.Choice("depth", [1, 2, 3])
    space.Boolean("residual")
    for tuner in ("random", "grid", "hyperband"):
        of = study(tuner, trials=None if tuner == "hyperband" else 50, epochs=27)
        trials = driver(tmp_path / tuner, of, SimulatedWorkers(), space).search()
        assert len(trials) == 6
        assert len({tuple(sorted(trial.values.items())) for trial in trials}) == 6
    assert max(trial.epochs for trial in trials) == 27


def test_a_finished_search_can_be_extended(tmp_path: Path) -> None:
    for tuner in ("random", "hyperband"):
        first = driver(
            tmp_path / tuner, study(tuner, trials=4), SimulatedWorkers()
        ).search()
        more = driver(
            tmp_path / tuner, study(tuner, trials=7), SimulatedWorkers()
        ).search()
        assert len(first) == 4
        assert len(more) == 7
        assert [t.values for t in more[:4]] == [t.values for t in first]


def test_a_spent_budget_leaves_a_search_that_goes_on(tmp_path: Path) -> None:
    of = study("random", trials=5)
    spent = WallTime(limit=60, before=61)
    told: list[str] = []
    first = driver(tmp_path, of, SimulatedWorkers(), wall=spent)
    first.watcher.notice = told.append  # type: ignore[method-assign]
    assert first.search() == []
    assert told == ["--budget is used up; a larger one goes on"]
    assert len(driver(tmp_path, of, SimulatedWorkers()).search()) == 5


def test_a_changed_study_is_refused_by_the_name_of_the_field(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    record_study(paths, study("random"), {}, "one", "vision-tuner search")
    with pytest.raises(InputError, match=r"epochs = 9 as recorded.*Received: 27"):
        record_study(paths, study("random", epochs=27), {}, "two", "")
    extended = study("random", trials=99)
    record_study(paths, extended, {}, "one", "")


def test_which_file_has_changed_is_told(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path, tmp_path, "toy")
    weights = tmp_path / "weights.h5"
    weights.touch()
    of = study("random", weights=str(weights))
    record_study(paths, of, {"fingerprint": "a"}, "one", "")
    with pytest.raises(InputError, match=r"weights .*weights\.h5 as in the recorded"):
        record_study(paths, of, {"fingerprint": "a"}, "two", "")
    with pytest.raises(InputError, match="Expected data set shapes as in the recorded"):
        record_study(paths, of, {"fingerprint": "b"}, "three", "")


@pytest.mark.parametrize("tuner", ["random", "bohb", "hyperband"])
def test_no_more_epochs_are_foretold_than_are_allowed(tuner: str) -> None:
    whole = planned(study(tuner, trials=9))
    assert whole is not None and whole[1] > 15
    assert planned(study(tuner, trials=9, total_epochs=15)) == (9, 15)
    assert planned(study(tuner, trials=9, total_epochs=500)) == whole


def test_total_epochs_are_not_passed_and_a_larger_number_goes_on(
    tmp_path: Path,
) -> None:
    for tuner in ("random", "hyperband"):
        short = study(tuner, trials=9, total_epochs=20)
        workers = SimulatedWorkers(capacity=2)
        trials = driver(tmp_path / tuner, short, workers).search()
        assert 12 <= sum(workers.trained.values()) <= 20
        assert len({t.trial_id for t in trials}) == len(trials)
        whole = driver(tmp_path / f"{tuner} whole", study(tuner, trials=9), workers)
        more = driver(tmp_path / tuner, study(tuner, trials=9), workers.next_life(None))
        assert len(more.search()) == len(whole.search()) == 9


@pytest.mark.parametrize("tuner", ["bohb", "priorband"])
@pytest.mark.parametrize("capacity", [1, 3])
def test_total_epochs_are_kept_for_a_full_training(
    tmp_path: Path, tuner: str, capacity: int
) -> None:
    for seed, total in ((0, 200), (1, 82), (2, 500)):
        of = study(tuner, seed=seed, epochs=81, total_epochs=total)
        workers = SimulatedWorkers(capacity=capacity)
        searching = driver(tmp_path / f"{seed}", of, workers)
        told: list[str] = []
        searching.watcher.notice = told.append  # type: ignore[method-assign]
        trials = searching.search()
        spent = sum(workers.trained.values())
        assert max(trial.epochs for trial in trials) == 81
        assert 0.9 * total <= spent <= total
        assert told == ["--total-epochs is used up; a larger one goes on"]
        assert planned(of) == ((planned(study(tuner, epochs=81)) or (0, 0))[0], total)


def test_total_epochs_below_a_training_are_for_the_highest_rung_they_reach(
    tmp_path: Path,
) -> None:
    of = study("bohb", epochs=81, total_epochs=50)
    workers = SimulatedWorkers()
    trials = driver(tmp_path, of, workers).search()
    rungs = halving_plan(of).bracket.epochs
    assert max(t.epochs for t in trials) == max(e for e in rungs if e <= 50) > 9
    assert len(trials) > 9
    assert 45 <= sum(workers.trained.values()) <= 50


def test_a_full_training_that_fails_at_once_is_made_up_for_within_the_total(
    tmp_path: Path,
) -> None:
    class Breaks(SimulatedWorkers):
        """The first order to go on to 81 epochs trains none of them, for good."""

        def wait(self, report: Any) -> Any:
            if self.running[0].epochs == 81 and not self.attempts["broken", 0]:
                self.attempts["broken", 0] += 1
                order = self.running.pop()
                outcome = self.outcome(order, "FAILED", self.trained[order.order_id])
                return replace(outcome, failure="not finite")
            return super().wait(report)

    workers = Breaks()
    of = study("bohb", epochs=81, total_epochs=200)
    trials = driver(tmp_path, of, workers).search()
    assert [trial.state for trial in trials].count("FAILED") == 1
    assert 0.9 * 200 <= sum(workers.trained.values()) <= 200
    assert max(trial.epochs for trial in trials) == 81


def test_a_larger_total_goes_on_with_paused_trials(tmp_path: Path) -> None:
    short = study("bohb", epochs=81, total_epochs=100)
    first = driver(tmp_path, short, SimulatedWorkers()).search()
    assert "PAUSED" in {trial.state for trial in first}  # their checkpoints are kept
    workers = SimulatedWorkers(trained={t.trial_id: t.epochs for t in first})
    longer = study("bohb", epochs=81, total_epochs=400)
    more = driver(tmp_path, longer, workers).search()
    assert 0.9 * 400 <= sum(workers.trained.values()) <= 400
    assert len(more) > len(first)
    before = {trial.trial_id: trial for trial in first}
    assert all(
        trial.epochs >= before[trial.trial_id].epochs
        for trial in more
        if trial.trial_id in before
    )
    whole = study("bohb", epochs=81)
    workers = SimulatedWorkers(trained={t.trial_id: t.epochs for t in more})
    all_of_it = driver(tmp_path, whole, workers).search()
    assert {trial.state for trial in all_of_it} == {"COMPLETED"}
    assert sum(workers.trained.values()) == (planned(whole) or (0, 0))[1]


def test_a_budget_counts_over_all_runs_and_a_larger_one_goes_on(
    tmp_path: Path,
) -> None:
    of = study("random", trials=5)
    first = driver(tmp_path, of, SimulatedWorkers(), wall=WallTime(limit=60, before=9))
    first.search()
    again = driver(tmp_path, of, SimulatedWorkers(), wall=WallTime(limit=60))
    again.search()
    assert again.wall.spent() > 9


def test_what_finalize_needs_is_kept_of_the_budget(tmp_path: Path) -> None:
    of = study("random", trials=50)

    def reserve(roster: Roster) -> float:
        scored = [t for t in roster.trials.values() if t.score is not None]
        return 1000.0 if len(scored) >= 4 else 0.0

    searching = driver(
        tmp_path, of, SimulatedWorkers(), wall=WallTime(limit=900), reserve=reserve
    )
    assert len(searching.search()) == 4


class LittleTime(WallTime):
    """Has time for less than an epoch of `SimulatedWorkers` left, always."""

    def left(self) -> float:
        return 0.08


def test_nothing_begins_once_the_budget_has_no_room_for_an_epoch(
    tmp_path: Path,
) -> None:
    of = study("random", trials=5)
    searching = driver(tmp_path, of, SimulatedWorkers(), wall=LittleTime())
    assert len(searching.search()) == 1


def test_a_rerun_begins_nothing_either_that_would_not_fit(tmp_path: Path) -> None:
    for tuner in ("random", "hyperband"):
        of = study(tuner, trials=5)
        some = driver(tmp_path / tuner, of, SimulatedWorkers(dies_after=2))
        with pytest.raises(Killed):
            some.search()
        workers = SimulatedWorkers()
        again = driver(tmp_path / tuner, of, workers, wall=LittleTime())
        again.search()
        assert workers.trained == {}


def test_what_is_kept_for_finalize_knows_of_the_epochs_under_way(
    tmp_path: Path,
) -> None:
    of = study("hyperband")
    heard: list[tuple[float, int]] = []

    def reserve(roster: Roster) -> float:
        so_far = [roster.pace.so_far(trial) for trial in roster.trials.values()]
        heard.append((roster.seconds_so_far(), sum(trial.epochs for trial in so_far)))
        return 0.0

    class Timed(SimulatedWorkers):
        def outcome(self, order: Order, state: State, epochs: int) -> Outcome:
            outcome = super().outcome(order, state, epochs)
            return replace(outcome, seconds=0.1 * epochs)

    wall = WallTime(limit=900)
    trials = driver(tmp_path, of, Timed(), wall=wall, reserve=reserve).search()
    every = set(range(1, sum(trial.epochs for trial in trials) + 1))
    assert {epochs for _, epochs in heard} - {0} == every  # told after each
    assert all(seconds == pytest.approx(0.1 * epochs) for seconds, epochs in heard)


def test_what_is_rebuilt_from_the_records_costs_no_epochs(tmp_path: Path) -> None:
    workers = SimulatedWorkers()
    first = driver(tmp_path, study("random", trials=5), workers)
    values = [trial.values for trial in first.search()]
    spent = sum(workers.trained.values())
    for path in (first.paths.oracle, first.paths.oracle_copy, first.paths.journal):
        path.unlink(missing_ok=True)
    for trials, epochs in ((5, spent), (7, 2 * spent)):
        of = study("random", trials=trials, total_epochs=epochs)
        workers = workers.next_life(None)
        found = driver(tmp_path, of, workers).search()
        assert len(found) == trials
        assert [trial.values for trial in found[:5]] == values
    assert sum(workers.trained.values()) == spent + 2 * 9


@pytest.mark.parametrize("tuner", ["hyperband", "bohb", "priorband"])
def test_where_epochs_are_too_few_for_brackets_there_are_twenty_trials(
    tuner: str,
) -> None:
    for epochs in (1, 2):
        most, total = planned(study(tuner, epochs=epochs)) or (0, 0)
        assert most == 20
        # Of two epochs, those of our halving without brackets can be stopped after one.
        stops = epochs == 2 and tuner != "hyperband"
        assert total == (20 + 20 // 4 if stops else 20 * epochs)


class Interrupts(SimulatedWorkers):
    """Sends signals to this process while a trial runs."""

    signals: tuple[int, ...] = (signal.SIGINT,)
    stopped = False

    def wait(self, report: Any) -> Any:
        if len(self.trained) == 2 and not self.stopped:
            for number in self.signals:
                os.kill(os.getpid(), number)
        if self.stopped:
            order = self.running.pop()
            return Outcome(order.order_id, "PAUSED")
        return super().wait(report)

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_ends_the_search_after_the_running_epochs(
    tmp_path: Path, number: int
) -> None:
    of = study("random", trials=5)
    whole = driver(tmp_path / "whole", of, SimulatedWorkers()).search()
    workers = Interrupts(capacity=2)
    workers.signals = (number,)
    searching = driver(tmp_path / "cut", of, workers)
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        searching.search()
    assert signal.getsignal(number) == before
    assert searching.running == {}
    states = [t.state for t in read_records(searching.paths.trials, Trial)]
    assert states.count("PAUSED") == 2
    again = SimulatedWorkers(capacity=2, trained=workers.trained)
    assert driver(tmp_path / "cut", of, again).search() == whole


def test_a_second_signal_ends_the_search_at_once(tmp_path: Path) -> None:
    workers = Interrupts(capacity=2)
    workers.signals = (signal.SIGINT, signal.SIGINT)
    searching = driver(tmp_path, study("random"), workers)
    with pytest.raises(KeyboardInterrupt):
        searching.search()
    assert searching.running  # nobody waited for them
    assert workers.is_closed


def test_a_storage_failure_pauses_the_trial_and_ends_the_search(
    tmp_path: Path,
) -> None:
    class Full(SimulatedWorkers):
        def wait(self, report: Any) -> Any:
            order = self.running.pop()
            return Outcome(
                order.order_id, "PAUSED", failure="storage", message="Cannot write x."
            )

    with pytest.raises(StorageError, match="Cannot write"):
        driver(tmp_path, study("random", trials=3), Full()).search()
    trials = driver(tmp_path, study("random", trials=3), SimulatedWorkers()).search()
    assert {(t.state, t.failure, t.message) for t in trials} == {
        ("COMPLETED", None, None)
    }


def test_checkpoints_of_trials_that_cannot_matter_are_removed(tmp_path: Path) -> None:
    class Writes(SimulatedWorkers):
        def submit(self, order: Any) -> None:
            super().submit(order)
            folder = Path(order.folder)
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("best.npz", "last.npz"):
                (folder / name).write_bytes(b"weights")

    searching = driver(tmp_path, study("hyperband", epochs=27), Writes(failing=0.2))
    trials = searching.search()
    left = {path.parent.name for path in searching.paths.work.glob("trials/*/*.npz")}
    best = [t.trial_id for t in ranked(trials, "max") if t.state == "COMPLETED"][:10]
    assert left == set(best)
    assert len(trials) > 30


@pytest.mark.parametrize("tuner", ["random", "hyperband"])
def test_checkpoints_of_stopped_trials_are_kept(tmp_path: Path, tuner: str) -> None:
    class Writes(Interrupts):
        def submit(self, order: Any) -> None:
            super().submit(order)
            Path(order.folder).mkdir(parents=True, exist_ok=True)
            (Path(order.folder) / "last.npz").write_bytes(b"weights")

    searching = driver(tmp_path, study(tuner, trials=9), Writes(capacity=2))
    with pytest.raises(KeyboardInterrupt):
        searching.search()
    stopped = [t.trial_id for t in searching.trials.values() if t.score is None]
    assert len(stopped) == 2
    for trial_id in stopped:
        assert (searching.paths.trial(trial_id) / "last.npz").exists()


def test_the_same_bug_ends_the_search_whatever_numbers_it_names(
    tmp_path: Path,
) -> None:
    class Broken(SimulatedWorkers):
        def wait(self, report: Any) -> Any:
            order = self.running.pop()
            message = (
                f"ValueError: shape ({order.values['depth']}, 3) at 0x{id(order):x}"
            )
            return Outcome(order.order_id, "FAILED", failure="bug", message=message)

    with pytest.raises(RepeatedBugError):
        driver(tmp_path, study("random"), Broken()).search()
