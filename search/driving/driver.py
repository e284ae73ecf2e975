"""The driver: asks the oracle, gives orders, tells results, and writes records.

It alone owns the oracle and the records; workers own the training. They share only the
trial's folder. After every answer what changed is written down, so that a search killed
between any two lines goes on where it was: what the oracle believes to be running is
ordered again, and its worker continues from the checkpoint (or answers at once, where
the order had been finished).
"""

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from search.bookkeeping.asked import epochs_of, knobs_of, parent_of
from search.bookkeeping.books import Books
from search.bookkeeping.journal import Knowledge
from search.bookkeeping.state import (
    oracle_state,
    read_state,
    remembered_outcome,
    remembered_trials,
    restore_oracle,
    unclaimed,
)
from search.driving.budgets import WallTime
from search.driving.interrupts import gentle_interrupt
from search.driving.outcomes import ended_trial, is_repeated_bug, tried_again
from search.driving.retention import may_go_on, sweep
from search.driving.roster import Roster
from search.errors import StorageError
from search.files import remove_leftovers
from search.oracles.brackets import DRAWS_PER_PLACE
from search.orders import Executor, Order, Outcome, Progress
from search.paths import StudyPaths
from search.records import Trial
from search.scoring.pareto import told_metrics
from search.studies import Study
from search.training.failures import raise_where_storage_failed
from search.watching.event_hparams import write_hparams
from search.watching.watchers import Watcher

SPENT = {"OUT OF TIME": "--budget", "OUT OF EPOCHS": "--total-epochs"}


class RepeatedBugError(RuntimeError):
    """The same bug ended every trial so far; holds the worker's traceback."""


