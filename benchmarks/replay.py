"""Replay recorded curves through the real driver: a simulated clock and no training.

An epoch lasts one unit of time. What is measured is the best score seen after each
epoch that any worker has finished.
"""

import contextlib
import heapq
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

import search.driving.driver
from benchmarks.tables import NEVER, Chooser, Mapping, Table
from search.driving.driver import Driver
from search.oracles import load, make_oracle, takes
from search.oracles.kept import KeptInMemory
from search.orders import Order, Outcome, Report
from search.paths import StudyPaths
from search.studies import Study
from search.training.failures import CRASHED, NOT_FINITE
from search.watching.live import Quiet

# Replays leave no files.
search.driving.driver.write_hparams = lambda *arguments: None
NOWHERE = StudyPaths(Path("/nonexistent"), Path("/nonexistent"), "replay")


class BudgetSpentError(Exception):
    """All epochs of a replay are spent."""


@dataclass
class Clock:
    """Epochs in the order in which they end, until a budget of them is spent.

    Attributes:
        scores: best score seen after each epoch.
        idle: worker-time without work; `busy` is the time with it.
    """

    budget: int
    best: float = -np.inf
    scores: list[float] = field(default_factory=list)
    idle: float = 0.0
    busy: float = 0.0

    def epoch(self, score: float) -> None:
        """Count an epoch that ended with `score` (NaN where it diverged)."""
        if score > self.best:
            self.best = score
        self.scores.append(self.best)
        if len(self.scores) >= self.budget:
            raise BudgetSpentError


@dataclass
class Failures:
    """Trainings that crash, whatever their configuration.

    Attributes:
        share: of all trainings.
        seed: of the draw.
        epochs: of a full training.
    """

    share: float
    seed: int
    epochs: int

    def at(self, row: int, count: int, attempt: int = 0) -> int:
        """Return the epoch at which a training fails, or NEVER; each attempt draws.

        Early epochs are as likely as late ones on a logarithmic scale.
        """
        rng = np.random.default_rng([self.seed, row, count, 7 + attempt])
        if rng.random() >= self.share:
            return NEVER
        return int(np.exp(rng.uniform(0.0, np.log(self.epochs + 1))))


@dataclass
class RecordedWorkers:
    """An executor whose trials are recorded curves.

    Attributes:
        rows: order id -> the trial's row in the table, and its number.
        crashes: order id -> epoch at which its next attempt crashes, or NEVER.
        attempts: order id -> how often it has crashed.
    """

    table: Table
    chooser: Chooser
    capacity: int
    clock: Clock
    failures: Failures
    now: float = 0.0
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    heap: list[tuple[float, int, str]] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    count: int = 0

    def submit(self, order: Order) -> None:
        """Take a trial; its next epoch ends one unit from now."""
        if order.order_id not in self.rows:
            row = self.chooser.row(order.values)
            if row is None:
                raise BudgetSpentError
            self.rows[order.order_id] = row, len(self.rows)
            self.crashes[order.order_id] = self.failures.at(row, len(self.rows) - 1)
        self.orders[order.order_id] = order
        self.push(order.order_id)

    def push(self, order_id: str) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.now + 1.0, self.count, order_id))

    def wait(self, report: Report) -> Outcome | None:
        """Let epochs pass until a trial ends."""
        while True:
            now, _, order_id = heapq.heappop(self.heap)
            running = len(self.heap) + 1
            self.clock.idle += (now - self.now) * (self.capacity - running)
            self.clock.busy += (now - self.now) * running
            self.now = now
            epoch = self.done.get(order_id, 0) + 1
            row, _ = self.rows[order_id]
            failure = self.failure(order_id, epoch)
            score = np.nan if failure else self.table.scores[row, epoch - 1]
            self.clock.epoch(score)
            self.done[order_id] = epoch - (failure is not None)
            if failure:
                return self.outcome(order_id, failure)
            if epoch >= self.orders[order_id].epochs:
                return self.outcome(order_id, None)
            self.push(order_id)

    def failure(self, order_id: str, epoch: int) -> str | None:
        """Return the kind of failure that ends an epoch, or None."""
        row, number = self.rows[order_id]
        if epoch >= self.table.diverged[row]:
            return NOT_FINITE
        if epoch != self.crashes[order_id]:
            return None
        attempt = self.attempts[order_id] = self.attempts.get(order_id, 0) + 1
        # What it draws of the epochs it has done is past: it does not crash again.
        self.crashes[order_id] = self.failures.at(row, number, attempt)
        return CRASHED

    def outcome(self, order_id: str, failure: str | None) -> Outcome:
        row, _ = self.rows[order_id]
        done = self.done[order_id]
        return Outcome(
            order_id,
            state="FAILED" if failure else "COMPLETED",
            failure=failure,
            message=failure,
            history={"val_score": self.table.scores[row, :done].tolist()},
            seconds=float(done),
        )

    def stop(self) -> None:
        """Do nothing: no replay is interrupted."""

    def close(self) -> None:
        """Do nothing: there are no processes."""


class ReplayDriver(Driver):
    """The driver without its files."""

    def restore(self) -> None:
        """Start anew."""

    def save(self) -> None:
        """Write nothing."""

    def sweep(self) -> None:
        """Remove nothing: there are no checkpoints."""


def replay(
    table: Table,
    tuner: str,
    *,
    mapping: Mapping,
    seed: int,
    workers: int,
    failing: float,
    budget: int,
) -> Clock:
    """Return what a tuner of ours, or of keras-tuner, finds in `budget` epochs."""
    study = replay_study(table, tuner, seed, budget)
    clock = Clock(budget)
    executor = RecordedWorkers(
        table,
        Chooser(table, mapping),
        workers,
        clock,
        Failures(failing, seed, table.epochs),
    )
    oracle = make_replay_oracle(study, table.space)
    if tuner == "kt-hyperband":
        oracle.hyperband_iterations = float("inf")
    driver = ReplayDriver(
        study=study,
        paths=NOWHERE,
        data_folder=Path("/nonexistent"),
        oracle=oracle,
        executor=executor,
        watcher=Quiet(),
    )
    with contextlib.suppress(BudgetSpentError):
        driver.search()
    return clock


def make_replay_oracle(study: Study, space: Any) -> Any:
    """Return the study's oracle, or keras-tuner's random search, as it comes."""
    if study.tuner != "kt-random":
        return make_oracle(study, space)
    kept = type("Kept", (KeptInMemory, keras_tuner.oracles.RandomSearchOracle), {})
    oracle = kept(
        objective=keras_tuner.Objective(study.objective, study.direction),
        hyperparameters=space,
        allow_new_entries=False,
        seed=study.seed + 1,
        max_consecutive_failed_trials=NEVER,
        max_trials=study.trials,
    )
    oracle.verbose = 0
    return oracle


def replay_study(table: Table, tuner: str, seed: int, budget: int) -> Study:
    """Return a study large enough not to end before the budget does."""
    # keras-tuner's streams of neighbouring seeds are shifted copies of each other.
    options: dict[str, Any] = {"seed": 1000 * seed, "patience": None}
    full = -(-budget // table.epochs)
    stops_early = tuner != "kt-random" and takes(load(tuner), "max_epochs")
    trials = 25 * full if stops_early else 2 * full
    return Study(
        "replay",
        "classification",
        "recorded",
        "recorded",
        tuner=tuner,
        objective="val_score",
        epochs=table.epochs,
        trials=None if tuner == "kt-hyperband" else trials,
        **options,
    )
