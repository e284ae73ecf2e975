"""The driver: asks the oracle, gives orders, tells results, and writes records.

It alone owns the oracle and the records; workers own the training. They share only the
trial's folder. After every answer the trials and then the oracle's state are written
whole, so that a search killed between any two lines goes on where it was: what the
oracle believes to be running is ordered again, and its worker continues from the
checkpoint (or answers at once, where the order had been finished).
"""

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from search.errors import InputError
from search.events import write_hparams
from search.failures import BUG
from search.files import read_json, write_json
from search.oracles.brackets import DRAWS_PER_PLACE
from search.orders import Executor, Order, Outcome, Progress
from search.paths import StudyPaths
from search.records import (
    Trial,
    Value,
    Values,
    best_epoch_of,
    read_records,
    write_records,
)
from search.studies import Study

SAME_BUGS_ALLOWED = 3


class RepeatedBugError(RuntimeError):
    """The same bug ended every trial so far; holds the worker's traceback."""


class Watcher(Protocol):
    """Sees a search happen."""

    def progress(self, progress: Progress) -> None:
        """An epoch ended."""

    def changed(self, trials: list[Trial]) -> None:
        """A trial began or ended."""


@dataclass
class Driver:
    """One search in progress.

    Attributes:
        running: order id -> keras-tuner's id of the trial it runs.
        trials: trial id -> record.
        roots: keras-tuner's id -> trial id; the rungs of a trial share one.
        waiting: keras-tuner's trials that were running when the search was cut.
        most_trials: that the oracle may ask for, where it counts them.
    """

    study: Study
    paths: StudyPaths
    data_folder: Path
    oracle: Any
    executor: Executor
    watcher: Watcher
    deadline: float | None = None
    running: dict[str, str] = field(default_factory=dict)
    trials: dict[str, Trial] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    waiting: list[Any] = field(default_factory=list)
    most_trials: int | None = None

    def search(self) -> list[Trial]:
        """Run until the oracle has nothing more to ask, or the budget is spent.

        Raises:
            RepeatedBugError: the same bug ended the first trials.
        """
        self.most_trials = self.oracle.max_trials
        self.restore()
        self.watcher.changed(list(self.trials.values()))
        try:
            status = self.fill_places()
            while self.running:
                outcome = self.executor.wait(self.watcher.progress)
                if outcome is not None:
                    self.tell(outcome)
                    status = self.fill_places()
                elif self.out_of_time():
                    self.executor.stop()
        except KeyboardInterrupt:
            self.wind_down()
            raise
        finally:
            self.executor.close()
        if status == "STOPPED":
            self.declare_completed()
        return list(self.trials.values())

    def fill_places(self) -> str:
        """Ask for trials while there are free workers; return the last answer."""
        status = "RUNNING"
        while status == "RUNNING" and len(self.running) < self.executor.capacity:
            status = "OUT OF TIME" if self.out_of_time() else self.ask()
        return status

    def out_of_time(self) -> bool:
        """Return whether the budget is spent."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def restore(self) -> None:
        """Take up a search where its records leave it, and order what was running."""
        if not self.paths.oracle.exists():
            return
        state = read_json(self.paths.oracle)
        restore_oracle(self.oracle, state["oracle"], state["trials"])
        self.roots = state["roots"]
        recorded = read_records(self.paths.trials, Trial)
        known = set(self.roots.values())
        self.trials = {t.trial_id: t for t in recorded if t.trial_id in known}
        self.waiting = list(self.oracle.ongoing_trials.values())
        self.replace_infeasible()

    def ask(self) -> str:
        """Start the next trial and return the oracle's status."""
        if self.waiting:
            self.order(self.waiting.pop(0))
            return "RUNNING"
        # Every question needs a name of its own: keras-tuner answers a name that has
        # a trial with that trial.
        asked = self.oracle.create_trial(f"question{len(self.oracle.trials)}")
        if asked.status == "RUNNING":
            self.order(asked)
        return str(asked.status)

    def order(self, asked: Any) -> None:
        """Record a trial of the oracle as running and hand it to a worker."""
        values = dict(asked.hyperparameters.values)
        parent = values.get("tuner/trial_id")
        if parent is not None:
            self.roots[asked.trial_id] = self.roots[parent]
        root = self.roots.setdefault(asked.trial_id, f"{len(self.trials):04d}")
        knobs = plain_values(values)
        before = self.trials.get(root) or Trial(
            root, values=knobs, seed=self.study.seed
        )
        self.trials[root] = replace(before, state="RUNNING")
        self.running[root] = asked.trial_id
        self.save()
        self.executor.submit(
            Order(
                order_id=root,
                job="train",
                study=asdict(self.study),
                data_folder=str(self.data_folder),
                folder=str(self.paths.trial(root)),
                logs=str(self.paths.logs / root),
                values=knobs,
                seed=self.study.seed,
                epochs=int(values.get("tuner/epochs", self.study.epochs)),
                length=self.study.epochs,
            )
        )
        self.watcher.changed(list(self.trials.values()))

    def tell(self, outcome: Outcome) -> None:
        """Record how a trial ended, and tell the oracle."""
        root = outcome.order_id
        asked_id = self.running.pop(root)
        trial = ended_trial(self.trials[root], outcome, self.study)
        if outcome.state == "PAUSED":  # stopped when asked; the oracle hears later
            self.trials[root] = trial
        else:
            self.trials[root] = self.told(trial, asked_id)
        self.save()
        write_hparams(self.paths.logs, self.trials[root])
        self.watcher.changed(list(self.trials.values()))
        self.stop_at_repeated_bug(outcome)

    def told(self, trial: Trial, asked_id: str) -> Trial:
        """Tell the oracle of an ended trial; return it with its state in the search."""
        asked = self.oracle.trials[asked_id]
        asked.message = trial.message
        if trial.score is None or trial.state in ("FAILED", "INFEASIBLE"):
            asked.status = "FAILED"
            self.oracle.end_trial(asked)
            if trial.state == "INFEASIBLE":
                asked.status = "INVALID"
                self.replace_infeasible()
            return trial
        metrics = {self.study.objective: trial.score}
        self.oracle.update_trial(asked_id, metrics, step=trial.best_epoch)
        asked.status = "COMPLETED"
        self.oracle.end_trial(asked)
        is_full = trial.epochs >= self.study.epochs or trial.message is not None
        return replace(trial, state="COMPLETED" if is_full else "PAUSED")

    def replace_infeasible(self) -> None:
        """Let the oracle draw one more, where it counts trials and they do not run out.

        A tuner that counts its trials would else spend them on networks never trained.
        """
        infeasible = sum(t.status == "INVALID" for t in self.oracle.trials.values())
        if self.most_trials and infeasible <= DRAWS_PER_PLACE * self.most_trials:
            self.oracle.max_trials = self.most_trials + infeasible

    def stop_at_repeated_bug(self, outcome: Outcome) -> None:
        """Raise where nothing but the same bug has come back so far."""
        failures = [trial for trial in self.trials.values() if trial.failure == BUG]
        succeeded = any(trial.score is not None for trial in self.trials.values())
        same = [trial for trial in failures if trial.message == outcome.message]
        if not succeeded and len(same) >= SAME_BUGS_ALLOWED:
            raise RepeatedBugError(outcome.traceback or outcome.message)

    def wind_down(self) -> None:
        """Let running trials end their epoch; a second Ctrl-C does not wait."""
        self.executor.stop()
        while self.running:
            outcome = self.executor.wait(self.watcher.progress)
            if outcome is not None:
                self.tell(outcome)

    def declare_completed(self) -> None:
        """Declare what is paused completed: no rung will call it again."""
        for root, trial in self.trials.items():
            if trial.state == "PAUSED":
                self.trials[root] = replace(trial, state="COMPLETED")
                write_hparams(self.paths.logs, self.trials[root])
        self.save()

    def save(self) -> None:
        """Write the trials, then the oracle that knows of them."""
        write_records(self.paths.trials, list(self.trials.values()))
        trials = {key: trial.get_state() for key, trial in self.oracle.trials.items()}
        state = self.oracle.get_state()
        # A clock reading for keras-tuner's own display.
        state["display"] = {
            "search_start": None,
            "trial_start": {},
            "trial_number": {},
        }
        write_json(
            self.paths.oracle,
            {"oracle": state, "trials": trials, "roots": self.roots},
        )