@dataclass
class Driver:
    """One search in progress.

    Attributes:
        running: order id -> keras-tuner's id of the trial it runs.
        targets: order id -> epoch it trains to.
        roster: the trials.
        waiting: keras-tuner's trials that are asked for and not under way.
        most_trials: that the oracle may ask for, where it counts them.
        infeasible: keras-tuner's trials that could not be trained.
        places: of the executor when they were last filled.
        wall: time spent, and the limit.
        reserve: seconds to keep for what comes after the search, by what it has done.
        is_over: the time is used up, nothing more begins.
    """

    study: Study
    paths: StudyPaths
    data_folder: Path
    oracle: Any  # of `search.oracles`
    executor: Executor
    watcher: Watcher
    wall: WallTime = field(default_factory=WallTime)
    reserve: Callable[[Roster], float] = lambda roster: 0.0
    running: dict[str, str] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    roster: Roster = field(default_factory=Roster)
    waiting: list[Any] = field(default_factory=list)
    is_over: bool = False
    most_trials: int | None = None
    infeasible: int = 0
    places: int = 0
    interrupted: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.books = Books(
            self.paths,
            lambda text: self.watcher.notice(text),
            lambda: self.interrupted.is_set(),
        )

    @property
    def trials(self) -> Mapping[str, Trial]:
        """Return the records by trial id, in the order they began."""
        return self.roster.trials

    def search(self) -> list[Trial]:
        """Run until the oracle has nothing more to ask, or a budget is spent.

        Raises:
            RepeatedBugError: the same bug ended the first trials.
            StorageError: records or checkpoints cannot be written.
            KeyboardInterrupt: the user asked for the end; everything is saved.
        """
        self.most_trials = self.oracle.max_trials
        with closing(self.executor):
            self.restore()
            self.watcher.changed(list(self.trials.values()))
            try:
                with gentle_interrupt(self.executor.stop) as self.interrupted:
                    status = self.run()
            except Exception:
                with suppress(StorageError):
                    self.books.close(self.knowledge())
                raise
        if status == "STOPPED" and not self.interrupted.is_set():
            self.declare_completed()
        if status in SPENT and not self.interrupted.is_set():
            self.watcher.notice(f"{SPENT[status]} is used up; a larger one goes on")
        self.books.close(self.knowledge())
        if self.interrupted.is_set():
            raise KeyboardInterrupt
        return list(self.trials.values())

    def run(self) -> str:
        """Give orders and hear answers until there are none; return the last status."""
        status = self.fill_places()
        while self.running:
            outcome = self.executor.wait(self.heard)
            self.books.catch_up(self.trials)
            if outcome is not None:
                self.tell(outcome)
                status = self.fill_places()
            elif self.interrupted.is_set():
                self.watcher.notice("stopping after the running epochs; Ctrl-C: now")
            else:
                self.look_at_time()
                if self.executor.capacity > self.places:  # a cluster that grew
                    status = self.fill_places()
        return status

    def heard(self, progress: Progress) -> None:
        """Pass on that an epoch ended; end the search where no other fits."""
        self.roster.pace.hear(progress)
        self.watcher.progress(progress)
        self.books.catch_up(self.trials)
        self.look_at_time()

    def look_at_time(self) -> None:
        """Where it is used up, let running epochs end, and begin nothing more."""
        if self.out_of_time():
            self.is_over = True
            self.executor.stop()

    def fill_places(self) -> str:
        """Ask for trials while there are free workers; return the last answer."""
        status = "RUNNING"
        self.places = self.executor.capacity
        while status == "RUNNING" and len(self.running) < self.places:
            status = "OUT OF TIME" if self.must_end() else self.ask()
        return status

    def must_end(self) -> bool:
        """Return whether nothing more may be started."""
        return self.interrupted.is_set() or self.is_over or self.out_of_time()

    def out_of_time(self) -> bool:
        """Return whether what is left of the budget has room for no other epoch.

        An epoch under way then still ends within it.
        """
        left = self.wall.left()
        if left is None:
            return False
        epoch = self.roster.pace.next_epoch(self.running)
        return left <= epoch + self.reserve(self.roster)

    def restore(self) -> None:
        """Take up a search where its records leave it, and order what was running."""
        remove_leftovers(self.paths.folder)
        state, notes = read_state(self.paths)
        for note in notes:
            self.watcher.notice(note)
        if state is None:
            self.roster = Roster(remembered=remembered_trials(self.paths))
            if self.roster.remembered:
                self.watcher.notice("the tuner's state is rebuilt from trials.json")
            return
        restore_oracle(self.oracle, state.oracle, state.asked)
        self.roster = Roster(state.trials, state.roots, unclaimed(state))
        self.wall.before = state.seconds
        self.waiting = list(self.oracle.ongoing_trials.values())
        known = self.oracle.trials.values()
        self.infeasible = sum(asked.status == "INVALID" for asked in known)
        self.replace_infeasible()
        self.sweep()

    def ask(self) -> str:
        """Start the next trial and return the oracle's status."""
        if self.waiting:
            asked = self.waiting.pop(0)
        else:
            # Those of remembered trials are spent again as these are asked for.
            left, again = self.epochs_left(), self.roster.unclaimed_epochs
            self.oracle.orderable_epochs = None if left is None else left + again
            # keras-tuner would answer a name that has a trial with that trial.
            asked = self.oracle.create_trial(f"question{len(self.oracle.trials)}")
        if asked.status != "RUNNING":
            return str(asked.status)
        if not self.is_affordable(asked):
            self.waiting.insert(0, asked)
            return "OUT OF EPOCHS"
        self.order(asked)
        return "RUNNING"

    def is_affordable(self, asked: Any) -> bool:
        """Return whether a trial fits into what is left of `--total-epochs`."""
        left = self.epochs_left()
        if left is None:
            return True
        root = self.roster.known_as(asked, knobs_of(asked))
        return self.roster.to_come(root, epochs_of(asked, self.study.epochs)) <= left

    def epochs_left(self) -> int | None:
        """Return what is left of `--total-epochs` to be ordered, None without them."""
        total = self.study.total_epochs
        return None if total is None else total - self.roster.ordered(self.targets)

    def order(self, asked: Any) -> None:
        """Record a trial of the oracle as running and hand it to a worker."""
        knobs = knobs_of(asked)
        root = self.roster.root_of(asked, knobs)
        before = self.trials.get(root) or Trial(
            root, values=knobs, seed=self.study.seed
        )
        epochs = epochs_of(asked, self.study.epochs)
        self.running[root], self.targets[root] = asked.trial_id, epochs
        remembered = self.roster.remembered.get(root)
        outcome = remembered and remembered_outcome(remembered, epochs)
        if remembered and outcome:
            self.roster.record(remembered)
            self.tell(outcome)
            return
        self.roster.record(replace(before, state="RUNNING"))
        self.save()
        given = Order(
            order_id=root,
            job="train",
            study=asdict(self.study),
            data_folder=str(self.data_folder),
            folder=str(self.paths.trial(root)),
            logs=str(self.paths.logs / root),
            values=knobs,
            seed=self.study.seed,
            epochs=epochs,
            length=self.study.epochs,
        )
        self.books.write(lambda: self.executor.submit(given))
        self.watcher.changed([self.trials[root]])

    def tell(self, outcome: Outcome) -> None:
        """Record how a trial ended, and tell the oracle."""
        root = outcome.order_id
        asked = self.oracle.trials[self.running.pop(root)]
        del self.targets[root]
        before = self.trials[root]
        trial = ended_trial(before, outcome, self.study)
        again = tried_again(before, trial, parent_of(asked) is not None)
        if outcome.state == "PAUSED":  # stopped when asked; the oracle hears later
            self.roster.record(trial)
        elif again is not None:  # so does it hear later of this one
            self.roster.record(again)
            self.waiting.insert(0, asked)
        else:
            self.roster.record(self.told(trial, asked))
        self.save()
        self.books.write(lambda: self.write_hparams(root))
        # Before the sweep: a watcher may read what a trial left.
        self.watcher.changed([self.trials[root]])
        self.sweep()
        raise_where_storage_failed(outcome)
        if is_repeated_bug(self.trials.values(), outcome):
            raise RepeatedBugError(outcome.traceback or outcome.message)

    def told(self, trial: Trial, asked: Any) -> Trial:
        """Tell the oracle of an ended trial; return it with its state in the search."""
        asked.message = trial.message
        if trial.score is None or trial.state in ("FAILED", "INFEASIBLE"):
            asked.status = "FAILED"
            self.oracle.end_trial(asked)
            if trial.state == "INFEASIBLE":
                asked.status = "INVALID"
                self.infeasible += 1
                self.replace_infeasible()
            return trial
        metrics = told_metrics(trial, self.study)
        self.oracle.update_trial(asked.trial_id, metrics, step=trial.best_epoch)
        asked.status = "COMPLETED"
        self.oracle.end_trial(asked)
        is_full = trial.epochs >= self.study.epochs or trial.message is not None
        return replace(trial, state="COMPLETED" if is_full else "PAUSED")

    def replace_infeasible(self) -> None:
        """Let the oracle draw one more, where it counts trials and they do not run out.

        A tuner that counts its trials would else spend them on networks never trained.
        """
        if self.most_trials and self.infeasible <= DRAWS_PER_PLACE * self.most_trials:
            self.oracle.max_trials = self.most_trials + self.infeasible

    def declare_completed(self) -> None:
        """Declare what is paused completed: no rung will call it again."""
        for trial in [t for t in self.trials.values() if t.state == "PAUSED"]:
            self.roster.record(replace(trial, state="COMPLETED"))
            self.write_hparams(trial.trial_id)
        self.save()
        self.sweep()

    def write_hparams(self, root: str) -> None:
        """Write a trial's result for TensorBoard."""
        rung = max(0, self.roster.rungs[root] - 1)
        write_hparams(self.paths.logs, self.trials[root], rung)

    def sweep(self) -> None:
        """Remove the checkpoints that can no longer matter."""
        going_on = may_go_on(self.oracle, self.roster.roots)
        trials = {trial.trial_id: trial for trial in self.roster.with_checkpoints()}
        over = sweep(self.paths, trials, going_on, self.study.direction)
        self.roster.unswept -= over

    def save(self) -> None:
        """Write down what has changed; wait where the disk is full."""
        self.books.save(self.knowledge())
        self.roster.unsaved.clear()
        self.oracle.unsaved.clear()

    def knowledge(self) -> Knowledge:
        """Return all that must not be lost."""
        return Knowledge(
            oracle=oracle_state(self.oracle),
            asked=self.oracle.trials,
            roots=self.roster.roots,
            trials=self.trials,
            seconds=self.wall.spent(),
            changed_asked=self.oracle.unsaved,
            changed_trials=self.roster.unsaved,
        )
