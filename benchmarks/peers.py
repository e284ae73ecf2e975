"""Optuna on recorded curves, asked and told as its manual says.

Samplers and pruners have their default settings, but for the pruners' longest and
shortest training (the table's, and 1). A trial reports its best score so far after
every epoch; one that is pruned, or ends, is told with it; one that diverged is told as
a failure.
"""

import heapq
from typing import Any

import numpy as np
import optuna

from benchmarks.replay import BudgetSpentError, Clock, Failures
from benchmarks.tables import Chooser, Mapping, Table

optuna.logging.set_verbosity(optuna.logging.ERROR)


def make_study(peer: str, seed: int, epochs: int) -> optuna.Study:
    """Return Optuna's study of a peer."""
    _, sampler, *pruner = peer.split("-")
    pruners: dict[str, Any] = {
        "hyperband": optuna.pruners.HyperbandPruner(1, epochs),
        "sha": optuna.pruners.SuccessiveHalvingPruner(1),
    }
    return optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed)
        if sampler == "tpe"
        else optuna.samplers.RandomSampler(seed=seed),
        pruner=pruners[pruner[0]] if pruner else optuna.pruners.NopPruner(),
        study_name=f"{peer}-{seed}",
    )


def suggested(trial: optuna.Trial, space: Any) -> dict[str, Any]:
    """Return the active knobs' values as Optuna suggests them."""
    values: dict[str, Any] = {}
    for knob in space.space:
        if not all(condition.is_active(values) for condition in knob.conditions):
            continue
        kind = type(knob).__name__
        if kind in ("Choice", "Boolean"):
            choices = list(knob.values) if kind == "Choice" else [False, True]
            values[knob.name] = trial.suggest_categorical(knob.name, choices)
        elif kind == "Int":
            values[knob.name] = trial.suggest_int(
                knob.name, knob.min_value, knob.max_value, step=knob.step or 1
            )
        else:
            step = None if knob.sampling == "log" else knob.step
            values[knob.name] = trial.suggest_float(
                knob.name,
                knob.min_value,
                knob.max_value,
                step=step,
                log=knob.sampling == "log",
            )
    return values


def replay_peer(
    table: Table,
    peer: str,
    *,
    mapping: Mapping,
    seed: int,
    workers: int,
    failing: float,
    budget: int,
) -> Clock:
    """Return what Optuna finds in `budget` epochs."""
    study = make_study(peer, 1000 * seed + 1, table.epochs)
    clock = Clock(budget)
    chooser = Chooser(table, mapping)
    failures = Failures(failing, seed, table.epochs)
    heap: list[tuple[float, int, Any]] = []
    started = 0
    now = 0.0
    try:
        while True:
            while len(heap) < workers:
                trial = study.ask()
                row = chooser.row(suggested(trial, table.space))
                if row is None:
                    return clock
                stop = min(failures.at(row, started), int(table.diverged[row]))
                started += 1
                heapq.heappush(heap, (now + 1, started, (trial, row, stop, 1, -np.inf)))
            now, number, (trial, row, stop, epoch, best) = heapq.heappop(heap)
            clock.busy += 1.0
            score = np.nan if epoch >= stop else table.scores[row, epoch - 1]
            clock.epoch(score)
            if epoch >= stop:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            best = max(best, float(score))
            trial.report(best, epoch)
            if epoch == table.epochs:
                study.tell(trial, best)
            elif trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                state = (trial, row, stop, epoch + 1, best)
                heapq.heappush(heap, (now + 1, number, state))
    except BudgetSpentError:
        return clock