def restore_oracle(oracle: Any, state: dict[str, Any], trials: dict[str, Any]) -> None:
    """Give an oracle the state and the trials it had.

    Raises:
        InputError: the state is not one of this oracle.
    """
    from keras_tuner.engine.trial import Trial as AskedTrial

    try:
        oracle.trials = {
            key: AskedTrial.from_state(value) for key, value in trials.items()
        }
        oracle.set_state(state)
    except (KeyError, TypeError) as error:
        raise InputError(
            "the recorded state of this tuner",
            f"a state without {error}",
            "Search again under another --name",
        ) from error


def plain_values(values: dict[str, Value]) -> Values:
    """Return the knobs without keras-tuner's own entries."""
    return {k: v for k, v in values.items() if not k.startswith("tuner/")}


def ended_trial(trial: Trial, outcome: Outcome, study: Study) -> Trial:
    """Return the trial with what its worker reported."""
    history = outcome.history or trial.history
    best = best_epoch_of(history, study.objective, study.direction)
    lengths = [len(values) for values in history.values()]
    no_score = outcome.state == "COMPLETED" and best is None
    return replace(
        trial,
        state="FAILED" if no_score else outcome.state,
        score=None if best is None else history[study.objective][best - 1],
        best_epoch=best,
        epochs=max(lengths, default=0),
        seconds=outcome.seconds or trial.seconds,
        parameters=outcome.parameters or trial.parameters,
        message=f"no {study.objective} was ever finite"
        if no_score
        else outcome.message,
        failure="not finite" if no_score else outcome.failure,
        history=history,
    )
